"""The whole pipeline in small, in a copy of the project: contract, resumption, what re-runs, and the notebooks under nbval."""
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lib.params import NOTEBOOKS
from lib.paths import DATA, ROOT

VERDICTS = {"holds", "fails", "unclear", "not run"}
pytestmark = pytest.mark.skipif(not (ROOT / ".venv" / "bin" / "python").exists(), reason="needs .venv; run make test")


def copy_of_the_project(folder: Path) -> Path:
    """What Git tracks or would track, committed; the environment and the fetched packages are shared."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (DATA / ".packages").mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir()
    (folder / "data" / ".packages").symlink_to(DATA / ".packages")
    params = folder / "params.yaml"
    lines = ["tiers: [smoke]" if line.startswith("tiers:") else line for line in params.read_text().splitlines()]
    params.write_text("\n".join(lines) + "\n")
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "copy"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def dvc(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([".venv/bin/python", "-m", "dvc", *words], cwd=folder, env=environment(folder), capture_output=True, text=True)


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}


def results(folder: Path) -> dict[str, dict]:
    return {name: json.loads((folder / f"reports/smoke/metrics/{name}.json").read_text())["results"] for name in NOTEBOOKS}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_of_the_project(tmp_path_factory.mktemp("project"))
    run = dvc(folder, "repro")
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return folder


def triples(value: dict) -> list[dict]:
    return [value] if set(value) == {"mean", "low", "high"} else [t for entry in value.values() for t in triples(entry)]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_metrics_follow_the_contract(project: Path, name: str) -> None:
    metrics = json.loads((project / f"reports/smoke/metrics/{name}.json").read_text())
    assert {"notebook", "tier", "n_images", "seeds", "seconds", "device", "results", "provenance"} <= set(metrics)
    assert (metrics["notebook"], metrics["tier"]) == (name, "smoke") and metrics["n_images"] > 0
    found = triples(metrics["results"])
    assert found and all(0 <= t["low"] <= t["mean"] + 1e-9 and t["high"] >= t["mean"] - 1e-9 for t in found if t["high"] <= 1)
    provenance = metrics["provenance"]
    assert len(provenance["git"]["revision"]) == 40 and provenance["packages"]["torch"] and provenance["params"]["seed"] == 0
    assert all(len(h) == 64 for h in [*provenance["datasets"].values(), *provenance["weights"].values()])


def test_tables_and_claims(project: Path) -> None:
    rows = results(project)["rcam"]["table1"]["collage"]["efficientnet_lite0"]
    assert list(rows)[:7] == ["g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam"]
    assert all(set(metrics) == {"ois", "ods", "ods_mean_f", "mae"} for metrics in rows.values())
    claims = json.loads((project / "reports/smoke/claims.json").read_text())
    assert {"id", "paper", "statement", "where", "paper_value", "ours", "interval", "verdict", "note"} <= set(claims[0])
    assert {claim["verdict"] for claim in claims} <= VERDICTS and any(claim["verdict"] != "not run" for claim in claims)
    page = (project / "reports/smoke/README.md").read_text()
    assert "Table 1" in page and all(f"notebooks/{name}.ipynb" in page for name in NOTEBOOKS)


def test_published_notebooks_are_whole_and_say_nothing_of_the_machine(project: Path) -> None:
    for name in NOTEBOOKS:
        text = (project / f"reports/smoke/notebooks/{name}.ipynb").read_text()
        cells = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
        assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
        assert not any(o["output_type"] == "error" or o.get("name") == "stderr" for c in cells for o in c["outputs"])
        assert str(project) not in text and str(ROOT) not in text


def test_a_second_call_has_nothing_to_do(project: Path) -> None:
    start = time.monotonic()
    run = dvc(project, "repro")
    assert run.returncode == 0 and "Running stage" not in run.stdout and time.monotonic() - start < 15   # about 2 s on a quiet machine


def test_one_value_re_runs_one_notebook_and_the_report(project: Path) -> None:
    params = project / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("radii: [1, 2,", "radii: [1, 3,"))
    try:
        changed = json.loads(dvc(project, "status", "--json").stdout)
    finally:
        params.write_text(before)
    assert {stage for stage, why in changed.items() if any("changed deps" in w for w in why)} == {"rcam_scales@smoke"}
    assert "build/${item}/rcam_scales.ipynb" in (project / "dvc.yaml").read_text().split("  report:")[1]   # so the report follows


def test_a_saved_execution_count_re_runs_nothing_but_the_stripping(project: Path) -> None:
    notebook = project / "notebooks/rcam.ipynb"
    before = notebook.read_text()
    content = json.loads(before)
    content["cells"][1]["execution_count"] = 7
    notebook.write_text(json.dumps(content))
    run = dvc(project, "repro")
    assert [line for line in run.stdout.splitlines() if line.startswith("Running stage")] == ["Running stage 'strip@rcam':"]
    notebook.write_text(before)


def test_nbval(project: Path) -> None:
    """Every published notebook runs again, in its own folder, and its tables come out the same."""
    run = subprocess.run([str(ROOT / ".venv/bin/python"), "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
                          "reports/smoke/notebooks"], cwd=project, env=environment(project), capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:]


def test_an_interrupted_run_resumes_to_the_same_results(project: Path, tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path / "project")
    log = tmp_path / "log"
    with open(log, "w") as stream:
        run = subprocess.Popen([".venv/bin/python", "-u", "-m", "dvc", "repro"], cwd=folder, env=environment(folder), stdout=stream,
                               stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + 300
        while "Running stage 'rcam@smoke'" not in log.read_text() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(6)   # in the middle of the notebook
        os.killpg(run.pid, signal.SIGINT)
        try:
            run.wait(20)
        except subprocess.TimeoutExpired:
            pass
        os.killpg(run.pid, signal.SIGKILL) if run.poll() is None else None
    assert run.wait() != 0 and not (folder / "reports/smoke/metrics/rcam.json").exists()
    again = dvc(folder, "repro")
    assert again.returncode == 0, again.stdout[-2000:] + again.stderr[-2000:]
    assert "Running stage 'data@smoke'" not in again.stdout   # what was finished is not done again
    assert results(folder) == results(project)
    assert not list(folder.rglob(".part-*"))
