"""The whole pipeline in small, in a copy of the project: what it writes, what runs again when, and what an interruption leaves."""
import hashlib
import json
import math
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from small_project import Run, checkout, dvc, git, interrupted, python, until, working_in

from lib.params import NOTEBOOKS
from lib.paths import ROOT

pytestmark = pytest.mark.slow
NOTHING_TO_DO = 8   # seconds
STEPS = {"g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam", "rcam_cited"}
KEYS = {"notebook", "tier", "n_images", "seeds", "seconds", "device", "results", "comparisons", "timing", "counts", "figures", "deviations", "provenance"}
CLAIM = {"id", "paper", "statement", "where", "paper_value", "ours", "interval", "verdict", "note"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """The pipeline, once."""
    folder = checkout(tmp_path_factory.mktemp("smoke") / "project")
    done = dvc(folder, "repro")
    assert done.status == 0, done.output
    return folder, done


@pytest.fixture
def project(run: tuple[Path, Run]) -> Path:
    """The folder in which it ran; tests leave it as it is."""
    return run[0]


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """To be changed."""
    return Path(shutil.copytree(project, tmp_path / "copy", symlinks=True))


def metrics(folder: Path) -> dict[str, dict[str, Any]]:
    found = {p.stem: json.loads(p.read_text()) for p in (folder / "reports" / "smoke" / "metrics").glob("*.json")}
    assert set(found) == set(NOTEBOOKS)
    return found


def values(results: dict) -> Iterator[tuple[str, dict]]:
    for table, datasets in results.items():
        for dataset, networks in datasets.items():
            for network, rows in networks.items():
                for row, scores in rows.items():
                    for metric, value in scores.items():
                        yield f"{table} {dataset} {network} {row} {metric}", value


def test_every_stage_runs_once(run: tuple[Path, Run]) -> None:
    stages = run[1].stages
    assert sorted(stages) == sorted([*(f"strip@{n}" for n in NOTEBOOKS), "data@smoke", *(f"{n}@smoke" for n in NOTEBOOKS), "report@smoke"])
    assert stages[-1] == "report@smoke"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_metrics_follow_the_contract(project: Path, name: str) -> None:
    found = metrics(project)[name]
    assert set(found) >= KEYS and (found["notebook"], found["tier"], found["seeds"]) == (name, "smoke", [0])
    assert found["n_images"] in (2, 6) and 0 < found["seconds"] < 1000 and found["deviations"]
    listed = list(values(found["results"]))
    assert listed
    for where, value in listed:
        assert set(value) == {"mean", "low", "high"}, where
        assert all(math.isfinite(v) for v in value.values()) and value["low"] <= value["mean"] <= value["high"], where
        assert 0 <= value["mean"] <= 1 or where.split()[-1] not in ("ois", "ods", "ods_mean_f", "mae"), where


def test_table1_has_its_rows(project: Path) -> None:
    rows = metrics(project)["rcam"]["results"]["table1"]["collage"]["efficientnet_lite0"]
    assert set(rows) == STEPS and all({"ois", "ods", "mae"} <= set(scores) for scores in rows.values())
    assert all(rows[row]["ois"]["mean"] >= rows[row]["ods_mean_f"]["mean"] for row in rows)   # an image's own threshold is its best
    assert set(metrics(project)["rcam"]["results"]["table2"]["collage"]["efficientnet_lite0"]) == {"rcam", "rcam_box"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_provenance_says_where_numbers_come_from(project: Path, name: str) -> None:
    found = metrics(project)[name]["provenance"]
    assert found["git"] == {"revision": git(project, "rev-parse", "HEAD").strip(), "dirty": False}
    raw = yaml.safe_load((project / "params.yaml").read_text())
    assert found["params"]["seed"] == raw["seed"] and found["params"]["tier"] == raw["tier"]["smoke"][name]
    assert found["params"]["rcam"] == raw["rcam"] and set(found["params"]) >= {"bootstrap", *([name] if name in raw else [])}
    manifest = project / "data" / "smoke" / "collage" / "manifest.json"
    assert found["datasets"] == {"collage": hashlib.sha256(manifest.read_bytes()).hexdigest()}
    assert re.fullmatch("[0-9a-f]{64}", found["weights"]["efficientnet_lite0"]) and {"python", "torch", "numpy"} <= set(found["packages"])


def test_the_report_is_complete(project: Path) -> None:
    folder = project / "reports" / "smoke"
    page = (folder / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page) if "://" not in link]
    assert len(links) > len(NOTEBOOKS) and all((folder / link).is_file() for link in links)
    figures = {str(p.relative_to(folder)) for p in folder.glob("figures/*/*")}
    assert figures == {f["file"] for found in metrics(project).values() for f in found["figures"]} == {link for link in links if link.startswith("figures/")}
    assert all(p.stat().st_size <= 300_000 for p in folder.rglob("*") if p.is_file() and p.suffix != ".ipynb")
    assert git(project, "status", "--porcelain", "README.md") == ""   # no headline from so few images


def test_claims_follow_the_contract(project: Path) -> None:
    records = json.loads((project / "reports" / "smoke" / "claims.json").read_text())
    assert records and len({r["id"] for r in records}) == len(records)
    for record in records:
        assert set(record) >= CLAIM and record["verdict"] in ("holds", "fails", "unclear", "not run"), record
        assert (record["interval"] is None) == (record["ours"] is None) == (record["verdict"] == "not run"), record
        if record["interval"]:
            assert record["interval"][0] <= record["ours"] <= record["interval"][1], record
    judged = [r for r in records if r["paper"] == "rcam" and r["verdict"] != "not run"]
    assert judged and all(r["dataset"] == "collage" and r["network"] == "efficientnet_lite0" for r in judged)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_executed_notebooks_are_whole(project: Path, name: str) -> None:
    executed = nbformat.read(project / "reports" / "smoke" / "notebooks" / f"{name}.ipynb", as_version=4)
    nbformat.validate(executed)
    cells = [c for c in executed.cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not any(o.output_type == "error" or o.get("name") == "stderr" for o in outputs)
    assert any(c.outputs for c in cells if "NBVAL_CHECK_OUTPUT" in c.source)   # otherwise validation compares nothing
    texts = [*(c.source for c in executed.cells), json.dumps(executed.metadata), *(json.dumps(c.metadata) for c in executed.cells),
             *(json.dumps({k: v for k, v in o.get("data", o).items() if not k.startswith("image/")}) for o in outputs)]
    places = [str(p) for p in (project, ROOT, Path.home(), project.parent)] + ["/tmp/", "/home/"]
    assert not any(place in text for text in texts for place in places)


def test_a_second_run_has_nothing_to_do(project: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (project / "reports" / "smoke").rglob("*")}
    again = dvc(project, "repro")
    assert again.status == 0 and again.stages == [] and "Data and pipelines are up to date." in again.output
    assert {p: p.stat().st_mtime_ns for p in (project / "reports" / "smoke").rglob("*")} == before
    if again.seconds > NOTHING_TO_DO:   # the machine may have been busy
        again = dvc(project, "repro")
    assert again.seconds <= NOTHING_TO_DO


def changed(copy: Path) -> set[str]:
    return set(json.loads(python(copy, "-m", "dvc", "status", "--json").output.strip().splitlines()[-1]))


def descendants(copy: Path, stage: str) -> set[str]:
    """A stage and all that comes after it."""
    return set(re.findall(r"[Ss]tage '([^']+)'", dvc(copy, "repro", "--dry", "--downstream", stage).output))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(re.findall(old, text, re.MULTILINE)) == 1, old
    path.write_text(re.sub(old, new, text, flags=re.MULTILINE), encoding="utf-8")


def test_a_parameter_runs_again_what_uses_it(copy: Path) -> None:
    assert changed(copy) == set()
    edit(copy / "params.yaml", r"^  radii: .*$", "  radii: [1, 3]")
    assert changed(copy) == {"rcam_scales@smoke"}
    assert descendants(copy, "rcam_scales@smoke") == {"rcam_scales@smoke", "report@smoke"}


@pytest.mark.parametrize("old, new, stages", [
    (r"^seed: 0$", "seed: 1", {"data@smoke", *(f"{n}@smoke" for n in NOTEBOOKS)}),
    (r"^  eps: 0.01$", "  eps: 0.02", {f"{n}@smoke" for n in NOTEBOOKS}),
    (r"box_images: 2,", "box_images: 1,", {"rcam@smoke"}),
    (r"^    data: \{collage: \{train: 600", "    data: {collage: {train: 601", set()),   # of another tier
    (r"^mirror: [^ ]*", "mirror: elsewhere", set())])
def test_other_parameters(copy: Path, old: str, new: str, stages: set[str]) -> None:
    edit(copy / "params.yaml", old, new)
    assert changed(copy) == stages


def test_a_module_runs_again_what_imports_it(copy: Path) -> None:
    with open(copy / "lib" / "papers" / "rcam_constants.py", "a") as stream:
        stream.write("\n# a word\n")
    assert changed(copy) == {"rcam_constants@smoke"}


def test_saving_a_notebook_runs_nothing_but_strip(copy: Path) -> None:
    path = copy / "notebooks" / "rcam.ipynb"
    saved = nbformat.read(path, as_version=4)
    for number, cell in enumerate((c for c in saved.cells if c.cell_type == "code"), start=1):
        cell.execution_count = number
        cell.outputs = [nbformat.v4.new_output("stream", text="seen")]
    nbformat.write(saved, path)
    again = dvc(copy, "repro")
    assert again.status == 0 and again.stages == ["strip@rcam"], again.output
    saved.cells[-1].source += "\n# a word"
    nbformat.write(saved, path)
    assert dvc(copy, "repro", "strip@rcam").status == 0
    assert changed(copy) == {"rcam@smoke"}


def test_the_executed_notebooks_are_reproduced(copy: Path) -> None:
    """nbval runs them again and compares the marked cells: tables come out the same to the letter."""
    before = metrics(copy)
    done = python(copy, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", "-q", "reports/smoke/notebooks", PYTHONPATH=str(copy))
    assert done.status == 0, done.output
    cells = sum(len([c for c in nbformat.read(p, 4).cells if c.cell_type == "code"]) for p in (copy / "reports/smoke/notebooks").glob("*.ipynb"))
    assert re.search(rf"^{cells} passed", done.output, re.MULTILINE), done.output
    assert metrics(copy) == before   # what a notebook writes outside of the pipeline replaces nothing


def test_an_interrupted_run_goes_on_where_it_was(project: Path, tmp_path: Path) -> None:
    """Ctrl-C during one notebook, the power cut during the next: neither publishes anything, and the end is the same."""
    folder = checkout(tmp_path / "project")
    results = folder / "reports" / "smoke"

    said = interrupted(folder, "rcam@smoke", signal.SIGINT)
    assert "Interrupted" in said and "KeyboardInterrupt" not in said, said
    assert not list(results.rglob("*.json")) and not list(folder.glob("**/.part-*")), said
    assert (folder / "data" / "smoke" / "collage" / "manifest.json").is_file()
    until(lambda: not working_in(folder), 30)

    interrupted(folder, "rcam_scales@smoke", signal.SIGKILL)
    assert [p.stem for p in results.glob("metrics/*")] == ["rcam"] and not (results / "figures" / "rcam_scales").exists()
    until(lambda: not working_in(folder), 30)   # the kernel, a process group of its own, has noticed

    done = dvc(folder, "repro")
    assert done.status == 0, done.output
    assert done.stages == ["rcam_scales@smoke", "rcam_constants@smoke", "report@smoke"]
    here, there = metrics(folder), metrics(project)
    for name in NOTEBOOKS:
        assert here[name]["results"] == there[name]["results"] and here[name]["comparisons"] == there[name]["comparisons"]
        assert here[name]["provenance"]["datasets"] == there[name]["provenance"]["datasets"]   # composed twice, identical
    claims = [json.loads((f / "reports" / "smoke" / "claims.json").read_text()) for f in (folder, project)]
    assert claims[0] == claims[1]
