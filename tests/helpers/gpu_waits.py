"""Where the CPU waits for a GPU's numbers, each with the reason.

Nothing else in a method's way from images to maps may wait; `without_waiting` puts numbers in these places.
"""
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from dcsm_toys import toy_photo
from fake_gpu import on
from iam_toys import SETTINGS as IAM, toy_filling
from torch import Tensor

from lib.maps.peaks import Peaks
from lib.papers.dcsm.method import Candidates
from lib.papers.iam.method import ClassifierOutput
from lib.papers.rcam.settings import BoxSettings
from lib.refine.settings import CrfSettings

CRF = CrfSettings(60, 10, 3, 2, 1, 2)
BOXES = BoxSettings(source="windows", least_side=0.0, count=2, overlap=0.4, least_score=0.1, margin=0.1)
PEAKS = 3   # that any image has here

Arguments = Callable[[torch.device], tuple]


@dataclass(frozen=True)
class Wait:
    """A function that waits.

    place     module and name in it
    why       it must
    asked     arguments with which it waits
    instead   what answers in its place: numbers that the GPU could have had
    """
    place: str
    why: str
    asked: Arguments
    instead: Callable[..., Any]

    @property
    def function(self) -> Callable[..., Any]:
        module, name = self.place.rsplit(":")
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        return found


def numbers(device: torch.device) -> Tensor:
    return torch.empty(PEAKS, dtype=torch.long, device=device)


def some_peaks(maps: Tensor, *_: object) -> Peaks:
    return Peaks(*(numbers(maps.device) for _ in range(4)), maps.new_empty(PEAKS))


def some_output(device: torch.device) -> ClassifierOutput:
    maps = on(device, 2, 3, 8, 8)
    levels = [on(device, 2, depth, 4, 4) for depth in toy_filling().depths]
    return ClassifierOutput(maps, on(device, 2, 3), some_peaks(maps), on(device, PEAKS, 32, 32), levels)


def of_step(device: torch.device) -> tuple:
    return 0, 0, {"loss": on(device), "inner": None}


def _foreground(_: object, maps: Tensor) -> Tensor:
    return maps


WAITS = [
    Wait("lib.papers.rcam.method:crf", "the dense CRF computes on the CPU",
         lambda device: ([toy_photo(0)], on(device, 1, 1, 224, 224), CRF),
         lambda _, maps, __: torch.zeros(maps.shape)),
    Wait("lib.papers.rcam.box:choose_boxes", "boxes are chosen one by one",
         lambda device: (on(device, 5), on(device, 5, 4), BOXES),
         lambda *_: [[0.0, 0.0, 1.0, 1.0], [0.1, 0.2, 0.6, 0.9]]),
    Wait("lib.papers.dcsm.method:candidates", "candidates are chosen: a class that scores low has no maps",
         lambda device: (on(device, 2, 4), 0.5, 3),
         lambda *_: Candidates([2, 0, 1], 2)),
    Wait("lib.papers.dcsm.maps:candidates", "as above, for the files of raw maps",
         lambda device: (on(device, 2, 4), 0.5, 3),
         lambda *_: Candidates([2, 0, 1], 2)),
    Wait("lib.papers.dcsm.maps:_compact", "what goes into a file leaves the GPU",
         lambda device: (on(device, 3, 8, 8), "2"),
         lambda maps, _: np.zeros(tuple(maps.shape), np.float16)),
    Wait("lib.papers.dcsm.method:enlarge", "labels and CRF are NumPy's",
         lambda device: (on(device, 2, 8, 8), (16, 16)),
         lambda maps, size: np.zeros((len(maps), *size[::-1]), np.float32)),
    Wait("lib.papers.fcn_gbp.method:chosen_classes", "only classes that are present compete",
         lambda device: (on(device, 4), 0.5),
         lambda *_: [0, 2]),
    Wait("lib.papers.csoa.locate:_ranks", "a result: the place of the true class",
         lambda device: (on(device, 2, 3), torch.empty(2, dtype=torch.long, device=device)),
         lambda scores, _: [0] * len(scores)),
    Wait("lib.papers.csoa.locate:at_thresholds", "a result: masks, around which boxes are found on the CPU",
         lambda device: ({"s_l": on(device, 2, 4, 4)}, 16, [0.2, 0.5]),
         lambda maps, side, thetas: {"union": np.zeros((len(maps["s_l"]), len(thetas), side, side), bool)}),
    Wait("lib.papers.csoa.training:_row", "the curves of an epoch, when its last step is done",
         of_step, lambda *_: {}),
    Wait("lib.maps.peak_response:_rounds", "how many peaks an image has says how many go down together",
         lambda device: (numbers(device), 2),
         lambda *_: [([0, 2], [0, 0]), ([1], [0])]),
    Wait("lib.papers.iam.method:find_peaks", "how many peaks there are is known when they are found",
         lambda device: (on(device, 2, 3, 8, 8), 0.0), some_peaks),
    Wait("lib.papers.iam.method:peaks_where", "as above, for ImageNet's classes",
         lambda device: (on(device, 2, 3, 8, 8), torch.empty(2, 3, 8, 8, dtype=torch.bool, device=device)),
         some_peaks),
    Wait("lib.papers.iam.method:highest", "peaks of a class are counted one by one",
         lambda device: (some_peaks(on(device, 2, 3, 8, 8)), 2),
         lambda peaks, _: peaks),
    Wait("lib.papers.iam.method:ClassifierOutput.of_image", "how many of the peaks are an image's own",
         lambda device: (some_output(device), 0), lambda output, _: output),
    Wait("lib.papers.iam.instances:iam_instances", "a result: the masks of one image, compared on the CPU",
         lambda device: (toy_photo(0), some_output(device), on(device, PEAKS, 32, 32), IAM, _foreground),
         lambda *_: None),
    Wait("lib.papers.iam.instances:prm_instances", "proposals are found on the CPU, and retrieved there",
         lambda device: (some_output(device), np.ones((2, 20, 20), bool), (40, 40), IAM), lambda *_: None),
]
# Imported by the training of every paper; a step looks at its loss before it changes weights.
WAITS += [
    Wait(f"{module}:finite_value", "a loss that is no number must not reach the weights",
         lambda device: (on(device), "no number"), lambda *_: 1.0)
    for module in ("lib.training.multilabel", "lib.papers.csoa.training", "lib.papers.iam.training")
]


@pytest.fixture
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for wait in WAITS:
        monkeypatch.setattr(wait.place.replace(":", "."), wait.instead)
