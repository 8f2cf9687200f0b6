"""Exercises that answer: `check("kl_general", kl_general)` says whether it is right.

One module per lesson holds its exercises, `exercise` what tries an answer, and `student` what makes
the reader's notebooks from those with the solutions.
"""

from __future__ import annotations

from typing import Any

from vae_helpers.exercises import (
    ablation,
    bound,
    clinic,
    codes,
    codes_and_prior,
    data,
    distance,
    gan,
    gan_game,
    latent_space,
    likelihood,
    measures,
    network,
    published,
    small_world,
    training,
    vae_vs_gan,
)
from vae_helpers.exercises.exercise import judge
from vae_helpers.parameters import ParameterError, suggestion

__all__ = ["EXERCISES", "LESSONS", "check"]

LESSONS = {
    "01_data": data.EXERCISES,
    "02_bound": bound.EXERCISES,
    "03_small_world": small_world.EXERCISES,
    "04_network": network.EXERCISES,
    "05_training": training.EXERCISES,
    "06_ablation": ablation.EXERCISES,
    "07_distance": distance.EXERCISES,
    "08_why_bce_fails": codes_and_prior.EXERCISES,
    "09_latent_space": latent_space.EXERCISES,
    "10_codes": codes.EXERCISES,
    "11_likelihood": likelihood.EXERCISES,
    "12_measures": measures.EXERCISES,
    "13_published_numbers": published.EXERCISES,
    "14_gan_game": gan_game.EXERCISES,
    "15_gan": gan.EXERCISES,
    "16_vae_vs_gan": vae_vs_gan.EXERCISES,
    "17_clinic": clinic.EXERCISES,
}
"""The exercises of each lesson, in the order of its notebook."""

EXERCISES = {exercise.name: exercise for lesson in LESSONS.values() for exercise in lesson}
"""By name."""


def check(name: str, answer: Any) -> bool:
    """Try an answer to an exercise and print what was found.

    Args:
        name: of the exercise.
        answer: the reader's function, number, word or dictionary of them.

    Returns:
        Whether it is right.

    Raises:
        ParameterError: there is no exercise of this name; the message gives the nearest one.
    """
    if name not in EXERCISES:
        near = suggestion(str(name), EXERCISES)
        raise ParameterError(f"expected the name of an exercise, got {name!r}{near}")
    right, message = judge(EXERCISES[name], answer)
    print(f"{name}: {message}")
    return right
