"""What the notebooks teach can be pasted into an empty notebook with nothing but torch."""

import ast
import builtins
import dis
import sys
import types
from functools import partial

import nbformat
import notebook_rules as rules
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae_helpers import PROJECT, objective, training

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


def standard_library(source):
    """The imports of a cell that need nothing but Python."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module]
        else:
            continue
        if all(module.split(".")[0] in sys.stdlib_module_names for module in modules):
            yield ast.unparse(node)


def global_names(code):
    """The names that a code object, and the functions and classes in it, look up as globals."""
    own = {it.argval for it in dis.get_instructions(code) if it.opname == "LOAD_GLOBAL"}
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return own.union(*map(global_names, inner))


def paste(sources):
    """Execute the taught cells among these, and of the others what they import from Python itself.

    Returns:
        The names that are defined then, and by cell those that are missing.
    """
    namespace = {"__name__": "pasted", "torch": torch, "nn": nn, "F": F, "Tensor": Tensor}
    missing = {}
    for source in sources:
        if not source.startswith("# taught:"):
            exec("\n".join(standard_library(source)), namespace)
            continue
        code = compile(source, "pasted", "exec")
        exec(code, namespace)
        unknown = global_names(code) - namespace.keys() - vars(builtins).keys()
        if unknown:
            missing[source.splitlines()[0]] = sorted(unknown)
    return namespace, missing


def course_up_to(last):
    """The code cells of the notebooks in order, the last one included."""
    sources = []
    for path in NOTEBOOKS:
        cells = rules.code_cells(nbformat.read(path, as_version=4))
        sources += [cell.source for cell in cells if not cell.source.startswith("%")]
        if path.stem == last:
            return sources
    raise ValueError(last)


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_what_is_taught_needs_nothing_but_torch_and_what_was_taught_before(name):
    assert paste(course_up_to(name))[1] == {}


def test_a_cell_that_needs_the_package_is_noticed_wherever_in_it_that_is():
    cell = """# taught: a.Model
class Model(nn.Module):
    def forward(self, x):
        return [objective.bce(each, math.pi) for each in F.relu(x)]
"""
    assert paste([cell])[1] == {"# taught: a.Model": ["math", "objective"]}
    others = "import math\nfrom vae_helpers import objective"
    assert paste([others, cell])[1] == {"# taught: a.Model": ["objective"]}
    taught = "# taught: b.objective\ndef objective(): pass"
    assert paste([others, taught, cell])[1] == {}


def test_an_epoch_of_what_is_taught_is_an_epoch_of_the_package_to_the_bit():
    taught, _ = paste(course_up_to("05_training"))
    assert taught["train_epoch"].__module__ == taught["VAE"].__module__ == "pasted"
    config = training.TrainConfig(batch_size=16, hidden_dims=(16,), latent_dim=3)
    images, found = torch.rand(40, 784), []
    for train_epoch, network, loss in (
        (taught["train_epoch"], taught["VAE"], taught["elbo"]),
        (training.train_epoch, training.VAE, objective.elbo),
    ):
        torch.manual_seed(0)
        model = network(config.hidden_dims, config.latent_dim)
        optimizer = torch.optim.Adam(model.parameters())
        loss = partial(loss, beta=0.5)
        numbers = train_epoch(model, optimizer, images, loss=loss, config=config, epoch=1)
        found.append((numbers, nn.utils.parameters_to_vector(model.parameters()).tolist()))
    assert found[0] == found[1]
