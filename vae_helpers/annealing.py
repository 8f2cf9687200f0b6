"""How far bounds are from log p(x): annealing from the prior, and the amortisation gap.

Annealed importance sampling walks from the prior to the posterior in small steps and bounds
log p(x) from below; the same walk backwards, from the z that an image was simulated from, bounds it
from above. Both use p(x|z) and no encoder: a poor q(z|x) cannot spoil them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from vae_helpers.evaluation import Posteriors
from vae_helpers.models import VAE, VAEOutput
from vae_helpers.objective import bce, elbo

TARGET_ACCEPTANCE = 0.65
"""The share of proposals that the step size is adapted to (Wu et al. 2017)."""

LogDensity = Callable[[Tensor], Tensor]
"""log p(x|z) of B images at z `[C, B, D]`: `[C, B]`, in nats, differentiable in z."""


class AnnealedBound(NamedTuple):
    """A stochastic bound of log p(x) for B images, and how it came about.

    Attributes:
        value: `[B]` float64, in nats.
        standard_error: `[B]`, in nats, of the value by the spread of the chains' weights: delta
            method, NaN for one chain. If one chain outweighs the others it is too small.
        acceptance: `[B]` in [0, 1], the share of proposals that were accepted, over chains and
            temperatures; NaN if there was no proposal.
        step_sizes: `[T - 2, B]`, of the leapfrog at each temperature between 0 and 1, from the
            prior to the posterior whichever way the chains went.
    """

    value: Tensor
    standard_error: Tensor
    acceptance: Tensor
    step_sizes: Tensor


def temperatures(number: int, *, sharpness: float = 4.0) -> Tensor:
    """Inverse temperatures beta from 0, the prior, to 1, the posterior, denser at both ends.

    sigmoid(sharpness * t) at equally spaced t in [-1, 1], moved and stretched to [0, 1] (Grosse
    et al. 2015; Wu et al. 2017).

    Args:
        number: T, at least 2: both ends are among them.
        sharpness: > 0; the larger, the denser at the ends.

    Returns:
        `[T]` float64, increasing.
    """
    curve = torch.sigmoid(sharpness * torch.linspace(-1, 1, number, dtype=torch.float64))
    return (curve - curve[0]) / (curve[-1] - curve[0])


def annealed_lower_bound(
    log_p_x: LogDensity,
    shape: tuple[int, int],
    *,
    chains: int = 16,
    num_temperatures: int = 1_000,
    leapfrog_steps: int = 10,
    step_size: float | Tensor = 0.1,
    rng: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> AnnealedBound:
    """Annealed importance sampling from N(0, I) (Neal 2001; Wu et al. 2017).

    A chain begins at a draw from the prior and passes through p(z) p(x|z)^beta_t from beta_0 = 0 to
    beta_(T-1) = 1. Its weight is the product of p(x|z_t)^(beta_(t+1) - beta_t), where z_t comes
    from a Hamiltonian transition at beta_t. The expected weight is p(x), so that the expected
    value, the logarithm of the mean weight, is at most log p(x); it rises towards it with T and
    with C. With T = 2 this is importance sampling from the prior.

    Args:
        log_p_x: log p(x|z) of all B images.
        shape: B and D.
        chains: C, for each image; `log_p_x` is asked for all C * B of them at one time.
        num_temperatures: T, at least 2.
        leapfrog_steps: of a transition; each costs one value and gradient of `log_p_x`.
        step_size: the first step of the leapfrog. It is adapted for each image after every
            transition, towards an acceptance of 0.65 over the image's chains. Steps that depend on
            where the chains have been are common practice but outside the proof: the expected
            weight is then only about p(x). For a strict bound pass the `step_sizes` of an earlier
            run, `[T - 2, B]`, and a generator in another state: these steps are used unchanged.
        rng: on the device of the chains. An image's draws depend on the images beside it.
        dtype: of z; the weights are added up in float64.

    Raises:
        ValueError: a number is too small, or step sizes have another shape.
    """
    _check(chains, num_temperatures, leapfrog_steps, step_size, shape[0])
    z = torch.randn(chains, *shape, generator=rng, device=rng.device, dtype=dtype)
    betas = temperatures(num_temperatures).tolist()
    path = _anneal(log_p_x, z, betas, step_size, leapfrog_steps=leapfrog_steps, rng=rng)
    value, error = _log_mean_and_error(path.log_weights)
    return AnnealedBound(value, error, path.acceptance, path.step_sizes)


def annealed_upper_bound(
    log_p_x: LogDensity,
    z: Tensor,
    *,
    chains: int = 16,
    num_temperatures: int = 1_000,
    leapfrog_steps: int = 10,
    step_size: float | Tensor = 0.1,
    rng: torch.Generator,
) -> AnnealedBound:
    """The chains of `annealed_lower_bound` backwards, from the posterior (Grosse et al. 2015).

    If z was drawn from the prior and x from p(x|z), then z is an exact draw from the posterior
    p(z|x). From there beta falls from 1 to 0, and the expected weight is 1 / p(x): the expected
    value, minus the logarithm of the mean weight, is at least log p(x). Images that were not
    simulated have no such z and no such bound.

    Args:
        log_p_x: log p(x|z) of all B images.
        z: `[B, D]`, what each image was simulated from, or `[C, B, D]`, independent draws from the
            posterior. With `[B, D]` all chains of an image start from one z. The bound holds, but
            its standard error leaves out how it varies with z; the spread over images has that.
        chains, num_temperatures, leapfrog_steps: see `annealed_lower_bound`.
        step_size: see there. `step_sizes` of a lower bound make these chains the exact reverse.
        rng: on the device of `z`.

    Raises:
        ValueError: a number is too small, or step sizes have another shape.
    """
    _check(chains, num_temperatures, leapfrog_steps, step_size, z.shape[-2])
    z = z.expand(chains, *z.shape[-2:])
    betas = temperatures(num_temperatures).flip(0).tolist()
    steps = step_size.flip(0) if isinstance(step_size, Tensor) else step_size
    path = _anneal(log_p_x, z, betas, steps, leapfrog_steps=leapfrog_steps, rng=rng)
    value, error = _log_mean_and_error(path.log_weights)
    return AnnealedBound(-value, error, path.acceptance, path.step_sizes.flip(0))


def decoder_log_density(model: VAE, x: Tensor) -> LogDensity:
    """log p(x|z) of the VAE's decoder for images `x` `[B, 784]` of zeros and ones, in nats.

    Of grey images it is the mean over their binarisations (`objective.bce`).
    """

    def log_p_x(z: Tensor) -> Tensor:
        return -bce(model.decode(z), x)

    return log_p_x


@torch.no_grad()
def simulate(model: VAE, n: int, *, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """z `[n, D]` from the prior and black-and-white x `[n, 784]` from p(x|z).

    Seen from x, z is one exact draw of the posterior.

    Args:
        model: the VAE.
        n: how many.
        rng: on the device of the model.
    """
    weight = model.to_logits.weight
    z = torch.randn(n, model.latent_dim, generator=rng, device=rng.device, dtype=weight.dtype)
    return z, torch.bernoulli(torch.sigmoid(model.decode(z)), generator=rng)


class AmortizationGap(NamedTuple):
    """The ELBO of B images with the encoder's q(z|x) and with one refitted to each image.

    Attributes:
        encoder: `[B]`, in nats, with the encoder's q.
        refitted: `[B]`, in nats, with the refitted q, estimated from the same noise.
        standard_error: `[B]`, in nats, of the difference `refitted - encoder`, the amortisation
            gap. The two bounds themselves are less certain.
        q: the refitted means and log-variances.
    """

    encoder: Tensor
    refitted: Tensor
    standard_error: Tensor
    q: Posteriors


def amortization_gap(
    model: VAE,
    x: Tensor,
    *,
    steps: int = 500,
    draws: int = 20,
    evaluation_draws: int = 1_000,
    learning_rate: float = 0.03,
    rng: torch.Generator,
) -> AmortizationGap:
    """What the encoder loses by serving all images with one network (Cremer et al. 2018).

    The means and log-variances of a diagonal Gaussian ascend the ELBO from where the encoder puts
    them, each image on its own, by Adam with a learning rate that falls to zero on a cosine.
    The distance that remains to log p(x) is the approximation gap of diagonal Gaussians. Both
    bounds are estimated with the same fresh noise, since the draws that q was fitted to flatter it.
    Where there is nothing to gain the difference is zero up to its error, and may be negative.

    Args:
        model: left as it is.
        x: `[B, 784]` in [0, 1], under one convention (`evaluation.targets`).
        steps: of Adam.
        draws: of z per image and step; also how many are decoded at one time.
        evaluation_draws: of z per image for the bounds, at least 2.
        learning_rate: of Adam at the first step.
        rng: on the device of `x`.

    Raises:
        ValueError: a number is too small.
    """
    for name, number, least in (
        ("steps", steps, 0),
        ("draws", draws, 1),
        ("evaluation_draws", evaluation_draws, 2),
    ):
        if number < least:
            raise ValueError(f"{name}: expected at least {least}, got {number}")
    with torch.no_grad():
        encoders = Posteriors(*model.encode(x))

    def noise(number: int) -> Tensor:
        shape = (number, *encoders.mu.shape)
        return torch.randn(shape, generator=rng, device=rng.device, dtype=encoders.mu.dtype)

    q = Posteriors(*(part.clone().requires_grad_() for part in encoders))
    adam = torch.optim.Adam(q, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(steps, 1))
    for _ in range(steps):
        loss = -elbo_draws(model, x, q, noise(draws)).mean(dim=0).sum()  # an image, a term
        q.mu.grad, q.logvar.grad = torch.autograd.grad(loss, q)  # and none for the model
        adam.step()
        schedule.step()
    found = Posteriors(q.mu.detach(), q.logvar.detach())

    before, after = [], []
    with torch.no_grad():
        for first in range(0, evaluation_draws, draws):
            eps = noise(min(draws, evaluation_draws - first))
            before.append(elbo_draws(model, x, encoders, eps))
            after.append(elbo_draws(model, x, found, eps))
    encoder, refitted = torch.cat(before).double(), torch.cat(after).double()  # [draws, B]
    error = (refitted - encoder).std(dim=0) / math.sqrt(evaluation_draws)
    return AmortizationGap(encoder.mean(dim=0), refitted.mean(dim=0), error, found)


def elbo_draws(model: VAE, x: Tensor, q: Posteriors, eps: Tensor) -> Tensor:
    """The ELBO with any q at z = mu + std * eps, its KL in closed form.

    Args:
        model: of which only the decoder is used.
        x: `[B, 784]` in [0, 1].
        q: a diagonal Gaussian for each image.
        eps: `[K, B, D]` standard normal noise.

    Returns:
        `[K, B]`, in nats; the mean over draws estimates the ELBO without bias.
    """
    z = model.reparameterize(q.mu, q.logvar, eps)
    return -elbo(VAEOutput(model.decode(z), q.mu, q.logvar, z), x)["loss"]


class _State(NamedTuple):
    """Where the chains are, `z` `[C, B, D]`, and `log_p_x` `[C, B]` and its gradient there."""

    z: Tensor
    log_p_x: Tensor
    gradient: Tensor


class _Path(NamedTuple):
    """`log_weights` `[C, B]` float64, `acceptance` `[B]`, `step_sizes` `[T - 2, B]` as visited."""

    log_weights: Tensor
    acceptance: Tensor
    step_sizes: Tensor


def _at(log_p_x: LogDensity, z: Tensor) -> _State:
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = log_p_x(z)
        (gradient,) = torch.autograd.grad(value.sum(), z)  # a chain's value depends on its own z
    return _State(z.detach(), value.detach(), gradient)


@torch.no_grad()
def _anneal(
    log_p_x: LogDensity,
    z: Tensor,
    betas: list[float],
    step_size: float | Tensor,
    *,
    leapfrog_steps: int,
    rng: torch.Generator,
) -> _Path:
    """Chains from `z` through the temperatures in their order, which may rise or fall."""
    state = _at(log_p_x, z)
    log_weights = torch.zeros(z.shape[:2], dtype=torch.float64, device=z.device)
    given = isinstance(step_size, Tensor)
    steps = z.new_empty(len(betas) - 2, z.shape[1])
    steps[:] = step_size
    acceptance = torch.empty_like(steps)
    for t, (before, after) in enumerate(pairwise(betas)):
        log_weights += (after - before) * state.log_p_x
        if t == len(steps):
            break  # a transition at the last temperature would enter no weight
        state, probability = _transition(
            log_p_x, state, after, steps[t], leapfrog_steps=leapfrog_steps, rng=rng
        )
        acceptance[t] = probability.mean(dim=0)
        if not given:
            steps[t + 1 : t + 2] = steps[t] * (0.2 * (acceptance[t] - TARGET_ACCEPTANCE)).exp()
    return _Path(log_weights, acceptance.mean(dim=0), steps)


def _transition(
    log_p_x: LogDensity,
    state: _State,
    beta: float,
    step: Tensor,
    *,
    leapfrog_steps: int,
    rng: torch.Generator,
) -> tuple[_State, Tensor]:
    """One Hamiltonian transition that leaves p(z) p(x|z)^beta as it is (Neal 2011, section 3).

    Args:
        log_p_x: log p(x|z).
        state: of all chains.
        beta: inverse temperature.
        step: `[B]`, of the leapfrog for each image.
        leapfrog_steps: how many.
        rng: draws momenta and decisions.

    Returns:
        The new state and `[C, B]`, the probability with which each proposal was accepted.
    """

    def force(at: _State) -> Tensor:
        return beta * at.gradient - at.z

    def log_joint(at: _State, momentum: Tensor) -> Tensor:
        return beta * at.log_p_x - 0.5 * (at.z.square() + momentum.square()).sum(dim=2)

    step = step[:, None]
    z = state.z
    start = torch.randn(z.shape, generator=rng, device=rng.device, dtype=z.dtype)
    momentum, proposal = start, state
    for _ in range(leapfrog_steps):
        momentum = momentum + 0.5 * step * force(proposal)
        proposal = _at(log_p_x, proposal.z + step * momentum)
        momentum = momentum + 0.5 * step * force(proposal)
    log_ratio = log_joint(proposal, momentum) - log_joint(state, start)
    acceptance = log_ratio.clamp(max=0).exp().nan_to_num(nan=0.0)  # a diverged one is refused
    accept = torch.rand(acceptance.shape, generator=rng, device=rng.device) < acceptance
    chosen = _State(
        torch.where(accept[:, :, None], proposal.z, z),
        torch.where(accept, proposal.log_p_x, state.log_p_x),
        torch.where(accept[:, :, None], proposal.gradient, state.gradient),
    )
    return chosen, acceptance


def _log_mean_and_error(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """log of the mean over chains of weights `[C, B]`, and its standard error: `[B]` each."""
    chains = len(log_weights)
    log_mean = log_weights.logsumexp(dim=0) - math.log(chains)
    error = (log_weights - log_mean).exp().std(dim=0) if chains > 1 else log_mean * math.nan
    return log_mean, error / math.sqrt(chains)


def _check(
    chains: int, num_temperatures: int, leapfrog_steps: int, step_size: float | Tensor, images: int
) -> None:
    for name, number, least in (
        ("chains", chains, 1),
        ("num_temperatures", num_temperatures, 2),
        ("leapfrog_steps", leapfrog_steps, 1),
        ("images", images, 1),
    ):
        if number < least:
            raise ValueError(f"{name}: expected at least {least}, got {number}")
    expected = (num_temperatures - 2, images)
    if isinstance(step_size, Tensor) and step_size.shape != expected:
        raise ValueError(
            f"step_size: expected a number or [T - 2, B] = {list(expected)}, "
            f"got {list(step_size.shape)}"
        )
