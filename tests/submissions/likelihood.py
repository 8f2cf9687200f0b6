"""Answers to the exercises of lesson 11, right and mistaken, as a student writes them."""

import math

import torch
from scipy.stats import binom
from torch.distributions import Normal

GAPS = {
    "amortisation": 4.9,
    "approximation, least": 2.5,
    "approximation, most": 3.0,
    "5,000 draws, most": 0.8,
}
IMAGES = {"A": "dynamic", "B": "grey", "C": "static", "D": "another", "no likelihood": "report B"}


def gaussian(z, mu, covariance):
    """log N(z; mu, covariance), with the inverse that the exercise does without."""
    apart = z - mu
    inverse = torch.linalg.inv(covariance)
    square = torch.einsum("kbi,bij,kbj->kb", apart, inverse, apart)
    return -0.5 * (square + torch.logdet(covariance) + mu.shape[1] * math.log(2 * math.pi))


def parts(mu, root, eps):
    z = mu + torch.matmul(root, eps.unsqueeze(-1)).squeeze(-1)
    log_prior = Normal(0, 1).log_prob(z).sum(-1)
    return log_prior, gaussian(z, mu, root @ root.mT)


def weights(log_px, mu, root, eps):
    log_prior, log_q = parts(mu, root, eps)
    return log_px + (log_prior - log_q)


def weights_no_prior(log_px, mu, root, eps):
    return log_px - parts(mu, root, eps)[1]


def weights_no_q(log_px, mu, root, eps):
    return log_px + parts(mu, root, eps)[0]


def weights_added(log_px, mu, root, eps):
    return log_px + sum(parts(mu, root, eps))


def weights_of_noise(log_px, mu, root, eps):
    return log_px + parts(mu, root, eps)[0] - Normal(0, 1).log_prob(eps).sum(-1)


def weights_det_sign(log_px, mu, root, eps):
    log_q = Normal(0, 1).log_prob(eps).sum(-1) + torch.logdet(root)
    return log_px + parts(mu, root, eps)[0] - log_q


def weights_transposed(log_px, mu, root, eps):
    z = mu + (eps.unsqueeze(-2) @ root).squeeze(-2)
    log_q = -0.5 * eps.square().sum(-1) - torch.logdet(root)
    return log_px - 0.5 * z.square().sum(-1) - log_q


def bounds(log_w):
    largest = log_w.max(0).values
    return largest + (log_w - largest).exp().mean(0).log()


def draws_error(log_w):
    w = (log_w - log_w.max(0).values).exp()
    return w.std(0) / w.mean(0) / len(w) ** 0.5


def errors(log_w):
    n = log_w.shape[1]
    per_image = bounds(log_w)
    spread = ((per_image - per_image.mean()) ** 2).sum() / (n - 1)
    return {
        "bound": per_image.sum() / n,
        "draws": draws_error(log_w).norm() / n,
        "images": (spread / n) ** 0.5,
    }


def errors_all_at_once(log_w):
    bound = torch.logsumexp(log_w.flatten(), 0) - math.log(log_w.numel())
    return errors(log_w) | {"bound": bound}


def errors_sum(log_w):
    return errors(log_w) | {"bound": log_w.logsumexp(0).mean()}


def errors_of_logs(log_w):
    k, n = log_w.shape
    return errors(log_w) | {"draws": (log_w.std(0) / k**0.5).norm() / n}


def errors_averaged(log_w):
    return errors(log_w) | {"draws": draws_error(log_w).mean()}


def errors_underflow(log_w):
    w = torch.exp(log_w)
    relative = w.std(0) / (w.mean(0) * math.sqrt(len(w)))
    return errors(log_w) | {"draws": relative.square().sum().sqrt() / len(relative)}


def errors_spread(log_w):
    return errors(log_w) | {"images": bounds(log_w).std()}


def effective(log_w):
    return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp()


def effective_share(log_w):
    return effective(log_w) / log_w.shape[0]


def effective_underflow(log_w):
    w = torch.exp(log_w)
    return w.sum(0) ** 2 / (w**2).sum(0)


def effective_of_logs(log_w):
    return log_w.sum(0) ** 2 / (log_w**2).sum(0)


def effective_over_images(log_w):
    share = torch.softmax(log_w, dim=1)
    return 1 / share.pow(2).sum(1)


def effective_largest(log_w):
    return (log_w.logsumexp(0) - log_w.max(0).values).exp()


def bound(a, b, *, share, draws):
    low = min(a, b)
    total = 0.0
    for j, chance in enumerate(binom.pmf(range(draws + 1), draws, share)):
        mean = (j * math.exp(a - low) + (draws - j) * math.exp(b - low)) / draws
        total += chance * (low + math.log(mean))
    return total


def bound_log_p(a, b, *, share, draws):
    return math.log(share * math.exp(a) + (1 - share) * math.exp(b))


def bound_elbo(a, b, *, share, draws):
    return b + share * (a - b)


def bound_sum(a, b, *, share, draws):
    chances = binom.pmf(range(draws + 1), draws, share)
    values = [j * math.exp(a) + (draws - j) * math.exp(b) for j in range(draws + 1)]
    return sum(p * math.log(value) for p, value in zip(chances, values, strict=True))


def bound_no_orders(a, b, *, share, draws):
    total = 0.0
    for j in range(draws + 1):
        chance = share**j * (1 - share) ** (draws - j)
        total += chance * math.log((j * math.exp(a) + (draws - j) * math.exp(b)) / draws)
    return total


def bound_exchanged(a, b, *, share, draws):
    return bound(a, b, share=1 - share, draws=draws)


ALTERNATIVES = {
    "full_weights": [weights],
    "bound_and_errors": [errors],
    "effective_draws": [effective],
    "expected_bound": [bound],
    "gap_table": [GAPS],
    "which_images": [IMAGES],
}
MISTAKEN = {
    "full_weights": {
        "The prior is missing": weights_no_prior,
        "log q is missing": weights_no_q,
        "log q is added": weights_added,
        "The determinant is missing": weights_of_noise,
        "The determinant has the wrong sign": weights_det_sign,
        "z is made with the transpose": weights_transposed,
    },
    "bound_and_errors": {
        "The weights of all images": errors_all_at_once,
        "The sum over the draws": errors_sum,
        "This is the spread of the log weights": errors_of_logs,
        "The draws' errors": errors_averaged,
        "exp is taken as it stands": errors_underflow,
        "This is the spread of the images": errors_spread,
    },
    "effective_draws": {
        "This is the share": effective_share,
        "exp is taken as it stands": effective_underflow,
        "The log weights stand": effective_of_logs,
        "The sums run over the images": effective_over_images,
        "This is the inverse": effective_largest,
    },
    "expected_bound": {
        "The average is taken before": bound_log_p,
        "This is the ELBO": bound_elbo,
        "The sum over the draws": bound_sum,
        "The number of draws with": bound_no_orders,
        "The two weights": bound_exchanged,
    },
    "gap_table": {
        "This is the encoder's distance": GAPS | {"amortisation": 7.9},
        "The bound with many draws": GAPS | {"approximation, least": 2.2},
        "The approximation gap begins": GAPS | {"approximation, most": 7.9},
        "An estimate from below": GAPS | {"5,000 draws, most": 0.3},
        "Least and most": GAPS | {"approximation, least": 3.0, "approximation, most": 2.5},
    },
    "which_images": {
        "The pixels are drawn": IMAGES | {"A": "grey"},
        "One file that everybody": IMAGES | {"C": "dynamic"},
        "Fixed images alone": IMAGES | {"D": "static"},
        "Nothing is drawn here": IMAGES | {"B": "dynamic"},
        "A rule without chance": IMAGES | {"no likelihood": "report D"},
    },
}
