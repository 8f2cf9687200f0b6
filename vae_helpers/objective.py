"""What is minimised: pure functions of tensors, one value per image, in nats."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def bce(logits: Tensor, x: Tensor) -> Tensor:
    """Binary cross-entropy between an image and the Bernoulli means that the decoder predicts.

    With x in {0, 1} this is -log p(x|z); with grey x it is the expectation of that over the draws
    b ~ Bernoulli(x), and no log-likelihood of x itself.

    Args:
        logits: `[B, 784]`, before the sigmoid.
        x: `[B, 784]` in [0, 1].

    Returns:
        `[B]`, nats per image, >= 0, summed over the pixels (Kingma & Welling 2014, appendix C.1).
    """
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)


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
