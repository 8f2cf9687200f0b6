"""What is minimised: pure functions of tensors, one value per image, in nats."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_helpers.kernels import softplus


def bce(logits: Tensor, x: Tensor) -> Tensor:
    """Binary cross-entropy between an image and the Bernoulli means that the decoder predicts.

    With x in {0, 1} this is -log p(x|z); with grey x it is the expectation of that over the draws
    b ~ Bernoulli(x), and no log-likelihood of x itself.

    Args:
        logits: `[..., B, 784]`, before the sigmoid.
        x: `[B, 784]` in [0, 1].

    Returns:
        `[..., B]`, nats per image, >= 0, summed over the pixels (Kingma & Welling
        2014, appendix C.1).
    """
    return (softplus(logits) - x * logits).sum(dim=-1)


def kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, I)) of a Gaussian q with diagonal covariance, in closed form.

    Args:
        mu: `[B, D]`, the mean of q.
        logvar: `[B, D]`, the log of its variance.

    Returns:
        `[B]`, nats per image, >= 0, summed over the latents (Kingma & Welling 2014, appendix B,
        where minus this value is given).
    """
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1)


def discriminator_loss(real: Tensor, fake: Tensor, *, real_label: float = 1.0) -> Tensor:
    """Cross-entropy of telling real images from generated ones: -log D(x) - log(1 - D(G(z))).

    Args:
        real: `[B]`, the discriminator's logits of real images.
        fake: `[B]`, its logits of generated ones.
        real_label: what is asked for in place of 1 on real images; 0.9 is one-sided label
            smoothing (Salimans et al. 2016, section 3.4).

    Returns:
        `[B]`, nats per pair of images, >= 0 (Goodfellow et al. 2014, equation 1, with minus sign).
    """
    labels = torch.full_like(real, real_label)
    return F.binary_cross_entropy_with_logits(real, labels, reduction="none") + F.softplus(fake)


def generator_loss(fake: Tensor) -> Tensor:
    """The non-saturating loss -log D(G(z)), steep where the discriminator is right.

    Args:
        fake: `[B]`, the discriminator's logits of generated images.

    Returns:
        `[B]`, nats per image, >= 0 (Goodfellow et al. 2014, end of section 3).
    """
    return F.softplus(-fake)
