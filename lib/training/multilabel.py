"""Multi-label training with sigmoid cross-entropy, in two phases, resumable at any step.

DCSM trains so (section 3.2), and PRM with stimulated peaks.
"""
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.base.problem import Problem
from lib.base.progress import progress
from lib.base.spent import spends
from lib.data.dataset import Sample
from lib.data.loading import Reading, loaded, to_device
from lib.metrics.multilabel import labels, multilabel_scores
from lib.nets.fcn import Fcn
from lib.training.batches import CachedViews, Photographs, loaded_squares, rounded, targets
from lib.training.checkpoint import TrainedFile, load_checkpoint, save_checkpoint
from lib.training.loss import finite_value
from lib.training.settings import TrainingSettings

SAVE_EVERY = 50   # steps between checkpoints; an epoch's end is always one
LOSSES = 10       # of an epoch, in the curves
COLUMNS: tuple[str, ...] = ("phase", "epoch", "step", "loss", "val_map")
Rows = list[dict[str, Any]]   # of the curves


@dataclass
class Progress:
    """Where a training is: what a checkpoint holds beside weights and optimiser."""
    phase: int = 0
    epoch: int = 0
    step: int = 0       # within the epoch
    rows: Rows = field(default_factory=list)
    losses: list[float] = field(default_factory=list)   # of the epoch so far


@dataclass(frozen=True)
class Phase:
    """The head alone, or all that is not frozen."""
    number: int
    name: str
    epochs: int
    rate: float


def sigmoid_cross_entropy(scores: Tensor, p: Tensor) -> Tensor:
    """Summed over classes, averaged over the images of the batch (eq. 1 and 2); scores and p are `(B, K)`."""
    return binary_cross_entropy_with_logits(scores, p, reduction="none").sum(1).mean()


@spends("training")
def train(fcn: Fcn, samples: Sequence[Sample], val: Sequence[Sample], settings: TrainingSettings, seed: int,
          target: TrainedFile) -> Rows:
    """Train in place; returns the rows of the curves.

    A checkpoint of the target's fingerprint is resumed from, to the same losses.
    """
    p = targets(samples, fcn.classes)
    if settings.start == "priors":
        _start_with_priors(fcn, p)
    source = CachedViews(fcn, samples, settings) if settings.views else Photographs(fcn, samples, settings)
    _unfrozen(fcn, settings.frozen)   # a misspelt module is named before anything is trained
    rows = Training(source, p, val, settings, seed, target).run()
    fcn.requires_grad_(False).eval()
    return rows


@dataclass(frozen=True)
class Step:
    """One mini-batch: numbers of samples, how it is read, and the seed of dropout.

    Everything random in it follows from its `key` alone, so that a resumed run takes the same one: seed,
    phase, epoch and number.
    """
    key: tuple[int, ...]
    rows: list[int]
    dropout: int
    reading: Reading[Tensor]

    @property
    def epoch(self) -> int:
        """The epoch, from 0."""
        return self.key[-2]

    @property
    def number(self) -> int:
        """Which step of its epoch it is, from 0."""
        return self.key[-1]


@dataclass(frozen=True)
class Training:
    """One training, with what all of its steps need."""
    source: Photographs | CachedViews
    p: Tensor   # the targets (N, K) of all images
    val: Sequence[Sample]
    settings: TrainingSettings
    seed: int
    target: TrainedFile

    @property
    def fcn(self) -> Fcn:
        """The network that is trained."""
        return self.source.fcn

    @property
    def phases(self) -> tuple[Phase, Phase]:
        """First the head, then all."""
        settings = self.settings
        return (Phase(0, "head", settings.head_epochs, settings.head_rate),
                Phase(1, "all", settings.epochs, settings.rate))

    def run(self) -> Rows:
        """All phases, or what is left of them; returns the rows of the curves."""
        saved = load_checkpoint(self.target.checkpoint, self.target.fingerprint, self.fcn)
        state, optimiser_state = (Progress(**saved[0]), saved[1]) if saved else (Progress(), None)
        for phase in self.phases:
            if phase.number < state.phase or not phase.epochs:
                continue
            optimiser = _optimiser(self.fcn, self.settings, phase)
            if optimiser_state is not None:
                optimiser.load_state_dict(optimiser_state)
                optimiser_state = None
            for epoch in range(state.epoch, phase.epochs):
                self._run_epoch(phase, epoch, state, optimiser)
            state.phase = phase.number + 1
            state.epoch = 0
        return state.rows

    def _run_epoch(self, phase: Phase, epoch: int, state: Progress, optimiser: torch.optim.Optimizer) -> None:
        """The steps of an epoch that are left, its rows, and its checkpoint."""
        per_epoch = -(-len(self.p) // self.settings.batch)
        label = f"{self.fcn.name}, {phase.name} {epoch + 1}/{phase.epochs}"
        steps = self._steps((self.seed, phase.number, epoch), state.step)
        batches = loaded([step.reading for step in steps], self.source.decoders)
        for step, batch in zip(steps, progress(batches, label, len(steps)), strict=True):
            done = (epoch * per_epoch + step.number) / (phase.epochs * per_epoch)
            rate = phase.rate * (1 - done) ** 0.9
            loss = _update(self.source, optimiser, step, batch, self.p[step.rows], rate)
            state.losses.append(loss)
            state.step = step.number + 1
            if state.step % SAVE_EVERY == 0:
                self._save(state, optimiser)
        state.rows += _epoch_rows(self.fcn, self.val, self.settings, phase.name, epoch, state.losses)
        state.epoch = epoch + 1
        state.step = 0
        state.losses = []
        self._save(state, optimiser)

    def _steps(self, key: tuple[int, ...], first: int) -> list["Step"]:
        """The steps of an epoch from the one numbered `first` on; `key` is (seed, phase, epoch)."""
        order = np.random.default_rng(key).permutation(len(self.p))
        size = self.settings.batch
        parts = [order[start:start + size].tolist() for start in range(0, len(order), size)]
        steps = []
        for number, rows in enumerate(parts[first:], start=first):
            own_key = (*key, number)
            draw = np.random.default_rng(own_key)
            dropout = int(draw.integers(2 ** 31))
            steps.append(Step(own_key, rows, dropout, self.source.reading(rows, draw)))
        return steps

    def _save(self, state: Progress, optimiser: torch.optim.Optimizer) -> None:
        save_checkpoint(self.target.checkpoint, self.target.fingerprint, self.fcn, optimiser, vars(state))


@torch.inference_mode()
def predict(fcn: Fcn, samples: Sequence[Sample], side: int, batch: int,
            label: str = "classifying") -> np.ndarray:
    """Sigmoid class scores `(N, K)` of images padded to squares."""
    parts = []
    for pixels in loaded_squares(samples, side, batch, label):
        parts.append(fcn(to_device(pixels, fcn.device)).sigmoid().float().cpu())
    return torch.cat(parts).numpy()


@torch.no_grad()
def _start_with_priors(fcn: Fcn, p: Tensor) -> None:
    """Let the last bias say how frequent each class is, and its weights next to nothing.

    Where a photograph shows nothing a class responds to, its score is the bias, and the maximum over places
    is never below it: from a bias of 0 a head on large activations (VGG's, without normalisation) first has
    to sink it, step by step.
    """
    present = p.sum(0)
    fcn.head[-1].weight.mul_(0.1)
    fcn.head[-1].bias.copy_(((present + 1) / (len(p) - present + 1)).log())


def _update(source: Photographs | CachedViews, optimiser: torch.optim.Optimizer, step: Step, batch: Tensor,
            p: Tensor, rate: float) -> float:
    """One step from what its reading gave and its targets; returns the loss."""
    fcn = source.fcn
    torch.manual_seed(step.dropout)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]
    fcn.head.train()
    loss = sigmoid_cross_entropy(source.scores(batch), p.to(fcn.device))
    value = finite_value(loss, f"{fcn.name}: the loss is no longer finite in epoch {step.epoch + 1}, "
                               f"step {step.number + 1}; lower the learning rate.")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    fcn.head.eval()
    return value


def _optimiser(fcn: Fcn, settings: TrainingSettings, phase: Phase) -> torch.optim.Optimizer:
    """Over the head, or over all that is not frozen, the head at ten times the trunk's rate.

    Normalisation statistics stay as they are.
    """
    fcn.requires_grad_(False)
    fcn.head.requires_grad_(True)
    head = list(fcn.head.parameters())
    trunk = []
    if phase.name == "all":
        for module in _unfrozen(fcn, settings.frozen):
            module.requires_grad_(True)
            trunk += module.parameters()
    groups = [{"params": head, "share": 1.0 if phase.name == "head" else 10.0}]
    if trunk:
        groups.append({"params": trunk, "share": 1.0})
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, phase.rate, momentum=0.9, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(groups, phase.rate, weight_decay=settings.weight_decay)


def _unfrozen(fcn: Fcn, frozen: str | None) -> list[nn.Module]:
    """The innermost modules with parameters after `frozen`, in the order of the body.

    They end with its last convolutional map.
    """
    modules = dict(fcn.trunk.body.named_modules())
    names = list(modules)
    if frozen is not None and frozen not in names:
        raise Problem(f'{fcn.name} has no module "{frozen}" to freeze up to; see its `stages`.')
    start = 0 if frozen is None else _last_inside(names, frozen) + 1
    chosen = names[start:_last_inside(names, fcn.trunk.features) + 1]
    return [modules[name] for name in chosen if name and _has_parameters(modules[name])]


def _has_parameters(module: nn.Module) -> bool:
    """Whether the module has parameters of its own, not only those of modules inside it."""
    return next(module.parameters(recurse=False), None) is not None


def _last_inside(names: Sequence[str], module: str) -> int:
    """Where the last of a module's own names stands: it comes before what lies inside it."""
    return max(i for i, name in enumerate(names) if name == module or name.startswith(f"{module}."))


def _epoch_rows(fcn: Fcn, val: Sequence[Sample], settings: TrainingSettings, phase: str, epoch: int,
                losses: list[float]) -> Rows:
    """Ten losses an epoch, each the mean of its share of steps.

    The last stands beside the mean average precision on the validation images.
    """
    predicted = predict(fcn, val, rounded(settings.side), settings.batch, "validating")
    alike = np.full((1, len(val)), 1 / len(val))
    scores = multilabel_scores(predicted, labels(val, fcn.classes), alike)
    rows = []
    for part in np.array_split(np.arange(len(losses)), LOSSES):
        if len(part) == 0:
            continue
        step = epoch * len(losses) + int(part[-1]) + 1
        loss = round(float(np.mean([losses[i] for i in part])), 5)
        rows.append({"phase": phase, "epoch": epoch + 1, "step": step, "loss": loss, "val_map": ""})
    rows[-1]["val_map"] = round(float(scores["map"][0]), 3)
    return rows
