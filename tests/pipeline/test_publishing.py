"""Executed notebooks as readers get them: outputs under today's prose and code, nothing about the machine."""
from pathlib import Path

import nbformat
import pytest

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.pipeline.notebook import read
from lib.pipeline.publishing import INJECTED, publish_notebook

Cell = nbformat.NotebookNode
VALUES = "tier = 't'"


def code(source: str, count: int | None = None, *tags: str) -> Cell:
    """A code cell; with a count it was executed and printed it."""
    outputs = [nbformat.v4.new_output("stream", text=f"output {count}")] if count else []
    return nbformat.v4.new_code_cell(source, execution_count=count, outputs=outputs,
                                     metadata={"tags": list(tags)} if tags else {})


def prose(source: str) -> Cell:
    return nbformat.v4.new_markdown_cell(source)


def write(path: Path, *cells: Cell) -> Path:
    made = nbformat.v4.new_notebook(cells=list(cells), metadata={"language_info": {"name": "python"}})
    nbformat.write(made, path)
    return path


def published(folder: Path, ran: list[Cell], today: list[Cell],
              unchanged: tuple[int, ...] = ()) -> list[Cell]:
    done, source = write(folder / "done.ipynb", *ran), write(folder / "tiny.ipynb", *today)
    publish_notebook(done, source, folder / "out" / "tiny.ipynb", unchanged)
    found = read(folder / "out" / "tiny.ipynb")
    nbformat.validate(found)
    return found.cells


RAN = [prose("old words"), code("value = 1", 1, "parameters"), code(VALUES, 2, INJECTED), code("f(value)", 3),
       prose("gone")]


def test_a_published_notebook_says_nothing_about_the_machine(tmp_path: Path) -> None:
    ran = nbformat.v4.new_notebook(metadata={"papermill": {"input_path": f"{ROOT}/x.ipynb"},
                                             "language_info": {"name": "python"}})
    ran.cells = [nbformat.v4.new_code_cell("1", execution_count=1)]
    ran.cells[0].metadata = nbformat.from_dict({"papermill": {"duration": 1}, "execution": {"busy": "now"}})
    ran.cells[0].outputs = [nbformat.v4.new_output("stream", name="stderr", text="a warning"),
                            nbformat.v4.new_output("stream", name="stdout",
                                                   text=f"{ROOT}/lib/x.py and {ROOT}/data"),
                            nbformat.v4.new_output("execute_result", {"text/plain": "1"}, execution_count=1)]
    nbformat.write(ran, tmp_path / "done.ipynb")
    source = write(tmp_path / "tiny.ipynb", prose("text"), code("1", None, "kept"))
    publish_notebook(tmp_path / "done.ipynb", source, tmp_path / "out" / "tiny.ipynb")
    found = read(tmp_path / "out" / "tiny.ipynb")
    nbformat.validate(found)
    assert found.metadata == {"language_info": {"name": "python"}}
    assert [cell.metadata for cell in found.cells] == [{}, {"tags": ["kept"]}]
    shown = [output.get("text", output.get("data")) for output in found.cells[1].outputs]
    assert shown == ["lib/x.py and data", {"text/plain": "1"}] and found.cells[1].execution_count == 1


def test_outputs_are_laid_under_the_words_of_today(tmp_path: Path) -> None:
    """Prose changed, added and removed; a comment in a cell; an empty cell, which is never executed."""
    today = [code("value = 1   # the first", None, "parameters"), prose("new words"),
             code("# a comment\nf(value)"), code(" \n"), prose("end")]
    found = published(tmp_path, RAN, today)
    assert [cell.source for cell in found] == ["value = 1   # the first", VALUES, "new words",
                                               "# a comment\nf(value)", " \n", "end"]
    assert [cell.get("execution_count") for cell in found] == [1, 2, None, 3, None, None]
    assert [cell.outputs[0].text for cell in found if cell.get("outputs")] == ["output 1", "output 2",
                                                                               "output 3"]
    assert found[1].metadata == {"tags": [INJECTED]}


def test_a_cell_of_values_without_parameters_stands_first(tmp_path: Path) -> None:
    found = published(tmp_path, [code(VALUES, 1, INJECTED), code("f()", 2)], [prose("words"), code("f()")])
    assert [cell.source for cell in found] == [VALUES, "words", "f()"]


def test_what_is_published_is_the_same_every_time(tmp_path: Path) -> None:
    """Names of cells are not drawn anew."""
    today = [code("value = 1", None, "parameters"), code("f(value)")]
    published(tmp_path, RAN, today)
    before = (tmp_path / "out" / "tiny.ipynb").read_bytes()
    published(tmp_path, RAN, [*today])
    assert (tmp_path / "out" / "tiny.ipynb").read_bytes() == before


@pytest.mark.parametrize("sources, number", [
    (["value = 2", "f(value)"], 1), (["value = 1", "g(value)"], 2), (["value = 1"], 2),
    (["value = 1", "f(value)", "more"], 3),
    (["f(value)", "value = 1"], 1), (["value = 1", "f(value);"], 2), (["value = 1", "%time f(value)"], 2),
    ([], 1)])
def test_outputs_of_other_code_are_refused(tmp_path: Path, sources: list[str], number: int) -> None:
    tags = {True: ["parameters"], False: []}
    today = [code(source, None, *tags[source.startswith("value")]) for source in sources]
    with pytest.raises(Problem) as caught:
        published(tmp_path, RAN, today)
    said = str(caught.value)
    assert said.startswith(f"tiny.ipynb: code cell {number} is not the one that was executed")
    assert "\n" not in said and not (tmp_path / "out").exists()


def test_a_cell_that_is_known_to_run_the_same_code_is_published(tmp_path: Path) -> None:
    """It imports from another place: the tree is another, the digest is not. Other cells are compared."""
    today = [code("value = 1", None, "parameters"), code("from lib.new import f\nf(value)")]
    assert published(tmp_path, RAN, today, (2,))[-1].outputs[0].text == "output 3"
    with pytest.raises(Problem, match="code cell 2 is not"):
        published(tmp_path, RAN, today, (1,))
    with pytest.raises(Problem, match="code cell 2 is not"):
        published(tmp_path, RAN, today[:1], (1, 2))


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    done = write(tmp_path / "done.ipynb", *RAN)
    with pytest.raises(Problem, match="tiny.ipynb: there is no such notebook"):
        publish_notebook(done, tmp_path / "tiny.ipynb", tmp_path / "out.ipynb")
