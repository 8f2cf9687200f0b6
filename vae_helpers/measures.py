"""Everything that is measured of a model and of the images that it generates, by name.

A measure takes a `Subject` and gives numbers by name. All of them see the same images; the names
say how these were rendered (`features.rendered`) and which extractor read them.

The measure that decides is `fcd`: the Fréchet distance between features of the reference
classifier, of images that were rounded to black and white. How much contrast a model gives its
strokes cannot change it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli

from vae_helpers import annealing, evaluation, flows, sample_quality, stochastic_layers
from vae_helpers import parzen as windows
from vae_helpers.annealing import AnnealedBound, LogDensity
from vae_helpers.data import binarize_images
from vae_helpers.evaluation import LogLikelihood, LogWeights
from vae_helpers.features import RENDERINGS, extract, rendered
from vae_helpers.flows import FlowVAE
from vae_helpers.models import GAN, VAE
from vae_helpers.objective import bce, generator_loss
from vae_helpers.seeds import new_rng
from vae_helpers.stochastic_layers import LayeredVAE
from vae_helpers.two_sample import two_sample_accuracy

Numbers = dict[str, float]


class Subject(NamedTuple):
    """What is measured, and what it is compared with.

    Attributes:
        samples: `[N, 784]` in [0, 1].
        real: `[N, 784]`, images that no model was trained on.
        train_images: `[M, 784]`, those that the models were trained on.
        extractors: by the names in `features.EXTRACTORS`.
        real_features: `[N, 64]` of the real images, by rendering and extractor (`name_of`).
        model: that generated the samples, in evaluation mode; None if they are nobody's.
        likelihood_images: the first so many real images have their likelihood bounded,
        num_samples: with so many draws of z each.
        seed: of the draws of pixels and of the networks that a measure trains.
    """

    samples: Tensor
    real: Tensor
    train_images: Tensor
    extractors: dict[str, nn.Module]
    real_features: dict[str, Tensor]
    model: nn.Module | None = None
    likelihood_images: int = 1_000
    num_samples: int = 50
    seed: int = 0

    def rendered(self, rendering: str) -> Tensor:
        """The samples in one rendering."""
        return rendered(self.samples, rendering, rng=new_rng(self.seed, "pixels of samples"))

    def targets(self, convention: str) -> Tensor:
        """The real images whose likelihood is bounded, as `evaluation.targets` makes them."""
        images = self.real[: self.likelihood_images].cpu()  # a GPU would draw other pixels
        drawn = evaluation.targets(
            images, convention, rng=new_rng(self.seed, f"pixels, {convention}")
        )
        return drawn.to(self.real.device)

    def features(self, rendering: str, extractor: str) -> tuple[Tensor, Tensor]:
        """Features of the samples and of the real images."""
        made = extract(self.extractors[extractor], self.rendered(rendering))
        return made, self.real_features[name_of(rendering, extractor)]


def name_of(rendering: str, extractor: str) -> str:
    """The key of `Subject.real_features`."""
    return f"{rendering}_{extractor}"


def rendered_real(real: Tensor, rendering: str) -> Tensor:
    """Real images in one rendering, the same whatever they are compared with."""
    return rendered(real, rendering, rng=new_rng(0, "pixels of real images"))


def fcd(subject: Subject) -> Numbers:
    """The measure that decides, alone: `fcd`."""
    return {"fcd": sample_quality.frechet_distance(*subject.features("rounded", "classifier"))}


def frechet(subject: Subject) -> Numbers:
    """Fréchet distances by every extractor in every rendering, such as `frechet_means_pixels`."""
    return {
        f"frechet_{name_of(rendering, extractor)}": sample_quality.frechet_distance(
            *subject.features(rendering, extractor)
        )
        for rendering in RENDERINGS
        for extractor in subject.extractors
    }


def neighbours(subject: Subject) -> Numbers:
    """`kid_rounded`, `precision_rounded` and so on by the reference classifier, and `..._means`."""
    found: Numbers = {}
    for rendering in ("means", "rounded"):
        quality = sample_quality.compare(*subject.features(rendering, "classifier"))._asdict()
        del quality["fcd"]
        found |= {f"{name}_{rendering}": value for name, value in quality.items()}
    return found


def two_sample(subject: Subject) -> Numbers:
    """Held-out accuracy of a network that tells samples from real images: `two_sample_means`..."""
    return {
        f"two_sample_{rendering}": two_sample_accuracy(
            subject.rendered(rendering), rendered_real(subject.real, rendering), seed=subject.seed
        )
        for rendering in RENDERINGS
    }


def digits(subject: Subject) -> Numbers:
    """`digit_entropy` of what the reference classifier reads, and `pixel_entropy`, in nats."""
    network = subject.extractors["classifier"]
    with torch.no_grad():
        read = torch.cat([network(x).argmax(dim=1) for x in subject.samples.split(250)])
    indecision = Bernoulli(probs=subject.samples).entropy().sum(dim=1).mean()
    shares = sample_quality.digit_histogram(read)
    return {
        "digit_entropy": sample_quality.entropy(shares),
        "pixel_entropy": float(indecision),
    }


def copies(subject: Subject) -> Numbers:
    """`copies` of training images among the samples, in the leading principal components."""
    pixels = subject.extractors["pixels"]
    known = extract(pixels, subject.train_images)
    return {"copies": sample_quality.copies(extract(pixels, subject.samples), known)}


def likelihood(subject: Subject) -> Numbers:
    """Of a VAE: minus the bound on log p(x) with 1 and with `num_samples` draws, in nats per image.

    `minus_bound_grey_1`, `minus_bound_dynamic_1` and so on, by the convention of the images.
    """
    assert isinstance(subject.model, VAE)
    found = {}
    for convention in ("grey", "dynamic"):
        x = subject.targets(convention)
        for k in (1, subject.num_samples):
            noise = new_rng(subject.seed, "likelihood noise")
            bound = evaluation.log_likelihood(subject.model, x, num_samples=k, rng=noise)
            found[f"minus_bound_{convention}_{k}"] = -bound.mean().item()
    return found


@torch.no_grad()
def codes(subject: Subject) -> Numbers:
    """Of a VAE: `rate`, the KL in nats per real image, and the `active_units` that carry it.

    `kl_of_dimension_1` and so on are the parts of the rate, the largest first.
    """
    q = evaluation.posteriors(_gaussian(subject.model), subject.real)
    parts = evaluation.kl_per_dimension(q).sort(descending=True).values
    return {
        "rate": parts.sum().item(),
        "active_units": evaluation.active_units(q),
        **{f"kl_of_dimension_{place}": part for place, part in enumerate(parts.tolist(), 1)},
    }


def units(subject: Subject) -> Numbers:
    """Of a GAN: how many hidden units are dead, what the discriminator says, and what comes back.

    `dead_generator_units` and `dead_discriminator_units` are the shares of hidden units that give 0
    for each of 1,000 z and for each of 1,000 real images. `d_fake` is the mean of D(G(z)), and
    `generator_gradient` the length of the gradient of the generator's mean loss by its weights.
    """
    assert isinstance(subject.model, GAN)
    generator, discriminator = subject.model.generator, subject.model.discriminator
    z = torch.randn(1_000, generator.latent_dim, generator=new_rng(subject.seed, "units"))
    z = z.to(subject.real.device)
    logits = discriminator(generator(z))
    weights = [weight for weight in generator.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(generator_loss(logits).mean(), weights)
    return {
        "dead_generator_units": _dead(generator.hidden, z),
        "dead_discriminator_units": _dead(discriminator.hidden, subject.real[:1_000]),
        "d_fake": torch.sigmoid(logits).mean().item(),
        "generator_gradient": torch.stack([it.square().sum() for it in gradients])
        .sum()
        .sqrt()
        .item(),
    }


@torch.no_grad()
def _dead(hidden: nn.Sequential, x: Tensor) -> float:
    """The share of hidden units whose activation is 0 for every row of `x`."""
    dead = []
    for layer in hidden:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU):
            dead.append((x == 0).all(dim=0).flatten())
    return torch.cat(dead).double().mean().item()


DRAWS = (1, 5, 50, 500, 5_000)
"""K, the numbers of draws of z for which `bounds` are asked."""

REPETITIONS = 10
"""Of a bound with K = 1: from a single draw no error can be told."""


def bounds(subject: Subject) -> Numbers:
    """Minus the importance-weighted bound, its K rising to `num_samples`, in every convention.

    Of a VAE, one with a flow, or one with stochastic layers, on the first `likelihood_images` real
    images: `minus_bound_static_50` and so on, in nats per image, and for each
    `minus_bound_static_50_error`, the Monte-Carlo standard error of this mean over the given
    images, and `minus_bound_static_50_spread`, the standard error of the mean by the spread over
    images, which has the Monte-Carlo error in it and says how far another choice of as many images
    would be off.
    """
    found: Numbers = {}
    for convention in evaluation.CONVENTIONS:
        x = subject.targets(convention)
        for k in DRAWS:
            if k <= subject.num_samples:
                found |= _bound(subject, x, k, name=f"minus_bound_{convention}_{k}")
    return found


def bound_curve(subject: Subject) -> Numbers:
    """What of `bounds` is cheap enough for every epoch: K = 1 and at most 50, no static images.

    `minus_bound_curve_dynamic_50` and so on: names of their own, since both may stand in one sheet.
    """
    found: Numbers = {}
    for convention in ("grey", "dynamic"):
        x = subject.targets(convention)
        for k in sorted({1, min(50, subject.num_samples)}):
            found |= _bound(subject, x, k, name=f"minus_bound_curve_{convention}_{k}")
    return found


def static_draws(subject: Subject) -> Numbers:
    """`bounds` of five static binarisations, which differ by the draw of the pixels alone.

    For each K up to 500, `minus_bound_static_draw_2_50`, its `..._error` and `..._spread` as in
    `bounds`, and `static_draws_50_deviation`, the standard deviation of the five: by so much does
    such a number depend on the file that somebody has drawn once and for all.
    """
    found: Numbers = {}
    images = subject.real[: subject.likelihood_images]
    drawn = [
        binarize_images(images.cpu(), rng=new_rng(0, f"static binarisation, draw {number}"))
        for number in range(1, 6)
    ]
    for k in DRAWS[:4]:
        if k <= subject.num_samples:
            values = []
            for number, x in enumerate(drawn, 1):
                name = f"minus_bound_static_draw_{number}_{k}"
                found |= _bound(subject, x.to(images.device), k, name=name)
                values.append(found[name])
            found[f"static_draws_{k}_deviation"] = torch.tensor(values).double().std().item()
    return found


ANNEALED_IMAGES = 20
"""How many real images, and as many simulated ones, `annealed` bounds."""

CHAINS, TRIAL_CHAINS, TEMPERATURES, LEAPFROG_STEPS = 8, 2, 400, 10
"""Of `annealed`; about a minute with one thread."""


def annealed(subject: Subject) -> Numbers:
    """Bounds of log p(x) that use no encoder, in nats per image, of dynamically binarised images.

    On the first few real images `minus_annealed_real`, from above, for `minus_bound_real` with
    `num_samples` draws on the very same. What the two differ by, `annealed_gain`, the encoder's
    bound lacks at least; `..._spread` is the standard error of it over images. On as many images
    that the model has simulated, log p(x) lies in expectation between the two ends of
    `minus_annealed_simulated_low` and `..._high` (bidirectional Monte Carlo), which
    `annealed_gap` are apart: by about so much may the real images' annealed bound be off if the
    simulated are like them. `annealed_acceptance` is the share of accepted proposals on real ones.

    The step sizes are those of a trial run, so that the bounds are strict.
    """
    n = min(ANNEALED_IMAGES, len(subject.real), subject.likelihood_images)
    logits, latents = _generator(subject.model)
    real = subject.targets("dynamic")[:n]
    device = real.device
    z = torch.randn(n, latents, generator=new_rng(subject.seed, "simulated z")).to(device)
    with torch.no_grad():
        means = torch.sigmoid(logits(z))
    simulated = binarize_images(means.cpu(), rng=new_rng(subject.seed, "simulated pixels"))
    simulated = simulated.to(device)

    def density(x: Tensor) -> LogDensity:
        return lambda z: -bce(logits(z), x)

    def rng(purpose: str) -> torch.Generator:
        return new_rng(subject.seed, f"annealing, {purpose}", device=device)

    def lower(x: Tensor, of: str, *, chains: int, step_size: float | Tensor) -> AnnealedBound:
        return annealing.annealed_lower_bound(
            density(x),
            (n, latents),
            chains=chains,
            num_temperatures=TEMPERATURES,
            leapfrog_steps=LEAPFROG_STEPS,
            step_size=step_size,
            rng=rng(of),
        )

    def strict(x: Tensor, of: str) -> AnnealedBound:
        trial = lower(x, f"{of}, trial", chains=TRIAL_CHAINS, step_size=0.1)
        return lower(x, of, chains=CHAINS, step_size=trial.step_sizes)

    of_real, of_simulated = strict(real, "real"), strict(simulated, "simulated")
    upper = annealing.annealed_upper_bound(
        density(simulated),
        z,
        chains=CHAINS,
        num_temperatures=TEMPERATURES,
        leapfrog_steps=LEAPFROG_STEPS,
        step_size=of_simulated.step_sizes,
        rng=rng("backwards"),
    )
    ours = _log_likelihood(subject, real, subject.num_samples).value.double()
    gain, gap = of_real.value - ours, upper.value - of_simulated.value
    return {
        "minus_annealed_real": -of_real.value.mean().item(),
        "minus_annealed_real_error": _error_of_mean(of_real.standard_error),
        "minus_annealed_real_spread": _spread(of_real.value),
        "minus_bound_real": -ours.mean().item(),
        "annealed_gain": gain.mean().item(),
        "annealed_gain_spread": _spread(gain),
        "minus_annealed_simulated_high": -of_simulated.value.mean().item(),
        "minus_annealed_simulated_low": -upper.value.mean().item(),
        "annealed_gap": gap.mean().item(),
        "annealed_gap_spread": _spread(gap),
        "annealed_acceptance": of_real.acceptance.mean().item(),
    }


AMORTIZED_IMAGES = 100
"""How many real images `amortization` refits q to."""


def amortization(subject: Subject) -> Numbers:
    """`amortization_gap`: nats per image that the ELBO gains if q is refitted to each image.

    Of a VAE, or of one stochastic layer, whose q is a Gaussian given by the encoder; on the first
    100 real images, dynamically binarised. `..._error` is its Monte-Carlo standard error, `_spread`
    that over images, `minus_elbo_encoder` and `minus_elbo_refitted` the two whose difference it is.

    Raises:
        ValueError: the model has another q.
    """
    x = subject.targets("dynamic")[:AMORTIZED_IMAGES]
    rng = new_rng(subject.seed, "amortisation", device=x.device)
    found = annealing.amortization_gap(_gaussian(subject.model), x, rng=rng)
    gap = found.refitted - found.encoder
    return {
        "amortization_gap": gap.mean().item(),
        "amortization_gap_error": _error_of_mean(found.standard_error),
        "amortization_gap_spread": _spread(gap),
        "minus_elbo_encoder": -found.encoder.mean().item(),
        "minus_elbo_refitted": -found.refitted.mean().item(),
    }


PARZEN_HELD_OUT = 1_000
"""Real images by which the width is chosen; they are not judged."""


def parzen(subject: Subject) -> Numbers:
    """`parzen`, the mean log-density of real images by Parzen windows, `parzen_error`, its sigma.

    The protocol is that of Goodfellow et al. 2014 and their code: samples as they are, ten widths,
    the best on 1,000 held-out images. Theirs are training images that the model has not seen. Here
    they are the first 1,000 real images (of fewer than 10,000 the first tenth), and the others are
    judged: 9,000 where theirs are 10,000.
    """
    held_out = min(PARZEN_HELD_OUT, len(subject.real) // 10)
    found = windows.estimate(
        subject.real[held_out:], subject.samples, held_out=subject.real[:held_out]
    )
    return {
        "parzen": found.value,
        "parzen_error": found.standard_error,
        "parzen_sigma": found.sigma,
    }


def _log_weights(model: nn.Module | None) -> LogWeights:
    if isinstance(model, FlowVAE):
        return flows.log_weights
    if isinstance(model, LayeredVAE):
        return stochastic_layers.log_weights
    if isinstance(model, VAE):
        return evaluation.log_weights
    raise ValueError(
        "measures: expected a model with an encoder for a bound on its likelihood, got "
        f"{type(model).__name__}; leave the measure out"
    )


def _log_likelihood(
    subject: Subject, x: Tensor, k: int, *, purpose: str = "likelihood noise"
) -> LogLikelihood:
    return evaluation.log_likelihood_and_error(
        subject.model,
        x,
        num_samples=k,
        rng=new_rng(subject.seed, purpose),
        weights=_log_weights(subject.model),
    )


def _bound(subject: Subject, x: Tensor, k: int, *, name: str) -> Numbers:
    """Minus the bound of images `x` `[B, 784]` with K draws, and its two errors."""
    found = _log_likelihood(subject, x, k)
    error = found.standard_error
    if k == 1:
        others = range(2, REPETITIONS + 1)
        again = [
            _log_likelihood(subject, x, 1, purpose=f"likelihood noise {number}").value
            for number in others
        ]
        error = torch.stack([found.value, *again]).double().std(dim=0)
    return {
        name: -found.value.mean().item(),
        f"{name}_error": _error_of_mean(error),
        f"{name}_spread": _spread(found.value),
    }


def _error_of_mean(errors: Tensor) -> float:
    """Of the mean of independent numbers with these standard errors `[B]`."""
    return errors.double().square().sum().sqrt().item() / len(errors)


def _spread(values: Tensor) -> float:
    """Standard error of the mean of `[B]` by their spread; NaN for one."""
    return values.double().std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _generator(model: nn.Module | None) -> tuple[Callable[[Tensor], Tensor], int]:
    """What turns z ~ N(0, I) into logits, and how many numbers z has."""
    if isinstance(model, FlowVAE):
        return model.vae.decode, model.latent_dim
    if isinstance(model, LayeredVAE):
        return model.generate, model.latent_dim
    if isinstance(model, VAE):
        return model.decode, model.latent_dim
    raise ValueError(
        "measures: expected a model of black and white images with a prior for annealing, got "
        f"{type(model).__name__}; leave the measure out"
    )


def _gaussian(model: nn.Module | None) -> VAE:
    if isinstance(model, LayeredVAE) and len(model.latent_dims) == 1:
        return stochastic_layers.as_vae(model)
    if isinstance(model, VAE):
        return model
    raise ValueError(
        "measures: expected a Gaussian q(z|x) that the encoder gives, got "
        f"{type(model).__name__}; leave the measure out"
    )


MEASURES: Mapping[str, Callable[[Subject], Numbers]] = {
    "fcd": fcd,
    "frechet": frechet,
    "neighbours": neighbours,
    "two_sample": two_sample,
    "digits": digits,
    "copies": copies,
    "likelihood": likelihood,
    "codes": codes,
    "units": units,
    "bounds": bounds,
    "bound_curve": bound_curve,
    "static_draws": static_draws,
    "annealed": annealed,
    "amortization": amortization,
    "parzen": parzen,
}
"""By name; a study says which of them it wants."""

ADMISSIBLE = (
    "frechet_rounded_classifier",
    "frechet_rounded_varied",
    "frechet_rounded_reseeded",
    "frechet_rounded_random",
    "kid_rounded",
    "coverage_rounded",
    "two_sample_rounded",
)
"""The numbers by which models may be compared: those that notebook 12 finds to pass its rule."""

MORE_IS_BETTER = ("precision", "recall", "density", "coverage")
"""How the names begin of those numbers that fall as images get worse."""
