"""Where the z of a sample comes from: the prior, or a mixture fitted to codes after training."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vae_helpers import evaluation, mixture
from vae_helpers.models import GAN, VAE

CODES = 20_000
"""Of so many training images the codes are taken that a mixture is fitted to."""


def prior(
    model: VAE | GAN, n: int, *, train_images: Tensor, components: int, rng: torch.Generator
) -> Tensor:
    """`n` images `[n, 784]` in [0, 1] from z ~ N(0, I); nothing else is used."""
    return model.sample(n, rng)


@torch.no_grad()
def ex_post_mixture(
    model: VAE | GAN, n: int, *, train_images: Tensor, components: int, rng: torch.Generator
) -> Tensor:
    """Images from z of a mixture of normals that is fitted to codes of training images.

    The training of the autoencoder is not changed by it (Ghosh et al. 2020, section 4).

    Args:
        model: a VAE.
        n: how many.
        train_images: `[N, 784]`; one code is drawn from q(z|x) for each of the first `CODES`.
        components: of the mixture, with full covariances.
        rng: on the CPU.

    Returns:
        `[n, 784]` in [0, 1].

    Raises:
        ValueError: the model is no VAE, so that it gives no codes.
    """
    if not isinstance(model, VAE):
        raise ValueError(
            f"sampler: expected 'prior' for a {type(model).__name__}, got 'mixture', which is "
            "fitted to the codes of an encoder"
        )
    q = evaluation.posteriors(model, train_images[:CODES])
    eps = torch.randn(q.mu.shape, generator=rng).to(q.mu.device)
    codes = model.reparameterize(q.mu, q.logvar, eps).double().cpu()
    fitted = mixture.fit(codes, components=components, seed=rng.initial_seed() % 2**32)
    z = mixture.sample(fitted, n, seed=rng.initial_seed() % 2**32)
    z = z[torch.randperm(n, generator=rng)]  # it comes component by component
    return torch.sigmoid(model.decode(z.to(q.mu.device)))


Sampler = Callable[..., Tensor]

SAMPLERS: Mapping[str, Sampler] = {"prior": prior, "mixture": ex_post_mixture}
"""By name."""
