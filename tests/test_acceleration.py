"""What is computed faster, against PyTorch's own functions and closed forms."""

import math
import subprocess
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vae_helpers import PROJECT, acceleration, objective
from vae_helpers.acceleration import SMALL, applied, bce, drop, linear, product, products
from vae_helpers.data import batches
from vae_helpers.models import VAE, Discriminator
from vae_helpers.seeds import new_rng
from vae_helpers.training import TrainConfig, fit, new_model

WIDTHS = [(784, 400), (400, 200), (200, 400), (400, 784), (SMALL, SMALL), (65, 127)]
MODULES = sorted(path.stem for path in (PROJECT / "vae_helpers").glob("[!_]*.py"))


@pytest.fixture
def by_onednn(monkeypatch):
    """oneDNN multiplies wherever it can, and its products are counted."""
    calls, own = [], torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(
        torch.ops.mkldnn, "_linear_pointwise", lambda *parts: calls.append(parts) or own(*parts)
    )
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    return calls


@pytest.fixture(params=["missing", "not built in", "switched off"])
def no_onednn(request, monkeypatch):
    """The private operation is missing, or not to be used."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    if request.param == "missing":
        monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    if request.param == "not built in":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    if request.param == "switched off":
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)


# Applied or not


IMPORTED = f"""
import ctypes, importlib, sys
import torch
import torch.nn.functional as F

looked_up = []

class Library(ctypes.CDLL):
    def __getattr__(self, name):
        looked_up.append(name)
        return super().__getattr__(name)

class Operations:
    def __init__(self, own):
        self.own = own
    def __getattr__(self, name):
        looked_up.append(name)
        return getattr(self.own, name)

ctypes.CDLL = Library
torch.ops.mkldnn = Operations(torch.ops.mkldnn)
torch.set_num_threads(1)
own = (F.linear, F.binary_cross_entropy_with_logits, F.dropout)
for name in {MODULES}:
    importlib.import_module("vae_helpers." + name)
torch.nn.Linear(784, 400)(torch.rand(128, 784)).sum().backward()
touched = {{"mallopt", "_linear_pointwise"}}
assert own == (F.linear, F.binary_cross_entropy_with_logits, F.dropout)
assert not touched & set(looked_up), looked_up
from vae_helpers import acceleration
with acceleration.applied():
    pass
assert "_linear_pointwise" in looked_up
assert "mallopt" in looked_up or sys.platform != "linux"
"""


def test_nothing_happens_on_import():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], cwd=PROJECT, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr


def test_three_functions_are_replaced_inside_and_nowhere_else(by_onednn):
    layer, x, noise = nn.Linear(100, 70), torch.randn(128, 100), nn.Dropout(0.3)
    logits, target = torch.randn(128, 70), torch.rand(128, 70)

    def outcome():
        torch.manual_seed(0)
        values = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return noise(x), values, layer(x)

    def interrupted():
        with applied():
            inside.append(outcome())
            raise KeyboardInterrupt

    before, inside = outcome(), []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    after = outcome()
    assert len(by_onednn) == 1
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert not torch.equal(before[0], inside[0][0])  # other random numbers
    assert not torch.equal(before[1], inside[0][1])  # another rounding
    torch.testing.assert_close(before[1:], inside[0][1:])


def test_an_inner_context_leaves_the_outer_one_as_it_is(by_onednn):
    layer, x = nn.Linear(100, 70), torch.randn(128, 100)
    with applied():
        with applied():
            layer(x)
        layer(x)
    layer(x)
    assert len(by_onednn) == 2


def test_off_is_pytorch_as_it_is(by_onednn):
    layer, x = nn.Linear(100, 70), torch.randn(128, 100)
    with applied("off"):
        found = layer(x)
    assert torch.equal(found, layer(x))
    assert not by_onednn
    assert products("off") == "off"


@pytest.mark.usefixtures("no_onednn")
def test_without_the_private_operation_the_products_are_pytorchs_and_say_so():
    weight, bias = torch.randn(70, 100, requires_grad=True), torch.randn(70)
    x = torch.randn(128, 100, requires_grad=True)
    assert products() == "stock"
    expected = F.linear(x, weight, bias)
    with applied():
        found = F.linear(x, weight, bias)
        for output in (found, linear(x, weight, bias)):
            assert torch.equal(output, expected)
            slopes = torch.autograd.grad(output.square().sum(), (x, weight))
            stock = torch.autograd.grad(expected.square().sum(), (x, weight), retain_graph=True)
            assert all(torch.equal(*pair) for pair in zip(slopes, stock, strict=True))


# Which library multiplies


@pytest.mark.skipif(not acceleration._has_onednn(), reason="there is nothing to choose from")
@pytest.mark.parametrize(
    ("capability", "chosen"), [("AVX512", "onednn"), ("AVX2", "stock"), ("DEFAULT", "stock")]
)
def test_onednn_multiplies_where_vectors_are_wide(by_onednn, capability, chosen, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    layer, x = nn.Linear(100, 70), torch.randn(128, 100)
    assert products() == chosen
    with applied():
        output = layer(x)
    product(x, layer.weight)
    assert len(by_onednn) == (2 if chosen == "onednn" else 0)
    assert torch.equal(output, layer(x)) or chosen == "onednn"


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [*WIDTHS, (100, 3), (3, 100)])
def test_product_without_autograd_is_that_of_linear_and_of_the_relu(
    by_onednn, inputs, outputs, relu
):
    x, weight, bias = torch.randn(7, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
    expected = exact(x, weight, bias)
    expected = expected.clamp(min=0) if relu else expected
    found = product(x, weight, bias, relu=relu).double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert len(by_onednn) == (min(inputs, outputs) >= SMALL)


# Products


def exact(x, weight, bias):
    """The product in double precision, by sums that are no product of matrices."""
    return (x.double()[..., None, :] * weight.double()).sum(dim=-1) + bias.double()


@pytest.mark.parametrize(("inputs", "outputs"), WIDTHS)
@pytest.mark.parametrize("batch", [(1,), (96,), (128,), (3, 5)])
def test_linear_is_the_product_and_has_its_gradients(by_onednn, inputs, outputs, batch):
    x = torch.randn(*batch, inputs, requires_grad=True)
    layer = nn.Linear(inputs, outputs)
    with applied():
        output = layer(x)
    expected = exact(x.detach(), layer.weight.detach(), layer.bias.detach())
    torch.testing.assert_close(output.double(), expected, rtol=1e-4, atol=1e-5)

    direction = torch.randn_like(output)
    output.backward(direction)
    g, rows = direction.reshape(-1, outputs).double(), x.detach().reshape(-1, inputs).double()
    assert len(by_onednn) == 3
    torch.testing.assert_close(layer.bias.grad.double(), g.sum(dim=0), rtol=1e-4, atol=1e-4)
    weights = torch.einsum("bo,bi->oi", g, rows)
    torch.testing.assert_close(layer.weight.grad.double(), weights, rtol=1e-4, atol=1e-4)
    inputs_grad = torch.einsum("bo,oi->bi", g, layer.weight.detach().double())
    torch.testing.assert_close(
        x.grad.reshape(-1, inputs).double(), inputs_grad, rtol=1e-4, atol=1e-4
    )


def test_products_that_nobody_needs_are_not_made(by_onednn):
    weight, bias = torch.randn(70, 100), torch.randn(70)
    x = torch.randn(5, 100, requires_grad=True)
    linear(x, weight, bias).sum().backward()
    assert len(by_onednn) == 2  # forward, and the gradient of x
    by_onednn.clear()
    linear(x.detach(), weight.requires_grad_(), bias).sum().backward()
    assert len(by_onednn) == 2  # forward, and the gradient of the weights


@pytest.mark.parametrize(
    ("x", "width"),
    [
        (torch.randn(4, 100, dtype=torch.float64), 70),
        (torch.randn(4, SMALL - 1), 70),
        (torch.randn(4, 100), SMALL - 1),
        (torch.empty(0, 100), 70),
        (torch.empty(4, 100, device="meta"), 70),
    ],
    ids=["double precision", "narrow input", "narrow output", "no rows", "another device"],
)
def test_what_does_not_suit_is_left_to_pytorch(by_onednn, x, width):
    options = {"dtype": x.dtype, "device": x.device}
    weight, bias = torch.randn(width, x.shape[1], **options), torch.randn(width, **options)
    weight.requires_grad_()
    output = linear(x, weight, bias)
    output.sum().backward()
    assert x.is_meta or torch.equal(output, F.linear(x, weight, bias))
    assert output.shape == (len(x), width)
    assert weight.grad is not None
    assert not by_onednn


def test_input_of_another_width_is_refused_with_both_shapes(by_onednn):
    with pytest.raises(RuntimeError, match="128x90 and 100x70"), applied():
        nn.Linear(100, 70)(torch.randn(128, 90))


def test_linear_without_bias_and_of_one_row(by_onednn):
    weight, x = torch.randn(70, 100), torch.randn(100)
    torch.testing.assert_close(linear(x, weight), weight @ x, rtol=1e-4, atol=1e-5)
    assert len(by_onednn) == 1


def test_products_can_be_differentiated_three_times(by_onednn):
    x, weight = torch.randn(4, 100, requires_grad=True), torch.randn(70, 100, requires_grad=True)
    bias = torch.randn(70, requires_grad=True)

    def slopes(multiply):
        found, value = [], (multiply(x, weight, bias) / 10).tanh().sum()
        for _ in range(3):
            of_x, of_weight, of_bias = torch.autograd.grad(
                value, (x, weight, bias), create_graph=True
            )
            found += [of_x, of_weight, of_bias]
            value = of_x.square().sum() + of_weight.sin().sum()
        return found

    ours = slopes(linear)
    assert len(by_onednn) > 10
    torch.testing.assert_close(ours, slopes(F.linear), rtol=1e-3, atol=1e-4)


def test_gradient_penalty_has_the_gradients_of_pytorch(by_onednn):
    """As a critic is held to a slope of one (Gulrajani et al. 2017, equation 3)."""
    network, x = Discriminator(), torch.rand(32, 784)

    def gradients():
        images = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(network(images).sum(), images, create_graph=True)
        penalty = (100 * slope.norm(dim=1) - 1).square().mean()
        weights = [layer.weight for layer in network.modules() if isinstance(layer, nn.Linear)]
        return penalty, *torch.autograd.grad(penalty, weights)

    expected = gradients()
    with applied():
        found = gradients()
    assert by_onednn
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


# The cross-entropy


def many(values):
    """Repeated to as many as the faster function takes."""
    return torch.as_tensor(values).repeat(SMALL**2)


def test_cross_entropy_is_pytorchs_in_values_and_gradients():
    logits, target = 5 * torch.randn(128, 784), torch.rand(128, 784)
    exact = F.binary_cross_entropy_with_logits(logits.double(), target.double(), reduction="none")
    found = bce(logits, target, reduction="none").double()
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=2e-6)
    slopes = []
    for function in (bce, F.binary_cross_entropy_with_logits):
        at = [tensor.clone().requires_grad_() for tensor in (logits, target)]
        weights = torch.linspace(-1, 2, 784)
        slopes.append(torch.autograd.grad((function(*at, reduction="none") * weights).sum(), at))
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "value", "slope"),
    [(0.0, math.log(2), 0.5), (-1e4, 0.0, 0.0), (1e4, 1e4, 1.0), (1e30, 1e30, 1.0)],
)
def test_cross_entropy_and_its_slope_are_right_at_zero_and_far_away(x, value, slope):
    at = many([x]).requires_grad_()
    result = bce(at, torch.zeros_like(at), reduction="none")
    result.sum().backward()
    assert result.tolist() == pytest.approx([value] * len(at), rel=1e-6, abs=1e-6)
    assert set(at.grad.tolist()) == {slope}


def test_cross_entropy_can_be_differentiated_twice():
    x = torch.randn(20, dtype=torch.float64, requires_grad=True)
    target = torch.rand(20, dtype=torch.float64, requires_grad=True)

    def values(x, target):
        found = bce(x.repeat(SMALL**2 // 16), target.repeat(SMALL**2 // 16), reduction="none")
        assert "Softplus" in str(found.grad_fn.next_functions)
        return found[:20]

    assert torch.autograd.gradcheck(values, (x, target))
    assert torch.autograd.gradgradcheck(values, (x, target))


def test_infinite_and_undefined_logits_go_through_as_in_pytorch():
    logits = many([math.inf, -math.inf, math.nan, 3.0])
    target = torch.full_like(logits, 0.25)
    ours, theirs = (
        function(logits, target, reduction="none").view(-1, 4)
        for function in (bce, F.binary_cross_entropy_with_logits)
    )
    assert torch.equal(ours.isfinite(), theirs.isfinite())
    assert not ours[:, :3].isfinite().any()
    torch.testing.assert_close(ours[:, 3], theirs[:, 3])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reduction": "sum"},
        {"reduction": "none", "weight": torch.rand(784)},
        {"reduction": "none", "pos_weight": torch.rand(784)},
    ],
    ids=["mean", "sum", "weight", "pos_weight"],
)
def test_other_cross_entropies_are_pytorchs_own(options):
    logits, target = torch.randn(128, 784), torch.rand(128, 784)
    expected = F.binary_cross_entropy_with_logits(logits, target, **options)
    with applied():
        found = F.binary_cross_entropy_with_logits(logits, target, **options)
    assert torch.equal(found, expected)


def test_targets_of_another_shape_are_refused_inside_as_they_are_outside():
    logits, target = torch.randn(128, 784), torch.rand(784)
    with pytest.raises(ValueError, match="must be the same as input size"), applied():
        F.binary_cross_entropy_with_logits(logits, target, reduction="none")


# Dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_dropout_leaves_out_units_with_probability_p_and_keeps_the_mean(p):
    n = 400_001  # no multiple of the four units that share a random number
    torch.manual_seed(1)
    kept = drop(torch.ones(n), p)
    torch.manual_seed(1)
    assert not torch.equal(kept, F.dropout(torch.ones(n), p))
    error = 5 * math.sqrt(p * (1 - p) / n)
    assert set(kept.unique().tolist()) == {0.0, torch.tensor(1 / (1 - p)).item()}
    assert abs((kept == 0).double().mean().item() - p) < error
    assert kept.mean().item() == pytest.approx(1, abs=error / (1 - p))


def test_the_smallest_probability_is_one_in_65536():
    left_out = (drop(torch.ones(4_000_000), 2**-16) == 0).sum().item()
    expected = 4_000_000 / 65536
    assert abs(left_out - expected) < 5 * math.sqrt(expected)


def test_units_are_left_out_independently():
    out = (drop(torch.ones(100_000, 8), 0.3) == 0).double()
    expected = 0.3 * 0.7 * torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(torch.cov(out.T), expected, rtol=0, atol=0.004)


def test_gradient_of_dropout_is_the_mask():
    x = torch.full((50, 60), 2.0, requires_grad=True)
    output = drop(x, 0.3)
    output.sum().backward()
    torch.testing.assert_close(x.grad, output.detach() / 2)


def test_dropout_does_nothing_in_evaluation_mode_and_depends_on_the_seed_alone():
    x, layer = torch.randn(7, 9), nn.Dropout(0.3)

    def drawn(seed):
        torch.manual_seed(seed)
        return layer(x)

    with applied():
        assert torch.equal(drawn(1), drawn(1))
        assert not torch.equal(drawn(1), drawn(2))
        assert torch.equal(nn.Dropout(0.0)(x), x)
        assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("p", [1e-9, 1 - 1e-9, 1.0])
def test_probabilities_that_16_bits_cannot_tell_from_zero_or_one_are_pytorchs(p):
    x = torch.randn(1_000)
    torch.manual_seed(1)
    expected = F.dropout(x, p)
    torch.manual_seed(1)
    assert torch.equal(drop(x, p), expected)


@pytest.mark.parametrize("p", [-0.5, 1.5])
def test_a_dropout_that_is_no_probability_is_refused_inside_as_it_is_outside(p):
    with pytest.raises(ValueError, match="has to be between 0 and 1"), applied():
        F.dropout(torch.ones(10), p)


# A training


def terms_and_slopes(model, x, eps, loss):
    terms = loss(model(x, eps), x)
    return terms, torch.autograd.grad(terms["loss"].mean(), tuple(model.parameters()))


@pytest.mark.parametrize("loss", ["elbo", "iwae", "beta_tc"])
def test_terms_and_gradients_of_each_loss_are_pytorchs_up_to_rounding(by_onednn, loss):
    model, x = VAE(), torch.rand(32, 784)
    eps = torch.randn(*((5,) if loss == "iwae" else ()), 32, 20)
    function = objective.LOSSES[loss]
    settings = {"dataset_size": 1_000} if loss == "beta_tc" else {}
    terms, slopes = terms_and_slopes(model, x, eps, partial(function, **settings))
    with applied():
        ours, our_slopes = terms_and_slopes(model, x, eps, partial(function, **settings))
    assert by_onednn
    torch.testing.assert_close(ours, terms, rtol=0, atol=5e-4)  # of a bce of 543, in float32
    for found, expected in zip(our_slopes, slopes, strict=True):  # iwae: exponentials of them
        assert (found - expected).norm() < 5e-4 * expected.norm()


def weights_of(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def plain_training(config, data):
    """The weights after the configuration's epochs, by a loop of nothing but PyTorch."""
    model = new_model(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    for epoch in range(1, config.epochs + 1):
        noise = new_rng(config.seed, "noise", epoch=epoch)
        order = new_rng(config.seed, "order", epoch=epoch)
        for x in batches(data.train_images, batch_size=config.batch_size, rng=order):
            mu, logvar = model.encode(x)
            eps = torch.randn(mu.shape, generator=noise)
            logits = model.decode(mu + torch.exp(0.5 * logvar) * eps)
            bce = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=-1)
            kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1)
            optimizer.zero_grad()
            (bce + 1.0 * kl).mean().backward()
            optimizer.step()
    return weights_of(model)


def test_a_fit_without_acceleration_is_a_plain_loop_to_the_bit(by_onednn, digits):
    config = TrainConfig(epochs=2, device="cpu", acceleration="off")
    data = digits.first(500, 10)
    found = fit(config, data)
    assert torch.equal(weights_of(found.model), plain_training(config, data))
    assert not by_onednn


def test_an_accelerated_epoch_is_the_plain_one_up_to_rounding(by_onednn, digits):
    """A number rounds by up to 6e-8 of itself, and sixteen steps carry that along.

    The optimiser is plain descent: Adam divides small gradients by themselves, so that one that
    rounds to the other side of zero counts as much as any, and how far that leads has no bound.
    """
    stock = TrainConfig(epochs=1, optimizer="sgd", device="cpu", acceleration="off")
    plain, ours = (fit(config, digits) for config in (stock, replace(stock, acceleration="auto")))
    assert by_onednn
    way = (weights_of(plain.model) - weights_of(new_model(stock))).norm()
    apart = (weights_of(ours.model) - weights_of(plain.model)).norm()
    assert 0 < apart < 1e-5 * way  # seen: 4e-7 of it
    assert ours.history[0] == pytest.approx(plain.history[0], rel=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has the setting")
def test_freed_memory_is_used_again_without_asking_the_system():
    code = """
import ctypes, resource, torch
from vae_helpers import acceleration
torch.set_num_threads(1)
def page_faults():
    for _ in range(20):
        torch.zeros(2_500_000)  # 10 MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(2_500_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
ctypes.CDLL(None).mallopt(-3, 2**17)  # glibc's beginning, before it adapts
with acceleration.applied("off"):
    print(page_faults())
with acceleration.applied():
    print(page_faults())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, encoding="utf-8", check=True
    )
    without, applied = map(int, done.stdout.split())
    pages = 20 * 10_000_000 // 4096
    assert applied < 0.1 * pages < without


def test_contexts_that_overlap_leave_pytorch_as_it_was():
    stock = (F.linear, F.binary_cross_entropy_with_logits, F.dropout)
    first, second = applied(), applied()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert F.dropout is drop
    second.__exit__(None, None, None)
    assert (F.linear, F.binary_cross_entropy_with_logits, F.dropout) == stock


def test_acceleration_can_be_switched_off_inside_another_context():
    stock = F.dropout
    with applied():
        with applied("off"):
            assert F.dropout is stock
        assert F.dropout is drop
    assert F.dropout is stock
