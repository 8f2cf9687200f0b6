"""Make the transcripts of report/book/template.md: what the commands print in the example course.

    python tests/transcript.py

The commands run in a copy of tests/template/coin. tests/template/session.txt gets what they print
there, and changed.txt what `verify.py` says after a mistake in the notebook's code. Durations are
masked; the page shows these files as they are, and tests/test_template.py repeats them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from vae_helpers import PROJECT
from vae_helpers.store.files import write_whole

TEMPLATE = PROJECT / "tests" / "template"
NOTEBOOK = Path("notebooks", "01_coin.ipynb")
VERIFY = "python $VAE/tests/verify.py"
REPORT = "python $VAE/report/build.py --results report --output build/report.pdf"
COMMANDS = (
    "python -m vae_helpers run",
    "python -m vae_helpers run -p tosses 100 -p heads 0.7",
    "python -m vae_helpers run -p toses 100",
    "python -m vae_helpers run -p heads 1.5",
    VERIFY,
    "python -m vae_helpers study 01 -g seed 1 2 3",
    "python -m vae_helpers where 0.602",
    "python -m vae_helpers why 01_coin.share",
    "python -m vae_helpers why studies/more_tosses.share",
    "python -m vae_helpers refresh",
    REPORT,
    "python -m vae_helpers tolerances 01 --seeds 1 2 3 4 5",
)
MISTAKE = (".random(tosses) < heads", ".random() < np.full(tosses, heads)")
"""In the notebook's code: one toss that is counted again and again."""
MASKS = {
    r"\x1b\[[\d;]*m": "",  # colours
    r"\bin \d+(\.\d+)? ?s\b": "in ... s",
    r"\babout \d+:\d\d left": "about ... left",
}
KEPT = ("HOME", "LD_LIBRARY_PATH", "PATH", "TMPDIR")
"""What the commands see of the environment: CI, for one, makes pytest print longer summaries."""


def copy(folder: Path) -> Path:
    """The example course in a new folder, without what executions made."""
    ignored = shutil.ignore_patterns("build", ".ipynb_checkpoints")
    return shutil.copytree(TEMPLATE / "coin", folder, ignore=ignored)


def printed(command: str, course: Path) -> str:
    """A command and what it prints in a course, on one core so that lines come in order."""
    words = shlex.split(command.replace("$VAE", str(PROJECT)))
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=course,
        env={
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            "PYTHONPATH": str(PROJECT),
            "COLUMNS": "80",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    )
    text = done.stdout.replace(f"{course}/", "").replace(f"{PROJECT}/", "$VAE/")
    for pattern, mask in MASKS.items():
        text = re.sub(pattern, mask, text)
    return f"$ {command}\n{text}"


def session(course: Path) -> str:
    """What all commands print, one after the other."""
    return "\n".join(printed(command, course) for command in COMMANDS)


def changed(course: Path) -> str:
    """What `verify.py` prints when the code of the notebook has a mistake."""
    path, (right, wrong) = course / NOTEBOOK, MISTAKE
    source = path.read_text(encoding="utf-8")
    if source.count(right) != 1:
        raise ValueError(f"{path}: expected {right!r} once; bring MISTAKE up to date")
    path.write_text(source.replace(right, wrong), encoding="utf-8")
    return printed(VERIFY, course)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, transcript in (("session", session), ("changed", changed)):
            text = transcript(copy(Path(folder).resolve() / name))
            write_whole(TEMPLATE / f"{name}.txt", text)
            print(f"wrote tests/template/{name}.txt")


if __name__ == "__main__":
    main()
