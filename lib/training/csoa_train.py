"""Training of CSoA and of its parts, resumable after every epoch, on one process or several (section 4.1)."""
import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.nets import load_network
from lib.nets.two_classifiers import TwoClassifiers
from lib.papers.csoa import Extractor, Losses, losses, network_of
from lib.papers.csoa_losses import alpha_at
from lib.papers.csoa_settings import CsoaSettings, CsoaTraining, Position, Variant
from lib.parallel import averaged, share
from lib.problem import Problem
from lib.progress import progress
from lib.training.balanced import balanced_batches
from lib.training.checkpoint import load_checkpoint, save_checkpoint
from lib.training.csoa_batches import SingleObjects, training_batch

COLUMNS = ("epoch", "step", "loss", "cls", "inner", "coaug")


@dataclass(frozen=True)
class Job:
    """One network to train."""
    variant: Variant
    position: Position
    seed: int

    @property
    def name(self) -> str:
        return f"{self.variant}_{self.position}_seed{self.seed}"


def build(job: Job, network: str, classes: Sequence[str], training: CsoaTraining) -> TwoClassifiers:
    """An untrained network of a variant; the classifiers' first weights follow from the seed."""
    torch.manual_seed(job.seed)
    return network_of(job.variant, job.position, load_network(network, training.output_stride), classes, training.width)


def train(net: TwoClassifiers, job: Job, data: SingleObjects, settings: CsoaSettings, training: CsoaTraining, extractor: Extractor | None,
          checkpoint: Path, fingerprint: str) -> list[dict[str, Any]]:
    """Train in place; returns the rows of the curves. A checkpoint of the same fingerprint is gone on from, to the same losses."""
    device = next(net.parameters()).device
    optimiser, wrapped = _optimiser(net, training), _on_all_processes(net)
    saved = load_checkpoint(checkpoint, fingerprint, net)
    epoch, rows = (saved[0]["epoch"], saved[0]["rows"]) if saved else (0, [])
    if saved:
        optimiser.load_state_dict(saved[1])
    for epoch in range(epoch, training.epochs):
        for group in optimiser.param_groups:
            group["lr"] = group["first"] * training.decay ** epoch
        rows += _epoch(wrapped, job, data, settings, training, extractor, optimiser, epoch, device)
        if share()[0] == 0:
            save_checkpoint(checkpoint, fingerprint, net, optimiser, {"epoch": epoch + 1, "rows": rows})
    net.requires_grad_(False).eval()
    return rows


def curves(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of the curves as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def facts(job: Job, network: str, data: str, settings: CsoaSettings, training: CsoaTraining, code: Sequence[str]) -> dict[str, Any]:
    """Everything that the weights follow from."""
    return {"job": asdict(job), "network": network, "data": data, "settings": asdict(settings), "training": asdict(training), "code": list(code)}


def _epoch(net: nn.Module, job: Job, data: SingleObjects, settings: CsoaSettings, training: CsoaTraining, extractor: Extractor | None,
           optimiser: torch.optim.Optimizer, epoch: int, device: torch.device) -> list[dict[str, Any]]:
    """One row a step. Every process draws the same batches and takes its share of each."""
    draw = np.random.default_rng((job.seed, epoch))
    number, processes = share()
    if training.batch % processes:
        raise Problem(f"batch: {training.batch} images cannot be shared evenly by {processes} processes; choose a multiple of their number.")
    batches = balanced_batches(data.numbers("train"), training.batch, training.batch_classes, data.classes, draw)
    dtype = next(net.parameters()).dtype
    alpha, rows = alpha_at(epoch, training.epochs, settings.alpha), []
    for step, batch in enumerate(progress(batches, f"{job.name}, epoch {epoch + 1}/{training.epochs}")):
        places = range(len(batch))[number::processes]
        mine = [data.splits["train"][batch[place]] for place in places]
        images = training_batch(mine, training.side, [(job.seed, epoch, step, place) for place in places]).to(device, dtype, memory_format=torch.channels_last)
        classes = torch.tensor([data.classes.index(s.labels[0]) for s in mine], device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            found = losses(net, extractor, images, classes, settings, training.embedded_side)
        loss = found.total(alpha, settings.weight)
        if not torch.isfinite(loss):
            raise Problem(f"{job.name}: the loss is no longer finite in epoch {epoch + 1}, step {step + 1} (images {', '.join(s.id for s in mine)}); "
                          "lower the learning rate.")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rows.append(_row(epoch, epoch * len(batches) + step, loss, found))
    return rows


def _row(epoch: int, step: int, loss: Tensor, found: Losses) -> dict[str, Any]:
    parts = {"loss": loss, "cls": found.cls, "inner": found.inner, "coaug": found.coaug}
    return {"epoch": epoch + 1, "step": step + 1} | {k: "" if v is None else round(float(averaged(v.detach())), 5) for k, v in parts.items()}


def _optimiser(net: TwoClassifiers, training: CsoaTraining) -> torch.optim.Optimizer:
    """SGD over the classifiers and over the trunk's stages above `frozen`, up to its last map; normalisation statistics stay as they are."""
    net.requires_grad_(False)
    heads = [p for head in (net.w_l, net.w_f) if head is not None for p in head.parameters()]
    trunk = _unfrozen(net, training.frozen)
    for p in (*heads, *trunk):
        p.requires_grad_(True)
    groups = [{"params": heads, "lr": training.head_rate, "first": training.head_rate}]
    groups += [{"params": trunk, "lr": training.rate, "first": training.rate}] * bool(trunk)
    return torch.optim.SGD(groups, momentum=0.9, weight_decay=training.weight_decay)


def _unfrozen(net: TwoClassifiers, frozen: int) -> list[nn.Parameter]:
    """Parameters of the trunk between the end of a stage and its last map, in the order of the body."""
    names = [name for name, _ in net.trunk.body.named_modules() if name]
    first = _end_of(names, net.trunk.stages[f"stage{frozen}"]) + 1 if frozen else 0
    modules = dict(net.trunk.body.named_modules())
    return [p for name in names[first:_end_of(names, net.trunk.features) + 1] for p in modules[name].parameters(recurse=False)]


def _end_of(names: Sequence[str], module: str) -> int:
    return max(i for i, name in enumerate(names) if name == module or name.startswith(f"{module}."))


def _on_all_processes(net: TwoClassifiers) -> nn.Module:
    """Gradients averaged over the processes, if there are several."""
    if share()[1] == 1:
        return net
    return nn.parallel.DistributedDataParallel(net)
