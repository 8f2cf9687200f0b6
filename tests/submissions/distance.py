"""Answers to the exercises of lesson 07, right and mistaken, as a student writes them."""

import math

import torch

MEANS = {
    "small": 0.96,
    "large": 0.0192,
    "mixed": 0.4896,
    "enough": 19_200,
    "perfect model": "at the floor",
}
FAULTS = {
    "A": "copies",
    "B": "soft greys",
    "C": "missing digits",
    "D": "little variety",
    "E": "scribbles",
}


def contrast(a, b):
    c = torch.einsum("np,np->n", a, b) / a.norm(dim=1) ** 2
    return c, (c[:, None] * a - b).pow(2).sum(1)


def contrast_of_b(a, b):
    c = (a * b).sum(1) / (b * b).sum(1)
    return c, contrast(a, b)[1]


def contrast_cosine(a, b):
    c = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return c, contrast(a, b)[1]


def contrast_equal_lengths(a, b):
    c = ((b * b).sum(1) / (a * a).sum(1)) ** 0.5
    return c, (c[:, None] * a - b).pow(2).sum(1)


def contrast_root(a, b):
    c = contrast(a, b)[0]
    return c, torch.linalg.vector_norm(c[:, None] * a - b, dim=1)


def contrast_unscaled(a, b):
    return contrast(a, b)[0], torch.cdist(a, b).diagonal() ** 2


def contrast_undivided(a, b):
    return contrast(a, b)[0], (b * b).sum(1) - (a * b).sum(1) ** 2


def root_of(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.sqrt()) @ vectors.T


def frechet(mean_a, cov_a, mean_b, cov_b):
    half = torch.linalg.cholesky(cov_a)  # any root will do, if it is transposed on the left
    shared = torch.linalg.eigvalsh(half.T @ cov_b @ half).sqrt().sum()
    return (mean_a - mean_b).dot(mean_a - mean_b) + torch.trace(cov_a + cov_b) - 2 * shared


def frechet_singular_values(mean_a, cov_a, mean_b, cov_b):
    shared = torch.linalg.matrix_norm(root_of(cov_a) @ root_of(cov_b), "nuc")
    return (mean_a - mean_b).square().sum() + torch.trace(cov_a + cov_b) - 2 * shared


def frechet_product_of_roots(mean_a, cov_a, mean_b, cov_b):
    apart = root_of(cov_a) - root_of(cov_b)
    return (mean_a - mean_b).square().sum() + apart.square().sum()


def frechet_no_root(mean_a, cov_a, mean_b, cov_b):
    half = root_of(cov_a)
    shared = torch.linalg.eigvalsh(half @ cov_b @ half)
    return (mean_a - mean_b).square().sum() + torch.trace(cov_a + cov_b) - 2 * shared.sum()


def frechet_variances(mean_a, cov_a, mean_b, cov_b):
    stds = [it.diagonal().sqrt() for it in (cov_a, cov_b)]
    return (mean_a - mean_b).square().sum() + (stds[0] - stds[1]).square().sum()


def frechet_norm(mean_a, cov_a, mean_b, cov_b):
    difference = mean_a - mean_b
    return frechet(mean_a, cov_a, mean_b, cov_b) - difference @ difference + difference.norm()


def frechet_one_root(mean_a, cov_a, mean_b, cov_b):
    shared = torch.linalg.eigvals(cov_a @ cov_b).real.sqrt().sum()
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - shared


def frechet_rooted(mean_a, cov_a, mean_b, cov_b):
    return math.sqrt(frechet(mean_a, cov_a, mean_b, cov_b))


def balls(points, k):
    distances = (points[:, None] - points[None]).norm(dim=2)
    distances.fill_diagonal_(math.inf)
    return distances.kthvalue(k, dim=1).values


def between(samples, real):
    return (samples[:, None] - real[None]).norm(dim=2)


def share(hit):
    return hit.sum().item() / len(hit)


def neighbours(samples, real, *, k):
    d = between(samples, real)
    of_real, of_samples = balls(real, k), balls(samples, k)
    return {
        "precision": share((d <= of_real).any(1)),
        "recall": share((of_samples >= d.T).any(1)),
        "coverage": share(d.amin(0) <= of_real),
    }


def neighbours_swapped(samples, real, *, k):
    d = between(samples, real)
    return neighbours(samples, real, k=k) | {
        "recall": share((d <= balls(real, k)).any(1)),
        "precision": share((balls(samples, k) >= d.T).any(1)),
    }


def neighbours_with_itself(samples, real, *, k):
    def radius(points):
        return torch.cdist(points, points).topk(k, largest=False).values[:, -1]

    d = torch.cdist(samples, real)
    return {
        "precision": (d <= radius(real)).any(1).float().mean(),
        "recall": (d <= radius(samples)[:, None]).any(0).float().mean(),
        "coverage": (d <= radius(real)).any(0).float().mean(),
    }


def neighbours_own_ball(samples, real, *, k):
    d = between(samples, real)
    own = share((d <= balls(samples, k)[:, None]).any(1))
    return neighbours(samples, real, k=k) | {"precision": own}


def neighbours_coverage_as_recall(samples, real, *, k):
    d = between(samples, real)
    held = share((d <= balls(samples, k)[:, None]).any(0))
    return neighbours(samples, real, k=k) | {"coverage": held}


def neighbours_share_of_balls(samples, real, *, k):
    hit = between(samples, real) <= balls(real, k)
    return neighbours(samples, real, k=k) | {"precision": hit.any(0).double().mean()}


def neighbours_of_the_other_set(samples, real, *, k):
    d = between(samples, real)
    of_real, of_samples = d.kthvalue(k, dim=0).values, d.kthvalue(k, dim=1).values
    return {
        "precision": share((d <= of_real).any(1)),
        "recall": share((d <= of_samples[:, None]).any(0)),
        "coverage": share((d <= of_real).any(0)),
    }


def cubic(a, b):
    return torch.einsum("nf,mf->nm", a / a.shape[1], b).add(1).pow(3)


def mean_of_pairs(points):
    rows, columns = torch.triu_indices(len(points), len(points), offset=1)
    return cubic(points, points)[rows, columns].mean()


def kernel(a, b):
    return mean_of_pairs(a) + mean_of_pairs(b) - 2 * cubic(a, b).mean()


def kernel_own_pairs(a, b):
    return cubic(a, a).mean() + cubic(b, b).mean() - 2 * cubic(a, b).mean()


def kernel_zeroed_diagonal(a, b):
    within = []
    for points in (a, b):
        table = cubic(points, points)
        table.fill_diagonal_(0)
        within.append(table.mean())
    return sum(within) - 2 * cubic(a, b).mean()


def kernel_between_once(a, b):
    return mean_of_pairs(a) + mean_of_pairs(b) - cubic(a, b).mean()


def kernel_not_divided(a, b):
    size = a.shape[1] ** 0.5
    return kernel(a * size, b * size)


def kernel_root(a, b):
    return kernel(a, b).sqrt()


ALTERNATIVES = {
    "best_contrast": [contrast],
    "frechet_symmetric": [frechet, frechet_singular_values],
    "neighbourhoods": [neighbours],
    "kernel_distance": [kernel],
    "distance_of_means": [MEANS],
    "which_fault": [FAULTS],
}
MISTAKEN = {
    "best_contrast": {
        "The factor is divided by": contrast_of_b,
        "This is the cosine": contrast_cosine,
        "This makes both lengths equal": contrast_equal_lengths,
        "The distance is not squared": contrast_root,
        "This is the squared distance with": contrast_unscaled,
        "What is taken from": contrast_undivided,
    },
    "frechet_symmetric": {
        "The root of a product": frechet_product_of_roots,
        "The trace of a root": frechet_no_root,
        "Only the variances": frechet_variances,
        "The distance of the means": frechet_norm,
        "The root is taken off once": frechet_one_root,
        "This is the root": frechet_rooted,
    },
    "neighbourhoods": {
        "Precision and recall": neighbours_swapped,
        "A point is the nearest": neighbours_with_itself,
        "For the precision a sample": neighbours_own_ball,
        "This coverage is the recall": neighbours_coverage_as_recall,
        "The precision is a share": neighbours_share_of_balls,
        "The balls reach to": neighbours_of_the_other_set,
    },
    "kernel_distance": {
        "The pairs of a vector": kernel_own_pairs,
        "The own pairs are left out": kernel_zeroed_diagonal,
        "The mean between": kernel_between_once,
        "The scalar product": kernel_not_divided,
        "This is the root": kernel_root,
    },
    "distance_of_means": {
        "Both means are estimates": MEANS | {"small": 0.48, "large": 0.0096},
        "The standard error falls": MEANS | {"small": 13.576, "large": 1.92},
        "Two sets of different sizes": MEANS | {"mixed": 0.03765},
        "The larger set does not": MEANS | {"mixed": 0.0192},
        "This many images": MEANS | {"enough": 9_600},
        "Even samples from": MEANS | {"perfect model": "at zero"},
    },
    "which_fault": {
        "By all measures but one": FAULTS | {"A": "nothing wrong"},
        "Once B is rounded": FAULTS | {"B": "scribbles"},
        "The recall of C": FAULTS | {"C": "little variety"},
        "The entropy of D": FAULTS | {"D": "missing digits"},
        "E reaches": FAULTS | {"E": "little variety"},
    },
}
