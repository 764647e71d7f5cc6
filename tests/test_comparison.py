"""All methods on the same images: scores by hand, and what a method's own process leaves."""
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lib import comparison
from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.comparison import Ran, map_grid, renumbered, run, scores
from lib.metrics.bootstrap import Chance
from lib.papers.found import Found
from lib.proposals import segments

CHANCE = Chance(20, 0.95, 0)
CLASSES = ["dog", "cat", "cow"]


def sample(id: str, classes: list[int], *labels: str) -> SimpleNamespace:
    """An image of one row whose pixels are of these classes; 255 is void."""
    mask = np.array([classes], dtype=np.uint8)
    masks = {"class_masks": mask}
    valid = mask != 255
    foreground = (mask > 0) & valid
    photo = Image.new("RGB", (len(classes), 1))
    return SimpleNamespace(id=id, labels=labels, mask=masks.__getitem__,
                           foreground=lambda: (foreground, valid), photo=lambda: photo)


SAMPLES = [sample("a", [0, 0, 1, 1], "dog"), sample("b", [2, 2, 0, 255], "cat")]
HEATS = [np.array([[0.0, 1.0, 1.0, 1.0]], np.float32), np.array([[0.5, 0.0, 0.25, 1.0]], np.float32)]
LABELS = [np.array([[0, 1, 1, 1]], np.uint8), np.array([[2, 0, 3, 2]], np.uint8)]


def f(precision: float, recall: float) -> float:
    return 1.3 * precision * recall / (0.3 * precision + recall)


def test_scores_by_hand() -> None:
    found = scores(Ran(HEATS, LABELS, np.array([1.0, 3.0]), 800.0), SAMPLES, CLASSES, CHANCE)
    assert set(found) == {"ods", "ois", "mae", "miou", "seconds", "memory"}
    assert all(values.shape == (21,) for values in found.values())
    assert found["mae"][0] == pytest.approx((1 / 4 + (0.5 + 1 + 0.25) / 3) / 2)   # void does not count
    # Up to 0.25 the second has precision 1/2, up to 0.5 1, at recall 1/2; the first 2/3 and 1 everywhere.
    assert found["ods"][0] == pytest.approx(f((2 / 3 + 1) / 2, (1 + 0.5) / 2))
    assert found["ois"][0] == pytest.approx((f(2 / 3, 1) + f(1, 0.5)) / 2)
    # Background 1 of 4, dog 2 of 3, cat 1 of 2; cow, which no image is labelled with, does not count.
    assert found["miou"][0] == pytest.approx(100 * (1 / 4 + 2 / 3 + 1 / 2) / 3)
    assert found["seconds"][0] == 2 and set(found["seconds"]) == {1.0, 2.0, 3.0}
    assert set(found["memory"]) == {800.0}


def test_without_labels_there_is_no_iou() -> None:
    found = scores(Ran(HEATS, None, np.ones(2), 1.0), SAMPLES, CLASSES, CHANCE)
    assert set(found) == {"ods", "ois", "mae", "seconds", "memory"}


def test_labels_by_the_data_sets_numbers() -> None:
    """A network that knows cow and dog, in this order."""
    found = renumbered(np.array([[0, 1, 2]], np.uint8), ["cow", "dog"], CLASSES)
    assert found.tolist() == [[0, 3, 1]] and found.dtype == np.uint8
    assert renumbered(np.array([[0, 2, 3, 1]], np.uint8), CLASSES, CLASSES).tolist() == [[0, 2, 3, 1]]


class Process:
    """In place of subprocess.run: leaves files and a line, or fails."""

    def __init__(self, classes: list[str], code: int = 0, error: str = "") -> None:
        self.classes = classes
        self.code = code
        self.error = error
        self.words: list[str] = []
        self.how: dict[str, object] = {}

    def __call__(self, words: list[str], **how: object) -> subprocess.CompletedProcess:
        self.words, self.how = words, how
        folder, ids = Path(words[6]), words[8:]
        labels = {"labels": np.array([[0, 1, 2, 1]], np.uint8)} if self.classes else {}
        for i, id in enumerate(ids):
            np.savez_compressed(folder / f"{id}.npz", heat=HEATS[i], **labels)
        facts = {"seconds": [0.5, 0.25], "memory": 321, "classes": self.classes, "device": "abacus"}
        said = "" if self.code else f"some talk\n{json.dumps(facts)}\n"
        return subprocess.CompletedProcess(words, self.code, said, self.error)


DATASET = SimpleNamespace(folder=Path("some/data"), classes=CLASSES)


@pytest.mark.parametrize("classes", [["cat", "cow"], []])
def test_what_a_process_leaves(classes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(classes)
    monkeypatch.setattr("lib.base.process.subprocess.run", process)
    found = run("prm", "smoke", "toy", DATASET, SAMPLES)
    assert process.words[1:6] == ["-m", "lib.comparison", "prm", "smoke", "toy"]
    assert process.words[7:] == ["some/data", "a", "b"] and not Path(process.words[6]).exists()
    assert process.how["cwd"] == ROOT and process.how["env"]["PYTHONPATH"] == str(ROOT)
    assert all(np.array_equal(one, heat) for one, heat in zip(found.heats, HEATS, strict=True))
    assert found.seconds.tolist() == [0.5, 0.25] and found.memory == 321 and found.device == "abacus"
    labels = None if found.labels is None else [one.tolist() for one in found.labels]
    assert labels == ([[[0, 2, 3, 2]]] * 2 if classes else None)


@pytest.mark.parametrize("are_known", [True, False])
def test_images_that_are_not_timed_take_proposals_that_are_known(
        are_known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    """One of two is timed, and looks for its own; so does the other where none are known."""
    looked: list[str] = []

    def maps_of(photos: list[Image.Image]) -> list[Found]:
        is_fresh = segments._KNOWN.get() is None
        looked.append("fresh" if is_fresh else "known")
        return [Found(torch.ones(1, 2, 2))]

    monkeypatch.setattr(comparison, "TIMED", 1)
    monkeypatch.setattr(comparison, "segmenter", lambda request: maps_of)
    monkeypatch.setattr(comparison, "Dataset", lambda *_, **__: SimpleNamespace(samples=SAMPLES))
    stored = {one.id: (lambda: np.zeros((0, 1, 4), bool)) for one in SAMPLES} if are_known else {}
    monkeypatch.setattr(comparison, "loaders", lambda folder: stored)
    comparison._here("prm", "smoke", "toy", tmp_path, Path("some/data"), ["a", "b"])
    facts = json.loads(capsys.readouterr().out)
    others = ["known" if are_known else "fresh"]
    assert sorted(looked[1:]) == sorted(["fresh", *others]) and len(facts["seconds"]) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "b.npz"}


ERROR = "Traceback (most recent call last):\n  File\nlib.problem.Problem: no weights; train first.\n"


FAILURES = {"an error": (1, ERROR, "no weights; train first."), "killed without a word": (-9, "", "-9")}


@pytest.mark.parametrize("code, error, said", FAILURES.values(), ids=FAILURES)
def test_a_method_that_fails_is_one_sentence(code: int, error: str, said: str,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.base.process.subprocess.run", Process([], code, error))
    with pytest.raises(Problem) as caught:
        run("dcsm", "smoke", "toy", DATASET, SAMPLES)
    text = str(caught.value)
    assert text.startswith("comparison: dcsm on toy failed") and said in text
    assert "\n" not in text and "Traceback" not in text


def test_a_row_an_image_and_a_column_a_method() -> None:
    ran = {name: Ran(HEATS, None, np.ones(2), 1.0) for name in ("prm", "iam", "csoa")}
    figure = map_grid(ran, SAMPLES, 2)
    assert len(figure.axes) == 2 * 5
    titles = [axis.get_title() for axis in figure.axes[:5]]
    assert titles == ["photograph", "truth", "prm", "iam", "csoa"]
    assert [figure.axes[i].get_ylabel() for i in (0, 5)] == ["dog", "cat"]
    assert len(map_grid(ran, SAMPLES, 1).axes) == 5
