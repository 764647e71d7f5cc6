"""Score-CAM's tables: what maps keep of a class's confidence (table 1), and how they find the foreground."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lib.base.parallel import device
from lib.data.dataset import Sample
from lib.metrics import bootstrap
from lib.metrics.bootstrap import Chance, Table
from lib.metrics.scoring import Scored, each_batch
from lib.nets import load_network
from lib.nets.network import Network
from lib.papers.scorecam.method import confidences, score_cam
from lib.papers.scorecam.settings import ScoreCamSettings
from lib.report.paper import Paper

PAPER = Paper.read(Path(__file__).with_name("paper.yaml"))
PAIRS = [("scorecam", "cam")]
PHOTOS = 4   # looked at together


@dataclass
class Scores:
    """Foreground of a run over samples, and the class's probability before and after masking, by row."""
    foreground: Scored = field(default_factory=Scored)
    before: dict[str, list[float]] = field(default_factory=dict)
    after: dict[str, list[float]] = field(default_factory=dict)

    def extend(self, other: "Scores") -> None:
        """Append the samples of another run."""
        self.foreground.extend(other.foreground)
        for row in other.before:
            self.before.setdefault(row, []).extend(other.before[row])
            self.after.setdefault(row, []).extend(other.after[row])

    def confidence_table(self, chance: Chance) -> Table:
        """Table 1: average drop and increase of confidence, in percent."""
        rows = {}
        for row in self.before:
            before, after = np.array(self.before[row]), np.array(self.after[row])
            weights = chance.draws(len(before))
            drop = np.maximum(0, before - after) / before
            rows[row] = {"average_drop": 100 * weights @ drop, "increase": 100 * weights @ (before < after)}
        return bootstrap.table(rows, PAIRS, chance)


def open_network(name: str) -> Network:
    """A pretrained network on the device of this process."""
    return load_network(name).to(device(), memory_format=torch.channels_last)


def run(network: Network, samples: Sequence[Sample], settings: ScoreCamSettings) -> Scores:
    """CAM and Score-CAM on every sample; processes share them."""
    scores = Scores()
    make = partial(_scorer, network, settings)
    for part in each_batch(make, samples, PHOTOS, f"Score-CAM, {network.name}"):
        scores.extend(part)
    return scores


def _scorer(network: Network, settings: ScoreCamSettings) -> Callable[[Sequence[Sample]], Scores]:
    def of_batch(part: Sequence[Sample]) -> Scores:
        scores = Scores()
        found = score_cam(network, [sample.photo() for sample in part], settings)
        for row, heat in found.maps.items():
            before, after = confidences(network, found.images, heat, found.classes)
            scores.before[row] = before.tolist()
            scores.after[row] = after.tolist()
        scores.foreground.add({row: heat.cpu() for row, heat in found.maps.items()}, part)
        return scores
    return of_batch
