"""Notebooks as stages: stripped for comparison, executed in a fresh kernel, published only as a whole."""
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from killed import part_of_a_killed_run
from small_project import until

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.pipeline import notebook as stage
from lib.pipeline.notebook import check_complete, check_parameters, read, run_notebook, strip
from lib.report.record import OUTPUT

SETTINGS = 'tier = "none"\nvalue = 1\nflag = True\nnothing = 0'
SAVE = f"""
import json, os
from pathlib import Path
out = Path(os.environ["{OUTPUT}"])
(out / "metrics").mkdir()
given = {{"tier": tier, "value": value, "flag": flag, "nothing": nothing}}
(out / "metrics" / "tiny.json").write_text(json.dumps(given))
(out / "figures" / "tiny").mkdir(parents=True)
(out / "figures" / "tiny" / "new.png").write_text("new")
"""


def tiny(path: Path, *cells: str, parameters: str = SETTINGS) -> Path:
    """A notebook of code cells; the first holds its parameters."""
    kernel = {"name": "python3", "display_name": "x", "language": "python"}
    made = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    made.cells = [nbformat.v4.new_code_cell(source) for source in (parameters, *cells)]
    made.cells[0].metadata["tags"] = ["parameters"]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def published(tmp_path: Path) -> dict[str, bytes]:
    """What an earlier run has left in reports/ and build/."""
    for name in ("reports/t/metrics/tiny.json", "reports/t/figures/tiny/old.png",
                 "reports/t/figures/other/kept.png", "build/t/notebooks/tiny.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"old {name}")
    return files(tmp_path)


def run(folder: Path, source: Path, **parameters: Any) -> None:
    run_notebook(source, "t", {"tier": "t", **parameters}, folder / "reports", folder / "build")


def test_a_good_notebook_is_published(tmp_path: Path, published: dict[str, bytes],
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "default::ImportWarning")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.delenv(OUTPUT, raising=False)
    left = part_of_a_killed_run(tmp_path / "build" / "t-tiny")
    left.mkdir()
    (left / "half").write_text("half")
    check = ("import lib.base.paths, sys\nfrom pathlib import Path\n"
             "assert Path.cwd() == lib.base.paths.ROOT and value == 5")
    source = tiny(tmp_path / "source" / "tiny.ipynb", check, "# nothing to do", SAVE)
    run(tmp_path, source, value=5, flag=False, nothing=None)

    now = files(tmp_path)
    given = {"tier": "t", "value": 5, "flag": False, "nothing": None}
    assert json.loads(now["reports/t/metrics/tiny.json"]) == given
    assert set(now) - {"source/tiny.ipynb"} == {   # the old figure is gone
        "reports/t/metrics/tiny.json", "reports/t/figures/tiny/new.png",
        "reports/t/figures/other/kept.png", "build/t/notebooks/tiny.ipynb"}
    executed = read(tmp_path / "build" / "t" / "notebooks" / "tiny.ipynb")
    assert [c.execution_count for c in executed.cells] == [1, 2, 3, 4, 5]   # with the injected parameters
    assert os.environ["PYTHONWARNINGS"] == "default::ImportWarning"
    assert not {"PYTHONPATH", OUTPUT} & set(os.environ)


@pytest.mark.parametrize("cell, words, timeout", [
    ("raise ValueError('the sky\\nfell')", ["ValueError", "the sky fell", "nothing is published"], 60),
    ("import os\nos.kill(os.getpid(), 9)", ["nothing is published"], 60),
    ("import time\ntime.sleep(60)", ["nothing is published"], 1),
], ids=["raises", "kills itself", "takes too long"])
def test_a_failing_notebook_publishes_nothing(
        tmp_path: Path, published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch,
        cell: str, words: list[str], timeout: int) -> None:
    monkeypatch.setattr(stage, "TIMEOUT", timeout)
    monkeypatch.setenv(OUTPUT, "as before")
    source = tiny(tmp_path / "source" / "tiny.ipynb", SAVE, cell, "after = 1")
    with pytest.raises(Problem) as caught:
        run(tmp_path, source)
    message = str(caught.value)
    assert message.startswith("tiny.ipynb: failed")
    assert "\n" not in message
    assert all(word in message for word in words), message
    now = files(tmp_path)
    kept = now.pop("build/failed/tiny.ipynb").decode()
    del now["source/tiny.ipynb"]
    assert now == published
    assert json.dumps(cell)[1:-1].split("\\n")[0] in kept
    assert os.environ[OUTPUT] == "as before"


def test_a_notebook_without_metrics_publishes_nothing(tmp_path: Path, published: dict[str, bytes]) -> None:
    source = tiny(tmp_path / "source" / "tiny.ipynb", SAVE.split("(out /")[0] + 'print("done")')
    words = r"^tiny.ipynb: ended without writing its metrics file.*record\.close\(\)"
    with pytest.raises(Problem, match=words):
        run(tmp_path, source)
    now = files(tmp_path)
    assert "done" in now.pop("build/failed/tiny.ipynb").decode()
    del now["source/tiny.ipynb"]
    assert now == published


# what follows starts no kernel


@pytest.mark.parametrize("key, words", [
    ("valeu", 'tiny.ipynb: has no parameter "valeu"; did you mean "value"?'),
    ("zzz", "(known: tier, value, flag, nothing)")])
def test_an_unknown_parameter_is_named(tmp_path: Path, published: dict[str, bytes], key: str,
                                       words: str) -> None:
    with pytest.raises(Problem) as caught:
        run(tmp_path, tiny(tmp_path / "source" / "tiny.ipynb", SAVE), **{key: 1})
    assert words in str(caught.value)
    assert {k: v for k, v in files(tmp_path).items() if not k.startswith("source")} == published


def test_a_notebook_without_parameters_has_none(tmp_path: Path) -> None:
    source = tiny(tmp_path / "tiny.ipynb")
    made = read(source)
    made.cells[0].metadata["tags"] = []
    nbformat.write(made, source)
    check_parameters(source, {})
    with pytest.raises(Problem, match=r'has no parameter "tier" \(known: none\)'):
        check_parameters(source, {"tier": "t"})


@pytest.mark.parametrize("content", [b"", b"not JSON", b"[]", b"{}", b'{"cells": [', b"\xff\xfe\x00"])
def test_what_is_no_notebook_is_named(tmp_path: Path, published: dict[str, bytes], content: bytes) -> None:
    source = tmp_path / "tiny.ipynb"
    source.write_bytes(content)
    with pytest.raises(Problem, match=r"tiny.ipynb: not a notebook"):
        strip(source, tmp_path / "stripped.ipynb")
    with pytest.raises(Problem, match=r"tiny.ipynb: not a notebook"):
        run(tmp_path, source)
    source.unlink()
    assert files(tmp_path) == published


def test_a_missing_notebook_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="tiny.ipynb: there is no such notebook"):
        strip(tmp_path / "tiny.ipynb", tmp_path / "stripped.ipynb")
    with pytest.raises(Problem, match="tiny.ipynb: there is no such notebook"):
        run(tmp_path, tmp_path / "tiny.ipynb")


def test_strip_keeps_the_source_alone(tmp_path: Path) -> None:
    """The same notebook as written by hand, as executed, and as saved by another editor."""
    plain = tiny(tmp_path / "plain.ipynb", "1 + 1")
    run_once, other = read(plain), read(plain)
    shown = nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=7)
    run_once.cells[1].execution_count = 7
    run_once.cells[1].outputs = [shown]
    run_once.cells[1].metadata |= {"execution": {"iopub.status.busy": "now"}, "collapsed": True, "tags": []}
    kernel = {"name": "venv", "display_name": "Mine", "language": "python"}
    run_once.metadata |= {"kernelspec": kernel, "widgets": {}}
    nbformat.write(run_once, tmp_path / "run.ipynb")
    for cell in other.cells:
        del cell["id"]
    other.nbformat_minor = 4
    nbformat.write(other, tmp_path / "other.ipynb")
    for name in ("plain", "run", "other"):
        strip(tmp_path / f"{name}.ipynb", tmp_path / "out" / f"{name}.ipynb")
    out = files(tmp_path / "out")
    assert len(out) == 3 and len(set(out.values())) == 1
    stripped = read(tmp_path / "out" / "run.ipynb")
    assert [c.source for c in stripped.cells] == [SETTINGS, "1 + 1"]
    assert stripped.cells[0].metadata == {"tags": ["parameters"]}
    nbformat.validate(stripped)
    strip(tmp_path / "out" / "run.ipynb", tmp_path / "again.ipynb")
    assert (tmp_path / "again.ipynb").read_bytes() == out["run.ipynb"]


@pytest.mark.parametrize("change", ["source", "tag", "kind", "order"])
def test_strip_shows_what_matters(tmp_path: Path, change: str) -> None:
    plain = tiny(tmp_path / "plain.ipynb", "1 + 1", "2")
    other = read(plain)
    if change == "source":
        other.cells[1].source = "1 + 2"
    elif change == "tag":
        other.cells[1].metadata["tags"] = ["nbval-check-output"]
    elif change == "kind":
        other.cells[1] = nbformat.v4.new_markdown_cell("1 + 1")
    else:
        other.cells[1:] = other.cells[:0:-1]
    nbformat.write(other, tmp_path / "other.ipynb")
    for name in ("plain", "other"):
        strip(tmp_path / f"{name}.ipynb", tmp_path / f"{name}.out")
    assert (tmp_path / "plain.out").read_bytes() != (tmp_path / "other.out").read_bytes()


# Runs a notebook that waits, as a stage.
WAITING = """
import sys
from pathlib import Path
from lib.base.problem import exit_status
from lib.pipeline.notebook import run_notebook
folder = Path(sys.argv[1])
run = lambda: run_notebook(folder / "tiny.ipynb", "t", {}, folder / "reports", folder / "build")
sys.exit(exit_status(run, "Interrupted; it goes on from there."))
"""


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_notebook_that_is_interrupted_is_one_sentence(tmp_path: Path, by: signal.Signals) -> None:
    """To the whole group, as a terminal sends it; the kernel goes, and nothing is left of it."""
    note = tmp_path / "pid"
    wait = (f"import os, time\nopen({str(note) + '.part'!r}, 'w').write(str(os.getpid()))\n"
            f"os.rename({str(note) + '.part'!r}, {str(note)!r})\ntime.sleep(120)")
    tiny(tmp_path / "tiny.ipynb", wait)
    stage = subprocess.Popen([sys.executable, "-c", WAITING, str(tmp_path)], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, start_new_session=True,
                             env={**os.environ, "PYTHONPATH": str(ROOT)},
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    until(note.exists, 120)
    os.killpg(stage.pid, by)
    said, _ = stage.communicate(timeout=60)
    assert (stage.returncode, said) == (130, "Interrupted; it goes on from there.\n")
    until(lambda: not Path(f"/proc/{note.read_text()}").exists(), 10)
    assert list((tmp_path / "build").iterdir()) == []


ERROR = nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])


@pytest.mark.parametrize("counts, outputs, words", [
    ([1, 2, 3], [[], [], []], None),
    ([1, None, None], [[], [], []], "before code cell 2 of 3"),
    ([1, 2, 4], [[], [], []], "before code cell 3 of 3"),
    ([1, 2, 3], [[], [ERROR], []], "code cell 2 ended in an error")])
def test_check_complete(tmp_path: Path, counts: list[int | None], outputs: list[list],
                        words: str | None) -> None:
    made = nbformat.v4.new_notebook()
    for count, output in zip(counts, outputs, strict=True):
        counted = nbformat.v4.new_code_cell("x = 1", execution_count=count, outputs=output)
        never_counted = nbformat.v4.new_code_cell(" \n")
        made.cells += [counted, never_counted, nbformat.v4.new_markdown_cell("text")]
    nbformat.write(made, tmp_path / "done.ipynb")
    if words is None:
        check_complete(tmp_path / "done.ipynb")
    else:
        with pytest.raises(Problem, match=words):
            check_complete(tmp_path / "done.ipynb")
