"""What is computed faster, against PyTorch's own functions and closed forms."""

import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vae_helpers import PROJECT, kernels
from vae_helpers.kernels import SMALL, Dropout, Linear, linear, softplus

WIDTHS = [(784, 400), (400, 200), (200, 400), (400, 784), (SMALL, SMALL), (65, 127)]


def exact(x, weight, bias):
    """The product in double precision, by sums that are no product of matrices."""
    return (x.double()[..., None, :] * weight.double()).sum(dim=-1) + bias.double()


@pytest.fixture
def by_onednn(monkeypatch):
    """Counts the products that go through oneDNN."""
    calls = []
    product = kernels._times_transposed
    monkeypatch.setattr(
        kernels, "_times_transposed", lambda *parts: calls.append(parts) or product(*parts)
    )
    return calls


@pytest.mark.parametrize(("inputs", "outputs"), WIDTHS)
@pytest.mark.parametrize("batch", [(1,), (96,), (128,), (3, 5)])
def test_linear_is_the_product_and_has_its_gradients(by_onednn, inputs, outputs, batch):
    x = torch.randn(*batch, inputs, requires_grad=True)
    layer = Linear(inputs, outputs)
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


def test_linear_begins_with_the_weights_of_pytorchs_layer():
    torch.manual_seed(3)
    ours = Linear(100, 70)
    torch.manual_seed(3)
    theirs = nn.Linear(100, 70)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(
        torch.equal(ours.state_dict()[name], theirs.state_dict()[name])
        for name in ("weight", "bias")
    )


def test_products_that_nobody_needs_are_not_made(by_onednn):
    layer = Linear(100, 70).requires_grad_(False)
    x = torch.randn(5, 100, requires_grad=True)
    layer(x).sum().backward()
    assert len(by_onednn) == 2  # forward, and the gradient of x
    by_onednn.clear()
    Linear(100, 70)(x.detach()).sum().backward()
    assert len(by_onednn) == 2  # forward, and the gradient of the weights


@pytest.mark.parametrize(
    ("x", "width"),
    [
        (torch.randn(4, 100, dtype=torch.float64), 70),
        (torch.randn(4, SMALL - 1), 70),
        (torch.randn(4, 100), SMALL - 1),
        (torch.empty(0, 100), 70),
    ],
    ids=["double precision", "narrow input", "narrow output", "no rows"],
)
def test_what_does_not_suit_is_left_to_pytorch(by_onednn, x, width):
    weight, bias = torch.randn(width, x.shape[1], dtype=x.dtype), torch.randn(width, dtype=x.dtype)
    weight.requires_grad_()
    output = linear(x, weight, bias)
    output.sum().backward()
    assert torch.equal(output, F.linear(x, weight, bias))
    assert weight.grad is not None
    assert not by_onednn


def test_products_are_counted_as_pytorch_counts_its_own():
    x = torch.randn(5, 100, requires_grad=True)
    counts = []
    for layer in (Linear(100, 70), nn.Linear(100, 70)):
        with FlopCounterMode(display=False) as counted:
            layer(x).sum().backward()
        counts.append(counted.get_total_flops())
    assert counts == [3 * 2 * 5 * 100 * 70] * 2


def test_input_of_another_width_is_refused_with_both_shapes():
    with pytest.raises(RuntimeError, match="128x90 and 100x70"):
        Linear(100, 70)(torch.randn(128, 90))


def test_linear_without_bias_and_of_one_row():
    weight, x = torch.randn(70, 100), torch.randn(100)
    torch.testing.assert_close(linear(x, weight), weight @ x, rtol=1e-4, atol=1e-5)


def test_a_second_derivative_is_refused_and_not_wrong():
    x = torch.randn(4, 100, requires_grad=True)
    first = torch.autograd.grad(Linear(100, 70)(x).square().sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_softplus_is_the_logarithm_of_one_plus_the_exponential():
    x = torch.linspace(-40, 40, 8_001, dtype=torch.float64)
    values = [math.log1p(math.exp(-abs(v))) + max(v, 0) for v in x.tolist()]
    expected = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(softplus(x), expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(softplus(x.float()), expected.float(), rtol=2e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("x", "value", "slope"),
    [(0.0, math.log(2), 0.5), (-1e4, 0.0, 0.0), (1e4, 1e4, 1.0), (1e30, 1e30, 1.0)],
)
def test_softplus_and_its_slope_are_right_at_zero_and_far_away(x, value, slope):
    at = torch.tensor(x, requires_grad=True)
    result = softplus(at)
    result.backward()
    assert result.item() == pytest.approx(value, rel=1e-6, abs=1e-6)
    assert at.grad.item() == slope


def test_slope_of_softplus_is_its_derivative():
    assert torch.autograd.gradcheck(
        softplus, torch.randn(50, dtype=torch.float64, requires_grad=True)
    )


def test_infinite_and_undefined_values_go_through_softplus():
    values = softplus(torch.tensor([math.inf, -math.inf, math.nan]))
    assert values[:2].tolist() == [math.inf, 0]
    assert values[2].isnan()


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_dropout_leaves_out_units_with_probability_p_and_keeps_the_mean(p):
    torch.manual_seed(0)
    n = 400_001  # no multiple of the four units that share a random number
    kept = Dropout(p)(torch.ones(n))
    error = 5 * math.sqrt(p * (1 - p) / n)
    assert set(kept.unique().tolist()) == {0.0, torch.tensor(1 / (1 - p)).item()}
    assert abs((kept == 0).double().mean().item() - p) < error
    assert kept.mean().item() == pytest.approx(1, abs=error / (1 - p))


def test_units_are_left_out_independently():
    torch.manual_seed(0)
    out = (Dropout(0.3)(torch.ones(100_000, 8)) == 0).double()
    expected = 0.3 * 0.7 * torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(torch.cov(out.T), expected, rtol=0, atol=0.004)


def test_gradient_of_dropout_is_the_mask():
    torch.manual_seed(0)
    x = torch.full((50, 60), 2.0, requires_grad=True)
    output = Dropout(0.3)(x)
    output.sum().backward()
    torch.testing.assert_close(x.grad, output.detach() / 2)


def test_dropout_does_nothing_in_evaluation_mode_and_depends_on_the_seed_alone():
    x = torch.randn(7, 9)
    assert torch.equal(Dropout(0.3).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)

    def drawn(seed):
        torch.manual_seed(seed)
        return Dropout(0.3)(x)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has the setting")
def test_freed_memory_is_used_again_without_asking_the_system():
    code = """
import resource, torch
torch.set_num_threads(1)
{set}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    for _ in range(20):
        torch.zeros(2_500_000)  # 10 MB
work()
before = faults()
work()
print(faults() - before)
"""

    def page_faults(setting):
        command = [sys.executable, "-c", code.format(set=setting)]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
        return int(done.stdout)

    pages = 20 * 10_000_000 // 4096
    assert page_faults("import vae_helpers.kernels") < 0.1 * pages
    without = "import ctypes; ctypes.CDLL(None).mallopt(-3, 2**17)"  # glibc's beginning
    assert page_faults(without) > 0.1 * pages
