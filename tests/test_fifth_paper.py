"""A fifth paper, Score-CAM, added to a copy of the project: what is written, edited, and that it runs."""
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from small_project import Run, checkout, dvc, git, python

FIFTH = Path(__file__).parent / "fifth_paper"
STAGE = """  scorecam:
    foreach: ${tiers}
    do:
      cmd: .venv/bin/python -m lib.pipeline run scorecam ${item}
      deps: [build/source/scorecam.json, "data/${item}"]
      params: [seed, bootstrap, scorecam, "tier.${item}.dataset", "tier.${item}.networks"]
      outs: ["build/${item}/notebooks/scorecam.ipynb"]
      metrics: [{"reports/${item}/metrics/scorecam.json": {cache: false}}]
      plots: [{"reports/${item}/figures/scorecam": {cache: false}}]
"""
CONSTANTS = "scorecam: {side: 64, batch: 64, images: 3}\n"

pytestmark = pytest.mark.slow


def edited(path: Path, pattern: str, replacement: str) -> None:
    """Replace the one place that matches."""
    text = path.read_text(encoding="utf-8")
    changed, count = re.subn(pattern, lambda _: replacement, text, flags=re.MULTILINE)
    assert count == 1, f"{path}: {pattern}"
    path.write_text(changed, encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the fifth paper in it."""
    folder = checkout(tmp_path_factory.mktemp("fifth") / "project")
    shutil.copytree(FIFTH / "scorecam", folder / "lib" / "papers" / "scorecam")
    shutil.copy(FIFTH / "scorecam.ipynb", folder / "notebooks")
    shutil.copy(FIFTH / "claims.yaml", folder / "lib" / "report" / "claims" / "scorecam.yaml")
    (folder / "tests" / "papers" / "scorecam").mkdir()
    shutil.copy(FIFTH / "test_method.py", folder / "tests" / "papers" / "scorecam")
    edited(folder / "lib" / "papers" / "__init__.py", r'"iam"\)$', '"iam", "scorecam")')
    edited(folder / "params.yaml", "^training:", f"{CONSTANTS}training:")
    edited(folder / "dvc.yaml", "^  comparison:\n", f"{STAGE}  comparison:\n")
    edited(folder / "dvc.yaml", r'comparison"\]$', 'comparison", scorecam]')   # reads all constants
    return folder


@pytest.fixture(scope="module")
def ran(project: Path) -> Run:
    """Its stage, through DVC."""
    done = dvc(project, "repro", "scorecam@smoke")
    assert done.status == 0, done.output
    return done


def test_few_lines_of_shared_files_change(project: Path) -> None:
    changed = [line.split("\t") for line in git(project, "diff", "--numstat").strip().splitlines()]
    assert {name for _, _, name in changed} == {"lib/papers/__init__.py", "params.yaml", "dvc.yaml"}
    assert sum(int(added) for added, _, _ in changed) <= 12
    others = git(project, "ls-files", "--others", "--exclude-standard").split()
    new = [name for name in others if "/" in name]   # not the link to the environment
    folders = {name if name.endswith((".ipynb", ".yaml")) and "papers" not in name else str(Path(name).parent)
               for name in new}
    assert folders == {"lib/papers/scorecam", "tests/papers/scorecam", "notebooks/scorecam.ipynb",
                       "lib/report/claims/scorecam.yaml"}


def test_the_projects_rules_take_it_in(project: Path) -> None:
    """The rule between rooms, the pipeline's own checks, and the paper's reference tests."""
    tests = ["tests/test_rooms.py", "tests/pipeline/test_dvc.py", "tests/papers/scorecam"]
    done = python(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert done.status == 0, done.output[-3000:]


def test_only_what_it_needs_runs(ran: Run) -> None:
    assert ran.stages == ["source", "data@smoke", "scorecam@smoke"]


def test_its_numbers_and_verdicts_are_there(project: Path, ran: Run) -> None:
    reports = project / "reports" / "smoke"
    rows = json.loads((reports / "metrics" / "scorecam.json").read_text())["results"]
    confidence = rows["table1_confidence"]["collage"]["efficientnet_lite0"]
    assert set(confidence) == {"cam", "scorecam"}
    values = [value for row in confidence.values() for value in row.values()]
    assert all(0 <= value["low"] <= value["high"] <= 100 for value in values)
    done = python(project, "-m", "lib.pipeline", "report", "smoke")
    assert done.status == 0, done.output
    claims = {claim["id"].split("@")[0]: claim for claim in json.loads((reports / "claims.json").read_text())}
    own = {name: claim for name, claim in claims.items() if claim["paper"] == "scorecam"}
    assert len(own) == 2 and {claim["verdict"] for claim in own.values()} <= {"holds", "fails", "unclear"}
    page = (reports / "README.md").read_text(encoding="utf-8")
    assert "| Score-CAM |" in page and "Score-Weighted Visual Explanations" in page
    assert "Network (section 4): those of the tier instead of VGG-16" in page
    assert (reports / "notebooks" / "scorecam.ipynb").is_file()


def test_segment_and_evaluate_know_it(project: Path, ran: Run, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.effect_mandelbrot((80, 60), (-2, -1, 1, 1), 60).convert("RGB").save(photo)
    done = python(project, "-m", "lib", "segment", "scorecam", str(photo), "--out", str(tmp_path / "maps"))
    assert done.status == 0, done.output
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        "photo_heat.png", "photo_mask.png", "photo_overlay.jpg"]
    words = ["evaluate", "scorecam", "--data", "data/smoke/collage", "--tier", "smoke", "--images", "3",
             "--json", str(tmp_path / "scores.json")]
    done = python(project, "-m", "lib", *words)
    assert done.status == 0, done.output
    scores = json.loads((tmp_path / "scores.json").read_text())["results"]
    metrics = json.loads((project / "reports" / "smoke" / "metrics" / "scorecam.json").read_text())
    assert scores == metrics["results"]["foreground"]["collage"]["efficientnet_lite0"]
