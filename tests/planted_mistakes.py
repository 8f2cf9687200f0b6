"""Plant well-known mistakes in a copy of the project and show which unit test catches each.

    python tests/planted_mistakes.py               all mistakes
    python tests/planted_mistakes.py "KL dropped"  only those that are named
    python tests/planted_mistakes.py --list        their names

The copy lies in a temporary folder; the project itself is not touched. Its tests are run once as
they are and must pass. Then each mistake is planted alone, in the package and in every notebook
that teaches the same line, so that no comparison of the two could notice it, and the tests that
could notice it are run up to the first that fails. A mistake counts as caught
only when a test's own assertion fails: an import or a call that breaks proves nothing about it.

The exit status is 0 if every mistake was caught.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

PROJECT = Path(__file__).resolve().parent.parent
COPIED = ("vae_helpers", "tests", "notebooks", "report")
TRAINING_TESTS = ("test_objective", "test_models", "test_training", "test_data")
TESTS = {
    "vae_helpers/adversarial.py": ("test_adversarial",),
    "vae_helpers/evaluation.py": ("test_evaluation",),
    "vae_helpers/sample_quality.py": ("test_sample_quality",),
}
"""The tests of a file; those of training for all others."""
ASSERTIONS = ("assert", "AssertionError", "Failed: DID NOT RAISE")
"""How the message begins when a test has found what it was looking for."""


@dataclass(frozen=True)
class Mistake:
    """One edit: `old` stands exactly once in `file` and becomes `new`."""

    name: str
    file: str
    old: str
    new: str


MISTAKES = (
    Mistake(
        "KL dropped",
        "vae_helpers/training.py",
        "loss = (bce + beta * kl).mean()",
        "loss = bce.mean()",
    ),
    Mistake(
        "KL sign flipped",
        "vae_helpers/training.py",
        "loss = (bce + beta * kl).mean()",
        "loss = (bce - beta * kl).mean()",
    ),
    Mistake(
        "mean instead of sum over pixels",
        "vae_helpers/objective.py",
        'binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)',
        'binary_cross_entropy_with_logits(logits, x, reduction="none").mean(dim=1)',
    ),
    Mistake(
        "missing 1/2 in the KL",
        "vae_helpers/objective.py",
        "0.5 * (mu.square() + logvar.exp() - 1 - logvar)",
        "(mu.square() + logvar.exp() - 1 - logvar)",
    ),
    Mistake(
        "std = exp(logvar)",
        "vae_helpers/models.py",
        "mu + torch.exp(0.5 * logvar) * eps",
        "mu + torch.exp(logvar) * eps",
    ),
    Mistake(
        "no noise in reparameterize",
        "vae_helpers/models.py",
        "return mu + torch.exp(0.5 * logvar) * eps",
        "return mu",
    ),
    Mistake(
        "noise at half scale",
        "vae_helpers/models.py",
        "mu + torch.exp(0.5 * logvar) * eps",
        "mu + 0.5 * torch.exp(0.5 * logvar) * eps",
    ),
    Mistake(
        "evaluation on training images",
        "vae_helpers/training.py",
        "self.model, self.data.test_images,",
        "self.model, self.data.train_images,",
    ),
    Mistake(
        "last batch dropped",
        "vae_helpers/data.py",
        "order.to(images.device).split(batch_size)",
        "order.to(images.device)[: len(images) // batch_size * batch_size].split(batch_size)",
    ),
    Mistake(
        "sigmoid applied twice",
        "vae_helpers/models.py",
        "self.to_logits(self.decoder(z))",
        "torch.sigmoid(self.to_logits(self.decoder(z)))",
    ),
    Mistake(
        "prior left out of the weights",
        "vae_helpers/evaluation.py",
        "return log_p_x + log_p_z - log_q_z",
        "return log_p_x - log_q_z",
    ),
    Mistake(
        "q left out of the weights",
        "vae_helpers/evaluation.py",
        "return log_p_x + log_p_z - log_q_z",
        "return log_p_x + log_p_z",
    ),
    Mistake(
        "sign of the bce in the weights",
        "vae_helpers/evaluation.py",
        "log_p_x = -objective.bce(",
        "log_p_x = objective.bce(",
    ),
    Mistake(
        "variance in place of std in q",
        "vae_helpers/evaluation.py",
        "q = Normal(mu, torch.exp(0.5 * logvar))",
        "q = Normal(mu, torch.exp(logvar))",
    ),
    Mistake(
        "sum of weights, not their mean",
        "vae_helpers/evaluation.py",
        "total - math.log(num_samples)",
        "total",
    ),
    Mistake(
        "ELBO in place of the bound",
        "vae_helpers/evaluation.py",
        "log_w.logsumexp(dim=0))",
        "log_w.mean(dim=0))",
    ),
    Mistake(
        "one noise for all images",
        "vae_helpers/evaluation.py",
        "generator=own.manual_seed(seed))",
        "generator=own.manual_seed(seeds[0]))",
    ),
    Mistake(
        "active units by width",
        "vae_helpers/evaluation.py",
        "(q.mu.var(dim=0) > threshold)",
        "(q.logvar.exp().mean(dim=0) > threshold)",
    ),
    Mistake(
        "widths left out of the moments",
        "vae_helpers/evaluation.py",
        "covariance + torch.diag(q.logvar.exp().mean(dim=0))",
        "covariance",
    ),
    Mistake(
        "distances to oneself counted",
        "vae_helpers/evaluation.py",
        "mean_distance(a, a, n * (n - 1))",
        "mean_distance(a, a, n * n)",
    ),
    Mistake(
        "density not divided by k",
        "vae_helpers/sample_quality.py",
        "(generated_in_real.double().mean() / k).item()",
        "generated_in_real.double().mean().item()",
    ),
    Mistake(
        "a point is its own neighbour",
        "vae_helpers/sample_quality.py",
        "kthvalue(k + 1, dim=1)",
        "kthvalue(k, dim=1)",
    ),
    Mistake(
        "recall with the balls of real",
        "vae_helpers/sample_quality.py",
        "(distance < radius_of_generated)",
        "(distance < radius_of_real[rows, None])",
    ),
    Mistake(
        "reference compared with itself",
        "vae_helpers/sample_quality.py",
        "metric.update(reference, real=True)\n    metric.update(features, real=False)",
        "metric.update(reference, real=True)\n    metric.update(reference, real=False)",
    ),
    Mistake(
        "entropy in bits",
        "vae_helpers/sample_quality.py",
        "torch.special.entr(shares).sum()",
        "torch.special.entr(shares).sum() / 0.6931",
    ),
    Mistake(
        "farthest in place of nearest",
        "vae_helpers/sample_quality.py",
        "torch.cdist(part, references).argmin(dim=1)",
        "torch.cdist(part, references).argmax(dim=1)",
    ),
    Mistake(
        "sets of unequal size compared",
        "vae_helpers/sample_quality.py",
        "if features.shape != reference.shape or features.ndim != 2",
        "if features.ndim != 2",
    ),
    Mistake(
        "labels flipped",
        "vae_helpers/objective.py",
        'F.binary_cross_entropy_with_logits(real, labels, reduction="none") + F.softplus(fake)',
        'F.binary_cross_entropy_with_logits(fake, labels, reduction="none") + F.softplus(real)',
    ),
    Mistake(
        "labels smoothed on both sides",
        "vae_helpers/objective.py",
        'reduction="none") + F.softplus(fake)',
        'reduction="none") + F.softplus(fake) - (1 - real_label) * fake',
    ),
    Mistake(
        "generator's loss upside down",
        "vae_helpers/objective.py",
        "return F.softplus(-fake)",
        "return F.softplus(fake)",
    ),
    Mistake(
        "images through two sigmoids",
        "vae_helpers/models.py",
        "return torch.sigmoid(self.to_logits(self.hidden(z)))",
        "return torch.sigmoid(torch.sigmoid(self.to_logits(self.hidden(z))))",
    ),
    Mistake(
        "sigmoid in the discriminator",
        "vae_helpers/models.py",
        "return logit.squeeze(dim=1)",
        "return torch.sigmoid(logit.squeeze(dim=1))",
    ),
    Mistake(
        "sampling in training mode",
        "vae_helpers/models.py",
        "self.generator.eval()(z.to(weight.device))",
        "self.generator.train()(z.to(weight.device))",
    ),
    Mistake(
        "generated images not detached",
        "vae_helpers/adversarial.py",
        "discriminator(fake.detach())",
        "discriminator(fake)",
    ),
    Mistake(
        "gradients in the discriminator",
        "vae_helpers/adversarial.py",
        "loss.mean().backward(inputs=list(generator.parameters()))",
        "loss.mean().backward()",
    ),
    Mistake(
        "mean of unequal batches",
        "vae_helpers/adversarial.py",
        "sums += torch.stack(step).sum(dim=1)  # sums, not means: the last batch is smaller\n"
        "    return Step(*(sums / len(images)).cpu())",
        "sums += torch.stack(step).mean(dim=1)\n"
        "    return Step(*(sums / -(-len(images) // config.batch_size)).cpu())",
    ),
    Mistake(
        "dropout not seeded",
        "vae_helpers/adversarial.py",
        'torch.manual_seed(generator(seed, "dropout", epoch=epoch).initial_seed())',
        "pass",
    ),
    Mistake(
        "one optimiser forgotten",
        "vae_helpers/adversarial.py",
        'own.load_state_dict(state["optimizers"][name])',
        'own.load_state_dict(state["optimizers"][name]) if name == "generator" else None',
    ),
    Mistake(
        "dropout after training",
        "vae_helpers/adversarial.py",
        "return Fit(state.model.eval(), run.history, run.weights)",
        "return Fit(state.model, run.history, run.weights)",
    ),
)


def copy_project(copy: Path) -> None:
    """The project's files in an empty folder; its data by a link, for the unpacked cache in it."""
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in COPIED:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, copy / name, ignore=ignored)
    shutil.copy(PROJECT / "pyproject.toml", copy)
    (copy / "data").symlink_to(PROJECT / "data", target_is_directory=True)


def plant(mistake: Mistake, copy: Path) -> int:
    """Make the mistake in a copy; return how many notebooks teach the line and now have it too."""
    file = copy / mistake.file
    text = file.read_text()
    if (found := text.count(mistake.old)) != 1:
        sys.exit(
            f"{mistake.name}: expected {mistake.old!r} once in {mistake.file}, found it {found} "
            "times; give the mistake in tests/planted_mistakes.py the line as it is now"
        )
    file.write_text(text.replace(mistake.old, mistake.new))

    # The same tokens, however the notebook breaks the line.
    tokens = re.findall(r"\w+|[^\w\s]", mistake.old)
    pattern = re.compile(r"\s*".join(map(re.escape, tokens)))
    planted = 0
    for path in sorted((copy / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text())
        changed = False
        for cell in notebook["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code" and re.search("^# taught:", source, re.MULTILINE):
                cell["source"] = pattern.sub(lambda _: mistake.new, source)
                changed |= cell["source"] != source
        if changed:
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
            planted += 1
    return planted


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a copy, with the copy's package before the installed one."""
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True
    )


def check_import(copy: Path) -> None:
    """Refuse to go on if the tests of the copy would import another package than its own."""
    done = run(copy, "-c", "import vae_helpers; print(vae_helpers.__file__)")
    imported = Path(done.stdout.strip()).resolve()
    if imported != (copy / "vae_helpers" / "__init__.py").resolve():
        sys.exit(f"expected the copy's vae_helpers to be imported, found {imported}{done.stderr}")


def failures(copy: Path, tests: Iterable[str]) -> tuple[dict[str, str], str]:
    """The tests that fail in a copy, at most one, each with its message; and all of the output."""
    report = copy / "tests.xml"
    files = [f"tests/{name}.py" for name in tests]
    done = run(
        copy, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *files
    )
    if not report.exists():
        sys.exit(
            f"pytest ended with status {done.returncode} and no report, run the command again:\n"
            f"{done.stdout}{done.stderr}"
        )
    failed = {}
    for case in ElementTree.parse(report).iter("testcase"):
        for outcome in (*case.findall("failure"), *case.findall("error")):
            name = f"{case.get('classname', '').removeprefix('tests.')}::{case.get('name')}"
            failed[name] = outcome.get("message", "")
    return failed, done.stdout


def verdict(mistake: Mistake) -> tuple[bool, str]:
    """Plant one mistake in a fresh copy; whether it is caught, and the line that says by what."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        copy_project(copy)
        notebooks = plant(mistake, copy)
        failed, _ = failures(copy, TESTS.get(mistake.file, TRAINING_TESTS))
    caught = [name for name, says in failed.items() if says.startswith(ASSERTIONS)]
    if caught:
        outcome = f"caught by {caught[0]}"
    elif failed:
        outcome = f"NOT CAUGHT: broke {', '.join(failed)} without a failing assertion"
    else:
        outcome = "NOT CAUGHT"
    where = f"planted in {notebooks} notebook{'' if notebooks == 1 else 's'} as well"
    return bool(caught), f"{mistake.name:<32} {outcome}  ({where})"


def main() -> int:
    """The command line."""
    names = [mistake.name for mistake in MISTAKES]
    parser = argparse.ArgumentParser(description="Plant mistakes and see which test catches them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a mistake's name; all if none")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(names))
        return 0
    if unknown := [name for name in arguments.names if name not in names]:
        parser.error(f"expected one of {', '.join(names)}; got {', '.join(unknown)}")

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        copy_project(Path(folder))
        check_import(Path(folder))
        failed, output = failures(Path(folder), itertools.chain(TRAINING_TESTS, *TESTS.values()))
    if failed:
        sys.exit(f"the tests fail before anything is planted: {', '.join(failed)}\n{output}")
    print(f"{'nothing planted':<32} {output.strip().splitlines()[-1]}", flush=True)

    chosen = [mistake for mistake in MISTAKES if mistake.name in (arguments.names or names)]
    missed = 0
    for mistake in chosen:
        caught, line = verdict(mistake)
        missed += not caught
        print(line, flush=True)
    seconds = time.perf_counter() - began
    print(f"{len(chosen) - missed} of {len(chosen)} mistakes caught in {seconds:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
