"""The runner: what is refused, before anything runs, and what a failing notebook leaves behind."""

import json
import subprocess
import sys

import nbformat
import pytest

from vae_helpers import claims, course


def notebook_of(*sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A course of one notebook that fails when `epochs` is 3."""
    for module in (claims, course):
        monkeypatch.setattr(module, "NOTEBOOKS", tmp_path)
        monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    monkeypatch.setattr(course, "PUBLISHED", tmp_path / "report")
    monkeypatch.setattr(course, "REFERENCES", tmp_path / "smoke")
    toy = notebook_of(
        "epochs: int = 2  # passes", "print(epochs * 10)\nassert epochs != 3, 'three'"
    )
    nbformat.write(toy, tmp_path / "01_toy.ipynb")
    return tmp_path


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "vae_helpers", *arguments],
        capture_output=True,
        text=True,
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
        (["04_trainign"], "unknown notebook '04_trainign'; did you mean '04_training'?"),
        (["01", "-p", "beta", "1"], "01_data: no parameter 'beta'"),
    ],
)
def test_a_mistake_on_the_command_line_is_refused_with_the_nearest_valid(arguments, message):
    done = command("run", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("refused, nothing was run: ")
    assert message in done.stderr
    assert done.stdout == ""


def test_a_refusal_does_not_wait_for_torch():
    code = (
        "import sys; from vae_helpers.__main__ import main; "
        "main(['run', '-p', 'epoch', '5']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode == 0


def test_a_notebook_is_found_by_the_beginning_of_its_name_and_by_its_path():
    by_number, by_path = course.plan(["04"]), course.plan(["notebooks/04_training.ipynb"])
    assert by_number == by_path
    assert by_number[0].notebook == "04_training"


def test_without_parameters_all_notebooks_run_in_the_full_profile_in_order():
    executions = course.plan()
    assert [execution.notebook for execution in executions] == course.names()
    assert {execution.profile for execution in executions} == {"full"}
    assert all(not execution.overrides for execution in executions)


def test_parameters_come_in_their_own_types_and_change_the_folder():
    (execution,) = course.plan(["04"], {"epochs": "5", "beta": "4"})
    assert execution.overrides == {"epochs": 5, "beta": 4.0}
    assert isinstance(execution.overrides["beta"], float)
    assert execution.profile not in ("full", "smoke")


def test_a_notebook_gets_only_the_parameters_that_it_has():
    executions = {it.notebook: it for it in course.plan([], {"compare_epochs": "2"})}
    assert executions["04_training"].overrides == {"compare_epochs": 2}
    assert executions["01_data"].overrides == {}
    assert executions["01_data"].profile == "full"


def test_a_notebook_runs_with_the_values_given_and_keeps_its_source(toy):
    before = (toy / "01_toy.ipynb").read_bytes()
    (execution,) = course.plan([], {"epochs": "4"})
    course.run([execution])
    executed = nbformat.read(execution.output, as_version=4)
    assert executed.cells[-1].outputs[0].text == "40\n"
    assert (toy / "01_toy.ipynb").read_bytes() == before


def test_a_failing_notebook_stops_the_run_and_is_kept_with_the_error_in_it(toy):
    nbformat.write(notebook_of("epochs: int = 2  # passes"), toy / "02_never.ipynb")
    executions = course.plan([], {"epochs": "3"})
    with pytest.raises(course.NotebookFailedError, match=r"01_toy: cell 3 failed.*three"):
        course.run(executions)
    kept = nbformat.read(executions[0].output, as_version=4)
    outputs = [output for cell in kept.cells for output in cell.get("outputs", [])]
    assert "error" in {output.output_type for output in outputs}
    assert not executions[1].output.exists()


def test_a_kernel_that_dies_is_a_failed_notebook(toy):
    nbformat.write(
        notebook_of("epochs: int = 2  # passes", "import os\nos._exit(3)"), toy / "01_toy.ipynb"
    )
    with pytest.raises(course.NotebookFailedError, match="01_toy: its kernel died"):
        course.run(course.plan())


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
    source = WRITES_RESULTS.format(build=str(toy / "build"), smoke=claims.SMOKE["epochs"])
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
        path.write_text("old")
    course.refresh()
    files = {str(path.relative_to(published)) for path in published.rglob("*") if path.is_file()}
    assert files == {"results/01_toy.json", "results/studies/beta.csv", "weights/01_toy_w.bin"}
    assert json.loads((published / "results" / "01_toy.json").read_text())["epochs"] == 5
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
    course.refresh(["smoke"])
    assert (toy_with_results / "01_toy.ipynb").read_bytes() == before
    assert not (toy_with_results / "report").exists()
    assert (toy_with_results / "smoke" / "01_toy.ipynb").is_file()


def test_a_refresh_replaces_nothing_when_one_notebook_fails(toy_with_results):
    nbformat.write(notebook_of("epochs: int = 5", "1 / 0"), toy_with_results / "02_toy.ipynb")
    before = (toy_with_results / "01_toy.ipynb").read_bytes()
    with pytest.raises(course.NotebookFailedError, match="02_toy"):
        course.refresh()
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
    kept = course.reference(notebook)
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
    cleaned = course.clean_metadata(notebook)
    assert set(cleaned.metadata) == {"kernelspec", "language_info"}
    assert cleaned.cells[0].metadata == {"tags": ["parameters"]}
    assert cleaned.cells[1].metadata == {"mystnb": {"image": {"alt": "three dots"}}}


def test_bands_are_measured_over_seeds_and_thread_counts(toy, monkeypatch):
    written = {}
    monkeypatch.setattr(course.bands, "write", lambda found, profile: written.update(found) or [])
    nbformat.write(notebook_of("seed: int = 0  # of all draws"), toy / "01_toy.ipynb")

    def run(executions, threads):
        for execution in executions:
            execution.results.parent.mkdir(parents=True, exist_ok=True)
            value = execution.overrides["seed"] + threads / 10
            content = {"values": {"a": {"kind": "banded", "value": value}, "b": {"kind": "exact"}}}
            execution.results.write_text(json.dumps(content))

    monkeypatch.setattr(course, "run", run)
    course.measure_bands([], profile="full", seeds=[1, 2, 3, 4, 5], threads=[1, 2])
    assert written == {
        "01_toy": {"a": {1: [1.1, 2.1, 3.1, 4.1, 5.1], 2: [1.2, 2.2, 3.2, 4.2, 5.2]}}
    }


def test_a_kernel_that_is_kept_from_answering_is_a_failed_notebook_and_not_a_traceback(
    toy, monkeypatch
):
    import papermill
    from nbclient.exceptions import CellTimeoutError

    def starved(*arguments, **options):
        assert options["iopub_timeout"] >= 60  # papermill's own 4 s are over soon under load
        raise CellTimeoutError("Timeout waiting for IOPub output")

    monkeypatch.setattr(papermill, "execute_notebook", starved)
    with pytest.raises(course.NotebookFailedError, match=r"01_toy: .*too much to do, run it again"):
        course.run(course.plan())
