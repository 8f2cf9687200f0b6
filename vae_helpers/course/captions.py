"""Captions and alternative texts of the figures, from notebooks/captions.toml.

    [05_training.loss]
    caption = "Figure 5.1. Loss over {epochs} epochs."
    alt = "Two falling curves. Most of the fall happens in the first three epochs."

A name in braces is a parameter of the notebook; `{train_images:,}` formats it as Python does.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vae_helpers.parameters import shown

LEAST = {"caption": 1, "alt": 40}
"""Characters; an alternative text says what the figure shows and what follows from it."""


class CaptionError(ValueError):
    """captions.toml does not say what is needed; the message names the entry."""


class Words(NamedTuple):
    """What goes with a figure, placeholders filled in."""

    caption: str
    alt: str


def read(notebook: str, figure: str, values: Mapping[str, Any], *, path: Path) -> Words:
    """Caption and alternative text of one figure.

    Args:
        notebook: such as "05_training".
        figure: its name in `results.show`.
        values: the notebook's parameters, for the placeholders.
        path: of captions.toml.

    Raises:
        CaptionError: a text is missing or too short, or a placeholder is no parameter.
    """
    try:
        entry = tomllib.loads(path.read_text(encoding="utf-8")).get(notebook, {}).get(figure, {})
    except (OSError, ValueError) as error:
        raise CaptionError(f"{path}: expected a file in TOML, but: {error}") from error
    texts = []
    for kind in Words._fields:
        text, name = entry.get(kind), f"{path.name}: [{notebook}.{figure}]: {kind}"
        if not isinstance(text, str) or len(text.strip()) < LEAST[kind]:
            raise CaptionError(
                f"{name}: expected at least {LEAST[kind]} characters that say what is to be seen, "
                f"got {shown(text)}"
            )
        try:
            texts.append(text.format_map(values))
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise CaptionError(
                f"{name}: expected placeholders that are parameters ({', '.join(values)}), and "
                f"{{{{ for a brace, got {shown(text)}: {error!r}"
            ) from error
    return Words(*texts)
