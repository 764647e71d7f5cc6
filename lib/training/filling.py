"""Training of a filling module on pseudo masks, resumable after every pass (sections 3.2 and 3.3)."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.papers.iam_settings import FillingTraining
from lib.problem import Problem
from lib.progress import progress
from lib.refine.extent_filling import ExtentFilling
from lib.training.checkpoint import load_checkpoint, save_checkpoint
from lib.training.filling_lessons import Batch, Lesson, batch_of

COLUMNS = ("epoch", "step", "loss")


def train_filling(filling: ExtentFilling, given: Sequence[Lesson], k: int, training: FillingTraining, seed: int, checkpoint: Path, fingerprint: str,
                  label: str) -> list[dict[str, Any]]:
    """Train in place; returns the rows of the curves. A checkpoint of the same fingerprint is gone on from, to the same losses."""
    optimiser = _optimiser(filling, training)
    saved = load_checkpoint(checkpoint, fingerprint, filling)
    done, rows = (saved[0]["epoch"], saved[0]["rows"]) if saved else (0, [])
    if saved:
        optimiser.load_state_dict(saved[1])
    filling.train()
    for epoch in range(done, training.passes):
        rows += _pass(filling, given, k, training, optimiser, seed, epoch, f"{label}, pass {epoch + 1}/{training.passes}")
        save_checkpoint(checkpoint, fingerprint, filling, optimiser, {"epoch": epoch + 1, "rows": rows})
    filling.requires_grad_(False).eval()
    return rows


def filling_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Binary cross-entropy over the pixels that show the image, every peak alike."""
    each = binary_cross_entropy_with_logits(logits, batch.targets.float(), reduction="none") * batch.valid
    return (each.sum((1, 2)) / batch.valid.sum((1, 2))).mean()


def _pass(filling: ExtentFilling, given: Sequence[Lesson], k: int, training: FillingTraining, optimiser: torch.optim.Optimizer, seed: int, epoch: int,
          label: str) -> list[dict[str, Any]]:
    order = np.random.default_rng((seed, epoch)).permutation(len(given))
    parts = [order[i:i + training.batch] for i in range(0, len(order), training.batch)]
    device, rows = next(filling.parameters()).device, []
    for step, part in enumerate(progress(parts, label)):
        generator = torch.Generator().manual_seed(int(np.random.default_rng((seed, epoch, step)).integers(2 ** 31)))
        batch = batch_of([given[i] for i in part], k, generator, device)
        if batch is None:
            continue
        for group in optimiser.param_groups:   # the polynomial fall of the classifier's training
            group["lr"] = training.rate * (1 - (epoch * len(parts) + step) / (training.passes * len(parts))) ** 0.9
        loss = filling_loss(filling(batch.prms, batch.levels, batch.image), batch)
        if not torch.isfinite(loss):
            raise Problem(f"{label}: the loss is no longer finite in step {step + 1}; lower the rate.")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rows.append({"epoch": epoch + 1, "step": epoch * len(parts) + step + 1, "loss": round(loss.item(), 5)})
    if not rows:
        raise Problem(f"{label}: no peak of any training image has a proposal that holds enough of it; lower iam.retrieval.overlap or find more proposals.")
    return rows


def _optimiser(filling: ExtentFilling, training: FillingTraining) -> torch.optim.Optimizer:
    if training.optimiser == "sgd":
        return torch.optim.SGD(filling.parameters(), training.rate, momentum=0.9, weight_decay=1e-4)
    return torch.optim.Adam(filling.parameters(), training.rate)
