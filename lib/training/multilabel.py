"""Multi-label training with sigmoid cross-entropy, in two phases, resumable at any step (DCSM, section 3.2; PRM with stimulated peaks)."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.base.problem import Problem
from lib.base.progress import progress
from lib.data.dataset import Sample
from lib.metrics.multilabel import labels, multilabel_scores
from lib.nets.fcn import Fcn
from lib.training.batches import CachedViews, Photographs, rounded, square, targets
from lib.training.checkpoint import load_checkpoint, save_checkpoint
from lib.training.settings import TrainingSettings

SAVE_EVERY = 50   # steps between checkpoints; an epoch's end is always one
COLUMNS = ("phase", "epoch", "step", "loss", "val_map")


@dataclass
class Progress:
    """Where a training is: what a checkpoint holds beside weights and optimiser."""
    phase: int = 0
    epoch: int = 0
    step: int = 0       # within the epoch
    rows: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)   # of the epoch so far


def sigmoid_cross_entropy(scores: Tensor, p: Tensor) -> Tensor:
    """eq. 1 and 2: summed over classes, averaged over the images of the batch; scores and p are `(B, K)`."""
    return binary_cross_entropy_with_logits(scores, p, reduction="none").sum(1).mean()


def train(fcn: Fcn, samples: Sequence[Sample], val: Sequence[Sample], settings: TrainingSettings, seed: int, checkpoint: Path,
          fingerprint: str) -> list[dict[str, Any]]:
    """Train in place; returns the rows of the curves. A checkpoint of the same fingerprint is gone on from, to the same losses."""
    p = targets(samples, fcn.classes)
    if settings.start == "priors":
        _start_with_priors(fcn, p)
    source = CachedViews(fcn, samples, settings) if settings.views else Photographs(fcn, samples, settings)
    _unfrozen(fcn, settings.frozen)   # a misspelt module is named before anything is trained
    found = load_checkpoint(checkpoint, fingerprint, fcn)
    state, saved = (Progress(**found[0]), found[1]) if found else (Progress(), None)
    for phase, (name, epochs, rate) in enumerate((("head", settings.head_epochs, settings.head_rate), ("all", settings.epochs, settings.rate))):
        if phase < state.phase or not epochs:
            continue
        optimiser = _optimiser(fcn, settings, name, rate)
        if saved is not None:
            optimiser.load_state_dict(saved)
            saved = None
        for epoch in range(state.epoch, epochs):
            for step, rows in _steps(len(samples), settings.batch, seed, phase, epoch, state.step, f"{fcn.name}, {name} {epoch + 1}/{epochs}"):
                total = epochs * -(-len(samples) // settings.batch)
                done = epoch * -(-len(samples) // settings.batch) + step
                state.losses.append(_update(source, fcn, optimiser, rows, p[rows], rate * (1 - done / total) ** 0.9, (seed, phase, epoch, step)))
                state.step = step + 1
                if state.step % SAVE_EVERY == 0:
                    save_checkpoint(checkpoint, fingerprint, fcn, optimiser, vars(state))
            state.rows += _epoch_rows(fcn, val, settings, name, epoch, state.losses)
            state.epoch, state.step, state.losses = epoch + 1, 0, []
            save_checkpoint(checkpoint, fingerprint, fcn, optimiser, vars(state))
        state.phase, state.epoch = phase + 1, 0
    fcn.requires_grad_(False).eval()
    return state.rows


@torch.inference_mode()
def predict(fcn: Fcn, samples: Sequence[Sample], side: int, batch: int, label: str = "classifying") -> np.ndarray:
    """Sigmoid class scores `(N, K)` of images padded to squares."""
    device, parts = next(fcn.parameters()).device, []
    for start in progress(range(0, len(samples), batch), label):
        pixels = torch.stack([square(s.photo(), side) for s in samples[start:start + batch]]).to(device, memory_format=torch.channels_last)
        parts.append(fcn(pixels).sigmoid().float().cpu())
    return torch.cat(parts).numpy()


@torch.no_grad()
def _start_with_priors(fcn: Fcn, p: Tensor) -> None:
    """The last bias says how frequent each class is, and its weights next to nothing.

    Where a photograph shows nothing a class responds to, its score is the bias, and the maximum over places is never below it: from
    a bias of 0 a head on large activations (VGG's, without normalisation) first has to sink it, step by step.
    """
    present = p.sum(0)
    fcn.head[-1].weight.mul_(0.1)
    fcn.head[-1].bias.copy_(((present + 1) / (len(p) - present + 1)).log())


def _update(source: Photographs | CachedViews, fcn: Fcn, optimiser: torch.optim.Optimizer, rows: Sequence[int], p: Tensor, rate: float,
            key: tuple[int, ...]) -> float:
    """One step; everything random in it follows from `key` alone, so that a resumed run takes the same one."""
    draw = np.random.default_rng(key)
    torch.manual_seed(int(draw.integers(2 ** 31)))   # dropout
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]
    fcn.head.train()
    loss = sigmoid_cross_entropy(source.scores(source.batch(rows, draw)), p.to(next(fcn.parameters()).device))
    if not torch.isfinite(loss):
        raise Problem(f"{fcn.name}: the loss is no longer finite in epoch {key[2] + 1}, step {key[3] + 1}; lower the learning rate.")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    fcn.head.eval()
    return loss.item()


def _steps(images: int, batch: int, seed: int, phase: int, epoch: int, first: int, label: str) -> Iterator[tuple[int, list[int]]]:
    order = np.random.default_rng((seed, phase, epoch)).permutation(images)
    parts = [order[i:i + batch].tolist() for i in range(0, images, batch)]
    yield from progress(list(enumerate(parts))[first:], label)


def _optimiser(fcn: Fcn, settings: TrainingSettings, phase: str, rate: float) -> torch.optim.Optimizer:
    """Over the head, or over all that is not frozen, the head at ten times the trunk's rate; normalisation statistics stay as they are."""
    fcn.requires_grad_(False)
    trained: list[nn.Module] = [fcn.head] + (_unfrozen(fcn, settings.frozen) if phase == "all" else [])
    for module in trained:
        module.requires_grad_(True)
    trunk = [p for module in trained[1:] for p in module.parameters()]
    groups = [{"params": list(fcn.head.parameters()), "share": 1.0 if phase == "head" else 10.0}] + [{"params": trunk, "share": 1.0}] * bool(trunk)
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, rate, momentum=0.9, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(groups, rate, weight_decay=settings.weight_decay)


def _unfrozen(fcn: Fcn, frozen: str | None) -> list[nn.Module]:
    """The innermost modules with parameters after `frozen`, in the order of the body, up to its last convolutional map."""
    names = list(dict(fcn.trunk.body.named_modules()))
    if frozen is not None and frozen not in names:
        raise Problem(f'{fcn.name} has no module "{frozen}" to freeze up to; see its `stages`.')
    start = 0 if frozen is None else _last_inside(names, frozen) + 1
    chosen = names[start:_last_inside(names, fcn.trunk.features) + 1]
    modules = dict(fcn.trunk.body.named_modules())
    return [modules[name] for name in chosen if name and next(modules[name].parameters(recurse=False), None) is not None]


def _last_inside(names: Sequence[str], module: str) -> int:
    """Where the last of a module's own names stands: it comes before what lies inside it."""
    return max(i for i, name in enumerate(names) if name == module or name.startswith(f"{module}."))


def _epoch_rows(fcn: Fcn, val: Sequence[Sample], settings: TrainingSettings, phase: str, epoch: int, losses: list[float]) -> list[dict[str, Any]]:
    """Ten losses an epoch, each the mean of its share of steps; the last with the mean average precision on the validation images."""
    found = predict(fcn, val, rounded(settings.side), settings.batch, "validating")
    scores = multilabel_scores(found, labels(val, fcn.classes), np.full((1, len(val)), 1 / len(val)))
    parts = [part for part in np.array_split(np.arange(len(losses)), 10) if len(part)]
    rows = [{"phase": phase, "epoch": epoch + 1, "step": epoch * len(losses) + int(part[-1]) + 1, "loss": round(float(np.mean([losses[i] for i in part])), 5),
             "val_map": ""} for part in parts]
    rows[-1]["val_map"] = round(float(scores["map"][0]), 3)
    return rows
