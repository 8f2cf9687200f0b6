"""The runner: what is refused, before anything runs, and what a failing notebook leaves behind."""

import functools
import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from toy_digits import few_digits

from vae_helpers import PROJECT, __main__
from vae_helpers.course import execution, notebooks
from vae_helpers.store import machine, runs


def notebook_of(*sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A course of one notebook that fails when `epochs` is 3."""
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "build")
    monkeypatch.setattr(execution, "PUBLISHED", tmp_path / "report")
    monkeypatch.setattr(execution, "REFERENCES", tmp_path / "smoke")
    toy = notebook_of(
        "epochs: int = 2  # passes", "print(epochs * 10)\nassert epochs != 3, 'three'"
    )
    nbformat.write(toy, tmp_path / "01_toy.ipynb")
    return tmp_path


def command(*arguments, folder=PROJECT):
    return subprocess.run(
        [sys.executable, "-m", "vae_helpers", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "epoch", "5"], "no parameter 'epoch'; did you mean 'epochs'?"),
        (["-p", "epochs", "five"], "epochs: expected a whole number, got 'five'"),
        (["-p", "epochs", "0"], "expected 1 to 10000, got 0; the nearest valid value is 1"),
        (["-p", "epochs", "2.5"], "epochs: expected a whole number, got '2.5'"),
        (["-p", "beta", "nan"], "beta: expected 0 to 1000000, got nan"),
        (["-p", "device", "gpu"], "device: expected one of auto, cpu, cuda, got 'gpu'"),
        (["-p", "device", "cuda"], "device: expected a GPU for 'cuda', but torch finds none"),
        (["04_trainign"], "unknown notebook '04_trainign'; did you mean '05_training'?"),
        (["01", "-p", "beta", "1"], "01_data: no parameter 'beta'"),
    ],
)
def test_a_mistake_on_the_command_line_is_refused_with_the_nearest_valid(arguments, message):
    done = command("run", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("refused, nothing was run: ")
    assert message in done.stderr
    assert done.stdout == ""


def test_a_study_that_wants_a_gpu_where_there_is_none_is_refused_too():
    done = command("study", "05", "-g", "seed", "1", "-p", "device", "cuda", "--profile", "smoke")
    assert (done.returncode, done.stdout) == (2, "")
    assert "refused, nothing was run: device: expected a GPU" in done.stderr


@pytest.mark.parametrize("words", [["run"], ["refresh"], ["studies"], ["classifier"], ["bench"]])
def test_a_package_that_was_installed_without_the_course_says_what_is_missing(tmp_path, words):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "vae_helpers", tmp_path / "vae_helpers", ignore=ignored)
    done = command(*words, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"expected the notebooks of the course in {tmp_path / 'notebooks'}, found" in done.stderr
    assert "`pip install -e .`" in done.stderr


BENCH = {"rounds": 5, "threads": [], "compiled": False, "write": False}


@pytest.mark.parametrize(
    ("words", "called"),
    [
        (["bench", "--rounds", "2"], ("speed", {**BENCH, "rounds": 2})),
        (
            ["bench", "--threads", "1", "2", "--write"],
            ("speed", {**BENCH, "threads": [1, 2], "write": True}),
        ),
        (["bench", "--compiled"], ("speed", {**BENCH, "compiled": True})),
        (["bench", "scaling", "--write"], ("scaling", {"repeats": 3, "write": True})),
        (["bench", "--write", "scaling"], ("scaling", {"repeats": 3, "write": True})),
        (["bench", "thread-effects", "--epochs", "1"], ("effects", {"epochs": 1, "write": False})),
        (["recheck", "beta", "--cells", "2"], ("recheck", {"cells": 2, "workers": 2})),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else "",
)
def test_the_command_line_passes_on_what_it_was_given(monkeypatch, words, called):
    from vae_helpers.benchmarks import scaling, speed, thread_effects
    from vae_helpers.studies import recheck

    calls = []
    for module, function, name in (
        (speed, "report", "speed"),
        (scaling, "report", "scaling"),
        (thread_effects, "report", "effects"),
        (recheck, "recheck", "recheck"),
    ):

        def note(*_, name=name, **given):
            calls.append((name, given))
            return 0

        monkeypatch.setattr(module, function, note)
    assert __main__.main(words) == 0
    assert calls == [called]


def test_the_picture_of_another_beta_leaves_the_first_one_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebooks, "BUILD", tmp_path)
    monkeypatch.setattr(__main__, "_mnist", few_digits)
    monkeypatch.setattr(runs, "fit", functools.partial(runs.fit, run_dir=tmp_path / "runs"))
    assert __main__.main(["digits", "--epochs", "1"]) == 0
    first = (tmp_path / "digits.png").read_bytes()
    assert __main__.main(["digits", "--epochs", "1", "--beta", "0"]) == 0
    assert capsys.readouterr().out.endswith("noise after 1 epoch, beta 0\n")
    assert (tmp_path / "digits.png").read_bytes() == first
    assert (tmp_path / "digits_beta_0.png").read_bytes() != first


@pytest.mark.parametrize(
    "words", [["bench", "--rounds", "0"], ["bench", "scaling", "--repeats", "x"]]
)
def test_a_benchmark_of_no_rounds_is_refused(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        __main__.main(words)
    assert words[-2] in capsys.readouterr().err


def test_a_refusal_does_not_wait_for_torch():
    code = (
        "import sys; from vae_helpers.__main__ import main; "
        "main(['run', '-p', 'epoch', '5']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode == 0


def test_a_notebook_is_found_by_the_beginning_of_its_name_and_by_its_path():
    by_number, by_path = execution.plan(["05"]), execution.plan(["notebooks/05_training.ipynb"])
    assert by_number == by_path
    assert by_number[0].notebook == "05_training"


def test_without_parameters_all_notebooks_run_in_the_full_profile_in_order():
    executions = execution.plan()
    assert [it.notebook for it in executions] == notebooks.names()
    assert {it.profile for it in executions} == {"full"}
    assert all(not it.overrides for it in executions)


def test_parameters_come_in_their_own_types_and_change_the_folder():
    (planned,) = execution.plan(["05"], {"epochs": "5", "beta": "4"})
    assert planned.overrides == {"epochs": 5, "beta": 4.0}
    assert isinstance(planned.overrides["beta"], float)
    assert planned.profile not in ("full", "smoke")


def test_a_notebook_gets_only_the_parameters_that_it_has():
    executions = {it.notebook: it for it in execution.plan([], {"compare_epochs": "2"})}
    assert executions["05_training"].overrides == {"compare_epochs": 2}
    assert executions["01_data"].overrides == {}
    assert executions["01_data"].profile == "full"


def test_a_notebook_runs_with_the_values_given_and_keeps_its_source(toy):
    before = (toy / "01_toy.ipynb").read_bytes()
    (planned,) = execution.plan([], {"epochs": "4"})
    execution.run([planned])
    executed = nbformat.read(planned.output, as_version=4)
    assert executed.cells[-1].outputs[0].text == "40\n"
    assert (toy / "01_toy.ipynb").read_bytes() == before


def test_a_failing_notebook_stops_the_run_and_is_kept_with_the_error_in_it(toy, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 1)
    nbformat.write(notebook_of("epochs: int = 2  # passes"), toy / "02_never.ipynb")
    executions = execution.plan([], {"epochs": "3"})
    with pytest.raises(execution.NotebookFailedError, match=r"01_toy: cell 3 failed.*three"):
        execution.run(executions)
    kept = nbformat.read(executions[0].output, as_version=4)
    outputs = [output for cell in kept.cells for output in cell.get("outputs", [])]
    assert "error" in {output.output_type for output in outputs}
    assert not executions[1].output.exists()


def test_a_kernel_that_dies_is_a_failed_notebook(toy):
    nbformat.write(
        notebook_of("epochs: int = 2  # passes", "import os\nos._exit(3)"), toy / "01_toy.ipynb"
    )
    with pytest.raises(execution.NotebookFailedError, match="01_toy: its kernel died"):
        execution.run(execution.plan())


WRITES_RESULTS = """import json, pathlib
folder = pathlib.Path({build!r}) / ("smoke" if epochs == {smoke} else "full") / "results"
folder.mkdir(parents=True, exist_ok=True)
made = {{"figures": {{}}, "weights": {{"w": {{"file": "01_toy_w.bin"}}}}, "epochs": epochs}}
_ = (folder / "01_toy.json").write_text(json.dumps(made))
(folder.parent / "weights").mkdir(exist_ok=True)
_ = (folder.parent / "weights" / "01_toy_w.bin").write_text("new")
print(f"{{epochs}} epochs", flush=True)"""


@pytest.fixture
def toy_with_results(toy):
    """The toy, grown up: it has results, words, and defaults that are not the smoke profile's."""
    source = WRITES_RESULTS.format(build=str(toy / "build"), smoke=notebooks.SMOKE["epochs"])
    notebook = notebook_of("epochs: int = 5  # passes", source)
    notebook.cells.append(nbformat.v4.new_markdown_cell("What was seen."))
    nbformat.write(notebook, toy / "01_toy.ipynb")
    return toy


def test_a_refresh_replaces_results_figures_and_references_and_leaves_the_studies(toy_with_results):
    published, references = toy_with_results / "report", toy_with_results / "smoke"
    for path in (
        published / "results" / "00_gone.json",
        published / "figures" / "00_gone.png",
        published / "weights" / "00_gone.bin",
        published / "results" / "studies" / "beta.csv",
        references / "00_gone.ipynb",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old", encoding="utf-8")
    execution.refresh()
    files = {str(path.relative_to(published)) for path in published.rglob("*") if path.is_file()}
    assert files == {"results/01_toy.json", "results/studies/beta.csv", "weights/01_toy_w.bin"}
    assert json.loads((published / "results" / "01_toy.json").read_bytes())["epochs"] == 5
    assert [path.name for path in references.iterdir()] == ["01_toy.ipynb"]
    notebook = nbformat.read(toy_with_results / "01_toy.ipynb", as_version=4)
    assert [cell.cell_type for cell in notebook.cells] == ["code", "code", "markdown"]
    assert notebook.cells[1].outputs[0].text == "5 epochs\n"
    kept = nbformat.read(references / "01_toy.ipynb", as_version=4)
    assert [cell.cell_type for cell in kept.cells] == ["code", "code", "code"]
    assert kept.cells[1].id == "injected-parameters"
    assert [cell.execution_count for cell in kept.cells] == [1, 2, 3]
    assert kept.cells[2].outputs[0].text == "2 epochs\n"


def test_a_refresh_of_the_smoke_references_leaves_the_rest(toy_with_results):
    before = (toy_with_results / "01_toy.ipynb").read_bytes()
    execution.refresh(["smoke"])
    assert (toy_with_results / "01_toy.ipynb").read_bytes() == before
    assert not (toy_with_results / "report").exists()
    assert (toy_with_results / "smoke" / "01_toy.ipynb").is_file()


def test_a_refresh_replaces_nothing_when_one_notebook_fails(toy_with_results):
    nbformat.write(notebook_of("epochs: int = 5", "1 / 0"), toy_with_results / "02_toy.ipynb")
    before = (toy_with_results / "01_toy.ipynb").read_bytes()
    with pytest.raises(execution.NotebookFailedError, match="02_toy"):
        execution.refresh()
    assert (toy_with_results / "01_toy.ipynb").read_bytes() == before
    assert not (toy_with_results / "report").exists()
    assert not (toy_with_results / "smoke").exists()


def test_a_reference_keeps_what_is_compared_and_drops_pictures_and_words():
    notebook = notebook_of("epochs: int = 2", "show()")
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("# Words"))
    cell = notebook.cells[2]
    cell.outputs = [
        nbformat.v4.new_output(
            "display_data",
            data={"image/png": "x", "text/plain": "<dots>"},
            metadata={"image/png": {"alt": "three dots"}},
        )
    ]
    kept = execution.reference(notebook)
    assert [cell.cell_type for cell in kept.cells] == ["code", "code"]
    assert kept.cells[1].outputs[0].data == {"text/plain": "<dots>"}
    assert kept.cells[1].outputs[0].metadata == {}
    assert kept.cells[1].metadata == {}


def test_metadata_that_an_execution_leaves_is_taken_out_and_alt_texts_put_in():
    notebook = notebook_of("epochs: int = 2", "show()")
    notebook.metadata["papermill"] = {"duration": 1.5}
    cell = notebook.cells[1]
    cell.metadata["execution"] = {"iopub.execute_input": "2026-01-01"}
    picture = nbformat.v4.new_output(
        "display_data", data={"image/png": "x"}, metadata={"image/png": {"alt": "three dots"}}
    )
    cell.outputs = [picture]
    cleaned = execution.clean_metadata(notebook)
    assert set(cleaned.metadata) == {"kernelspec", "language_info"}
    assert cleaned.cells[0].metadata == {"tags": ["parameters"]}
    assert cleaned.cells[1].metadata == {"mystnb": {"image": {"alt": "three dots"}}}


MISSES = """import json, pathlib
folder = pathlib.Path({folder!r}) / "full" / "results"
folder.mkdir(parents=True, exist_ok=True)
entry = {{"kind": "tolerance", "value": 103.25}}
missed = {{**entry, "missed": True}}
values = {{"loss": missed, "kl": {{**missed, "value": None}}, "bce": entry}}
_ = (folder / "01_toy.json").write_text(json.dumps({{"values": values}}))"""


def test_missed_tolerances_fail_a_run_after_the_notebook_has_come_to_its_end(toy):
    sources = (MISSES.format(folder=str(toy / "build")), "print('the end')")
    nbformat.write(notebook_of("epochs: int = 2  # passes", *sources), toy / "01_toy.ipynb")
    (planned,) = execution.plan()
    with pytest.raises(execution.NotebookFailedError) as failure:
        execution.run([planned])
    assert "01_toy: 2 of its numbers" in str(failure.value)
    assert "loss (103.25), kl (no number)" in str(failure.value)
    assert "bce" not in str(failure.value)
    executed = nbformat.read(planned.output, as_version=4)
    assert executed.cells[-1].outputs[0].text == "the end\n"


def test_a_refresh_publishes_nothing_that_missed_a_tolerance(toy):
    sources = (MISSES.format(folder=str(toy / "build")),)
    nbformat.write(notebook_of("epochs: int = 5  # passes", *sources), toy / "01_toy.ipynb")
    before = (toy / "01_toy.ipynb").read_bytes()
    with pytest.raises(execution.NotebookFailedError, match="missed their tolerances"):
        execution.refresh(["full"])
    assert (toy / "01_toy.ipynb").read_bytes() == before
    assert not (toy / "report").exists()


def test_a_kernel_that_dies_before_it_answers_is_a_failed_notebook_too(toy, monkeypatch):
    import papermill

    def dies(*arguments, **options):
        raise RuntimeError("Kernel died before replying to kernel_info")  # jupyter_client's words

    monkeypatch.setattr(papermill, "execute_notebook", dies)
    with pytest.raises(execution.NotebookFailedError, match="01_toy: its kernel died"):
        execution.run(execution.plan())


def test_a_kernel_that_is_kept_from_answering_is_a_failed_notebook_and_not_a_traceback(
    toy, monkeypatch
):
    import papermill
    from nbclient.exceptions import CellTimeoutError

    def starved(*arguments, **options):
        assert options["iopub_timeout"] >= 60  # papermill's own 4 s are over soon under load
        raise CellTimeoutError("Timeout waiting for IOPub output")

    monkeypatch.setattr(papermill, "execute_notebook", starved)
    with pytest.raises(
        execution.NotebookFailedError, match=r"01_toy: .*too much to do, run it again"
    ):
        execution.run(execution.plan())
