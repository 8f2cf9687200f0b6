"""What is minimised: pure functions of tensors, one value per image, in nats.

A loss of the autoencoder takes what the model gives and the images, and returns named terms:

    loss(output, x) -> {"bce": [B], "kl": [B], "loss": [B]}

"loss" is the weighted sum that training minimises. The names of the terms are those of a run's
history: `LOSSES` lists the losses, and to add one takes a function, its entry, and its name in
`parameters`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_helpers.models import VAEOutput

Terms = dict[str, Tensor]
Loss = Callable[[VAEOutput, Tensor], Terms]


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
    x = x.expand_as(logits)
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=-1)


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


def elbo(output: VAEOutput, x: Tensor, *, beta: float = 1.0) -> Terms:
    """Minus the evidence lower bound, with a weight on its KL (Higgins et al. 2017).

    Args:
        output: of the model, with one sample of z per image.
        x: `[B, 784]` in [0, 1].
        beta: weight of the KL; 1 is the bound, 0 is BCE only.

    Returns:
        `bce`, `kl` and `loss = bce + beta * kl`, `[B]` each.
    """
    reconstruction = bce(output.logits, x)
    divergence = kl(output.mu, output.logvar)
    return {"bce": reconstruction, "kl": divergence, "loss": reconstruction + beta * divergence}


def iwae(output: VAEOutput, x: Tensor) -> Terms:
    """Minus the importance-weighted bound with K samples (Burda et al. 2016, equation 8).

    The bound is log (1/K) sum_k w_k with w = p(x|z) p(z) / q(z|x). By how much it is tighter than
    the mean of the log w is a term of its own.

    Args:
        output: of the model, with K samples of z per image.
        x: `[B, 784]` in [0, 1].

    Returns:
        `bce` and `kl`, means over the samples, the latter an estimate of the KL that may be below
        zero; `gap`, >= 0 and 0 for K = 1; and `loss = bce + kl - gap`, `[B]` each.
    """
    z = output.z.reshape(-1, *output.mu.shape)  # [K, B, D]
    reconstruction = bce(output.logits.reshape(len(z), *x.shape), x)  # [K, B]
    divergence = log_normal(z, output.mu, output.logvar).sum(dim=2) - log_prior(z).sum(dim=2)
    log_weights = -reconstruction - divergence
    bound = log_weights.logsumexp(dim=0) - math.log(len(z))
    return {
        "bce": reconstruction.mean(dim=0),
        "kl": divergence.mean(dim=0),
        "gap": bound - log_weights.mean(dim=0),
        "loss": -bound,
    }


def beta_tc(output: VAEOutput, x: Tensor, *, dataset_size: int, beta: float = 1.0) -> Terms:
    """The bound with its KL in three parts and a weight on the second (Chen et al. 2018).

    Averaged over images, KL = I(x; z) + KL(q(z) || prod_d q(z_d)) + sum_d KL(q(z_d) || p(z_d)):
    what the code tells of the image, how dependent its dimensions are on each other, how unlike the
    prior each of them is. q(z) is the mixture of q(z|x) over all N images. It is estimated from the
    batch by stratified sampling: the image that z was drawn from counts 1/N, the B - 1 others share
    the rest equally. If the batch holds all images this is exact.

    Args:
        output: of the model, with one sample of z per image.
        x: `[B, 784]` in [0, 1], B >= 2.
        dataset_size: N, of the images that the batch was drawn from, >= B.
        beta: weight of the total correlation; 1 is the bound.

    Returns:
        `bce`; `mi`, `tc` and `dw_kl`, whose sum is log q(z|x) - log p(z), an estimate of the KL;
        and `loss = bce + mi + beta * tc + dw_kl`, `[B]` each.
    """
    z, mu, logvar = output.z, output.mu, output.logvar
    n, others = dataset_size, len(z) - 1
    share = z.new_full((len(z), len(z)), (n - 1) / (n * others))
    log_share = share.fill_diagonal_(1 / n).log()  # of image j in the mixture at z_i: [B, B]
    pairs = log_normal(z[:, None], mu, logvar)  # log q(z_id | x_j): [B, B, D]
    log_q_z = (log_share + pairs.sum(dim=2)).logsumexp(dim=1)
    log_q_dimensions = (log_share[:, :, None] + pairs).logsumexp(dim=1).sum(dim=1)
    reconstruction = bce(output.logits, x)
    mi = log_normal(z, mu, logvar).sum(dim=1) - log_q_z
    tc = log_q_z - log_q_dimensions
    dw_kl = log_q_dimensions - log_prior(z).sum(dim=1)
    loss = reconstruction + mi + beta * tc + dw_kl
    return {"bce": reconstruction, "mi": mi, "tc": tc, "dw_kl": dw_kl, "loss": loss}


LOSSES: Mapping[str, Callable[..., Terms]] = {"elbo": elbo, "iwae": iwae, "beta_tc": beta_tc}
"""By name, what `TrainConfig(loss=...)` may ask for."""


def log_normal(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """log N(z; mu, exp(logvar)), number by number, all shapes that broadcast; in nats."""
    squares = (z - mu).square() / logvar.exp()
    return -0.5 * (math.log(2 * math.pi) + logvar + squares)


def log_prior(z: Tensor) -> Tensor:
    """log N(z; 0, 1), number by number, any shape; in nats."""
    return -0.5 * (math.log(2 * math.pi) + z.square())


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
