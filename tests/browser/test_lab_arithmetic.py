"""The lab's networks, gradients and exact values are those of the paper, PyTorch and scipy."""

import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright._impl._driver import compute_driver_executable
from scipy.integrate import quad
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits, linear

from vae_helpers import PROJECT

NODE = compute_driver_executable()[0]
MODULES = Path("report/interactive")
WEB = Path("tests/browser/web")
TESTS = sorted(path.name for path in (PROJECT / WEB).glob("lab_*.test.js"))
SECONDS = 100


# ---- Requests ----------------------------------------------------------------------------------


def request(likelihood, activation, sizes, *, kind="Float64Array", steps=20, **settings):
    """A training on random data: points about a circle, or pixels of which most are black."""
    rng = np.random.default_rng(4)
    data, latent, hidden = sizes
    if likelihood == "gaussian":
        angles = rng.uniform(0, 2 * math.pi, 40)
        rows = np.stack([np.cos(angles), np.sin(angles)], axis=1) + 0.1 * rng.normal(size=(40, 2))
    else:
        rows = rng.uniform(size=(40, data)) * (rng.uniform(size=(40, data)) < 0.2)
        rows = rows.astype("float32")  # so that both precisions begin with the same pixels
    return {
        "about": {
            "sizes": {"data": data, "latent": latent, "encoder": hidden, "decoder": hidden},
            "likelihood": likelihood,
            "activation": activation,
            "seed": 1,
            "sigma": 0.5,
        },
        "kind": kind,
        "data": rows.ravel().tolist(),
        "steps": steps,
        "settings": {
            "beta": 1, "rate": 0.005, "batch": 12, "samples": 1, "noise": True, "train": "both",
        } | settings,
    }  # fmt: skip


def in_node(*requests, root=PROJECT):
    done = subprocess.run(
        [NODE, root / WEB / "run.js"],
        input=json.dumps(requests),
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=True,
    )
    return json.loads(done.stdout)


def in_page(page, request):
    """The same from the modules of a page, which it keeps in `window.lab.modules`."""
    source = (PROJECT / WEB / "answer.js").read_text(encoding="utf-8").replace("export ", "")
    return page.evaluate(f"request => {{ {source}\nreturn answer(lab.modules, request) }}", request)


# ---- The same in PyTorch -----------------------------------------------------------------------


def shaped(arrays, sizes, dtype):
    """The lab's arrays as parameters: two layers, two layers, perhaps log sigma."""
    data, latent, hidden = sizes
    shapes = [
        (hidden, data), (hidden,), (2 * latent, hidden), (2 * latent,),
        (hidden, latent), (hidden,), (data, hidden), (data,), (1,),
    ]  # fmt: skip
    return [
        nn.Parameter(torch.tensor(array, dtype=dtype).reshape(shape))
        for array, shape in zip(arrays, shapes, strict=False)
    ]


def log_likelihood(likelihood, x, output, log_sigma):
    if likelihood == "gaussian":
        return Normal(output, log_sigma.exp()).log_prob(x).sum(-1)
    x = x.expand_as(output)
    return -binary_cross_entropy_with_logits(output, x, reduction="none").sum(-1)


def loss_of(parameters, about, settings, x, eps):
    """Minus the ELBO (Kingma & Welling, 2014) or minus the bound of Burda et al. (2016)."""
    activate = {"tanh": torch.tanh, "relu": torch.relu}[about["activation"]]
    w1, b1, w2, b2, w3, b3, w4, b4, *log_sigma = parameters
    mu, logvar = linear(activate(linear(x, w1, b1)), w2, b2).chunk(2, dim=-1)
    q = Normal(mu, logvar.exp().sqrt())
    prior = Normal(torch.zeros_like(mu), 1.0)
    samples = eps.shape[0]
    z = q.loc + q.scale * eps if settings["noise"] else q.loc.expand_as(eps)
    output = linear(activate(linear(z, w3, b3)), w4, b4)
    given = log_likelihood(about["likelihood"], x, output, *(log_sigma or [None]))
    reconstruction, kl = -given.mean(), kl_divergence(q, prior).sum(-1).mean()
    if samples == 1:
        return reconstruction + settings["beta"] * kl, reconstruction, kl
    ratio = (prior.log_prob(z) - q.log_prob(z)).sum(-1)
    bound = torch.logsumexp(given + settings["beta"] * ratio, dim=0) - math.log(samples)
    return -bound.mean(), reconstruction, kl


def trained(asked, told, dtype=torch.float64):
    """PyTorch's parameters from the same start, with their last gradients, and the loss's terms."""
    about, settings = asked["about"], asked["settings"]
    data, latent, hidden = (about["sizes"][name] for name in ("data", "latent", "encoder"))
    parameters = shaped(told["first"], (data, latent, hidden), dtype)
    adam = torch.optim.Adam(parameters, lr=settings["rate"])
    taken = []
    for step in told["taken"]:
        x = torch.tensor(step["x"], dtype=dtype).reshape(-1, data)
        eps = torch.tensor(step["eps"], dtype=dtype)
        eps = eps.reshape(len(x), settings["samples"], latent).transpose(0, 1)
        adam.zero_grad()
        terms = loss_of(parameters, about, settings, x, eps)
        terms[0].backward()
        adam.step()
        taken.append([term.item() for term in terms])
    return parameters, taken


def distances(asked, told):
    """How far losses, last gradients and parameters are from PyTorch's, relative to their size."""
    parameters, taken = trained(asked, told)
    losses = [[step[name] for name in ("loss", "reconstruction", "kl")] for step in told["taken"]]
    return {
        "losses": worst(losses, torch.tensor(taken, dtype=torch.float64)),
        "gradients": max(map(worst, told["gradients"], [each.grad for each in parameters])),
        "parameters": max(map(worst, told["last"], parameters)),
    }


def apart(array, tensor):
    expected = tensor.detach().double().flatten()
    return torch.tensor(array, dtype=torch.float64).flatten() - expected, expected


def worst(array, tensor):
    """The largest difference, relative to the largest number."""
    difference, expected = apart(array, tensor)
    return (difference.abs().max() / expected.abs().max().clamp(min=1e-3)).item()


def typical(array, tensor):
    """The root mean square of the differences, relative to that of the numbers."""
    difference, expected = apart(array, tensor)
    return (difference.square().mean() / expected.square().mean()).sqrt().item()


TOY = (2, 1, 16)
DIGITS = (784, 2, 128)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize(("likelihood", "sizes"), [("gaussian", TOY), ("bernoulli", DIGITS)])
def test_twenty_steps_are_those_of_pytorch(likelihood, sizes, samples, activation):
    asked = request(likelihood, activation, sizes, samples=samples)
    [told] = in_node(asked)
    assert len(told["taken"]) == 20
    assert max(distances(asked, told).values()) < 1e-9


def test_beta_and_absent_noise_are_those_of_pytorch():
    many = [
        request("gaussian", "tanh", TOY, beta=0),
        request("gaussian", "tanh", TOY, beta=2.5),
        request("gaussian", "tanh", TOY, beta=2.5, samples=4),
        request("bernoulli", "relu", (30, 2, 12), beta=0.5, noise=False),
    ]
    for asked, told in zip(many, in_node(*many), strict=True):
        assert max(distances(asked, told).values()) < 1e-9


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("samples", [1, 5])
def test_digits_in_single_precision_stay_as_near_as_pytorchs_own(samples, activation):
    """Adam divides a gradient by its own size, so that rounding decides where it is near zero."""
    asked = request("bernoulli", activation, DIGITS, kind="Float32Array", samples=samples)
    [told] = in_node(asked)
    exact, _ = trained(asked, told)
    single, _ = trained(asked, told, torch.float32)
    assert distances(asked, told)["losses"] < 1e-5
    assert max(map(typical, told["last"], exact)) < 1e-5
    of_pytorch = max(
        worst(each.tolist(), double) for each, double in zip(single, exact, strict=True)
    )
    assert max(map(worst, told["last"], exact)) <= of_pytorch


# ---- Exact values ------------------------------------------------------------------------------


def means_of(arrays):
    """The mean of p(x|z) as a function of z, and log sigma."""
    w1, b1, w2, b2, log_sigma = (np.array(array) for array in arrays[4:])
    return lambda z: w2.reshape(2, -1) @ np.tanh(w1 * z + b1) + b2, log_sigma[0]


def integral(f, middle, width):
    breaks = [middle - width, middle, middle + width]
    return quad(f, -25, 25, points=breaks, limit=2000, epsabs=1e-12, epsrel=1e-11)[0]


def by_quadrature(arrays, point, mu, logvar):
    """log p(x) and the ELBO of a point, from scipy's adaptive quadrature."""
    mean, log_sigma = means_of(arrays)

    def log_joint(z):
        square = ((np.array(point) - mean(z)) ** 2).sum() / math.exp(2 * log_sigma)
        return -0.5 * (square + z * z + 3 * math.log(2 * math.pi)) - 2 * log_sigma

    places = np.linspace(-12, 12, 4801)
    joints = np.array([log_joint(z) for z in places])
    top, peak = joints.max(), places[joints.argmax()]
    evidence = top + math.log(integral(lambda z: math.exp(log_joint(z) - top), peak, 0.3))
    sigma = math.exp(0.5 * logvar)

    def density(z):
        return math.exp(-0.5 * ((z - mu) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))

    expected = integral(lambda z: density(z) * log_joint(z), mu, sigma)
    return evidence, expected + 0.5 * math.log(2 * math.pi * math.e) + math.log(sigma)


def test_log_p_and_elbo_are_those_of_scipys_quadrature():
    asked = request("gaussian", "tanh", TOY, steps=600, rate=0.02) | {
        "points": [[1.0, 0.1], [0.0, 0.0], [-0.5, -0.9], [2.0, 2.0]],
        "q": [[0.5, -2.0], [0.0, 0.0], [-1.0, -5.0], [2.5, 0.5]],
    }
    [told] = in_node(asked)
    for point, (mu, logvar), gaps in zip(asked["points"], asked["q"], told["gaps"], strict=True):
        evidence, elbo = by_quadrature(told["last"], point, mu, logvar)
        assert gaps["evidence"] == pytest.approx(evidence, abs=1e-8)
        assert gaps["elbo"] == pytest.approx(elbo, abs=1e-6)
        parts = gaps["approximation"] + gaps["amortisation"]
        assert parts == pytest.approx(evidence - elbo, abs=1e-6)
        best = gaps["best"]
        _, most = by_quadrature(told["last"], point, best["mu"], best["logvar"])
        assert gaps["approximation"] == pytest.approx(evidence - most, abs=1e-6)


# ---- Node's own tests, and errors that they find ------------------------------------------------


def node_tests(root, name):
    """What the tests of a file print, up to the first failure."""
    command = [NODE, "--test-reporter=tap", root / WEB / name]
    printed, failed = [], False
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        for line in process.stdout:
            printed.append(line)
            failed |= line.startswith("not ok")
            if failed and line.rstrip() == "  ...":
                process.kill()
                break
    return "".join(printed)


@pytest.mark.parametrize("name", TESTS)
def test_node_finds_nothing_wrong(name):
    printed = node_tests(PROJECT, name)
    assert re.search(r"^# pass [1-9]", printed, re.MULTILINE), printed
    assert re.search(r"^# fail 0$", printed, re.MULTILINE), printed


PLANTED = [
    ("sign of the KL", "vae", "reconstruction + beta * own", "reconstruction - beta * own"),
    ("KL without its half", "vae", "0.5 * (mu[i] ** 2 +", "(mu[i] ** 2 +"),
    ("sigma = exp(logvar)", "vae", "mu[q] + Math.exp(0.5 * logvar[q])",
     "mu[q] + Math.exp(logvar[q])"),
    ("noise always off", "vae", "return noise ? mu[q] +", "return false ? mu[q] +"),
    ("KL not by logvar", "vae", "(beta * 0.5 * (Math.exp(logvar[q]) - 1)) / rows", "0"),
    ("weights without log q", "vae", "(eps[i] ** 2 - z[i] ** 2 + logvar[row * latent + k])",
     "-(z[i] ** 2)"),
    ("weights not normalised", "vae", "Math.exp(each - total)", "Math.exp(each)"),
    ("slopes not per row", "vae", "] / rows;\n    const residual", "];\n    const residual"),
    ("beta applied twice", "vae", "(beta * mu[q]) / rows", "(beta * beta * mu[q]) / rows"),
    ("mean not corrected", "network", "/ (1 - b1 ** state.steps)", ""),
    ("square not corrected", "network", "Math.sqrt(1 - b2 ** state.steps)", "1"),
    ("no derivative of ReLU", "network", "if (y[i] === 0) below[i] = 0", ""),
    ("no derivative of tanh", "network", "below[i] *= 1 - y[i] * y[i]", ""),
    ("last terms left out", "network", "j < count; j += 4", "j + 3 < count; j += 4"),
    ("posterior without prior", "exact", "(precision * square + z[i] * z[i])",
     "precision * square"),
    ("evidence without step", "exact", "logSumExp(joint) + Math.log(step)", "logSumExp(joint)"),
    ("no search", "exact", "i < MOVES", "i < 0"),
    ("wide q on few points", "exact", "Math.min(0.7, longest / sigma)", "0.7"),
    ("grid never wider", "exact", "if (!isWide) reach *= 2;", ""),
    ("rows with replacement", "training", "run.order.subarray(run.next, run.next + rows)",
     "run.order.slice(0, rows).map(() => run.count * run.shuffling())"),
    ("both sides trained", "training", "settings.train !== side) continue", "false) continue"),
    ("order without a seed", "training", 'uniform(streamSeed(seed, "batches"))', "Math.random"),
    ("strange letters", "datasets", "/[^A-Za-z0-9_-]/.test(text)", "false"),
]  # fmt: skip
"""One wrong piece of code each: its name, the module, the right piece, and the wrong one."""
BY_NODE = [pytest.param(*each, id=each[0]) for each in PLANTED]
BY_PYTORCH = [pytest.param(*each, id=each[0]) for each in PLANTED if each[1] in {"vae", "network"}]


def with_error(root, module, right, wrong):
    """A copy of the modules and their tests, with one error."""
    for folder in (MODULES, WEB):
        shutil.copytree(PROJECT / folder, root / folder)
    path = root / MODULES / "lab" / f"{module}.js"
    source = path.read_text(encoding="utf-8")
    assert source.count(right) == 1
    path.write_text(source.replace(right, wrong), encoding="utf-8")
    return root


@pytest.mark.parametrize(("name", "module", "right", "wrong"), BY_NODE)
def test_node_finds_the_planted_error(name, module, right, wrong, tmp_path):
    printed = node_tests(with_error(tmp_path, module, right, wrong), f"lab_{module}.test.js")
    assert re.search(r"^not ok", printed, re.MULTILINE)
    assert not re.search("is not defined|is not a function", printed)


@pytest.mark.parametrize(("name", "module", "right", "wrong"), BY_PYTORCH)
def test_pytorch_finds_the_planted_error(name, module, right, wrong, tmp_path):
    many = [
        request("gaussian", activation, TOY, beta=2.5, samples=samples, steps=3)
        for samples, activation in ((1, "relu"), (4, "tanh"))
    ]
    answers = in_node(*many, root=with_error(tmp_path, module, right, wrong))
    far = [distances(asked, told).values() for asked, told in zip(many, answers, strict=True)]
    assert max(max(each) for each in far) > 1e-5


# ---- A real browser ----------------------------------------------------------------------------


def test_the_page_computes_what_pytorch_does(book_url, visit):
    page = visit(f"{book_url}/lab.html").page
    asked = request("gaussian", "tanh", TOY) | {"points": [[1.0, 0.1]], "q": [[0.5, -2.0]]}
    told = in_page(page, asked)
    [expected] = in_node(asked)
    assert max(distances(asked, told).values()) < 1e-9
    for name, value in expected["gaps"][0].items():
        if name != "best":
            assert told["gaps"][0][name] == pytest.approx(value, abs=1e-9)
