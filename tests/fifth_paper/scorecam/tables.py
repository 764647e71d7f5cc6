"""Score-CAM's tables: what maps keep of a class's confidence (table 1), and how they find the foreground."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.base.parallel import device
from lib.data.dataset import Sample
from lib.metrics import bootstrap
from lib.metrics.bootstrap import Chance, Table
from lib.metrics.scoring import Scored, score
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
    foreground: Scored
    before: dict[str, list[float]] = field(default_factory=dict)
    after: dict[str, list[float]] = field(default_factory=dict)

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
    """CAM and Score-CAM on every sample."""
    scores = Scores(Scored())

    def maps(part: Sequence[Sample]) -> Mapping[str, Tensor]:
        found = score_cam(network, [sample.photo() for sample in part], settings)
        for row, heat in found.maps.items():
            before, after = confidences(network, found.images, heat, found.classes)
            scores.before.setdefault(row, []).extend(before.tolist())
            scores.after.setdefault(row, []).extend(after.tolist())
        return {row: heat.cpu() for row, heat in found.maps.items()}

    scores.foreground = score(samples, PHOTOS, maps, f"Score-CAM, {network.name}")
    return scores
