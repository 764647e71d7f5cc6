"""Training of CSoA and of its parts, resumable after every epoch, on one process or several (section 4.1)."""
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.base.parallel import averaged, share
from lib.base.problem import Problem
from lib.base.progress import progress
from lib.nets import load_network
from lib.nets.fold import fold_normalisation
from lib.papers.csoa.batches import SingleObjects, Squares, balanced_batches, enlarged, training_batch
from lib.papers.csoa.method import Extractor, Losses, alpha_at, losses, network_of
from lib.papers.csoa.runs import Job
from lib.papers.csoa.settings import CsoaSettings, CsoaTraining
from lib.papers.csoa.two_classifiers import TwoClassifiers
from lib.training.checkpoint import load_checkpoint, save_checkpoint

COLUMNS = ("epoch", "step", "loss", "cls", "inner", "coaug")


def build(job: Job, network: str, classes: Sequence[str], training: CsoaTraining) -> TwoClassifiers:
    """An untrained network of a variant; the classifiers' first weights follow from the seed.

    The trunk's normalisation is folded into its convolutions, since its statistics stay as they are.
    """
    torch.manual_seed(job.seed)
    return fold_normalisation(network_of(job.variant, job.position, load_network(network, training.output_stride), classes, training.width))


def train(net: TwoClassifiers, job: Job, data: SingleObjects, settings: CsoaSettings, training: CsoaTraining, extractor: Extractor | None,
          checkpoint: Path, fingerprint: str, squares: Squares | None = None) -> list[dict[str, Any]]:
    """Train in place; returns the rows of the curves. A checkpoint of the same fingerprint is gone on from, to the same losses."""
    device = next(net.parameters()).device
    optimiser, wrapped = optimiser_of(net, training), _on_all_processes(net)
    squares = squares or Squares(enlarged(training.side))
    saved = load_checkpoint(checkpoint, fingerprint, net)
    epoch, rows = (saved[0]["epoch"], saved[0]["rows"]) if saved else (0, [])
    if saved:
        optimiser.load_state_dict(saved[1])
    for epoch in range(epoch, training.epochs):
        for group in optimiser.param_groups:
            group["lr"] = group["first"] * training.decay ** epoch
        rows += _epoch(wrapped, job, data, squares, settings, training, extractor, optimiser, epoch, device)
        if share()[0] == 0:
            save_checkpoint(checkpoint, fingerprint, net, optimiser, {"epoch": epoch + 1, "rows": rows})
    net.requires_grad_(False).eval()
    return rows


def facts(job: Job, network: str, data: str, least: int, settings: CsoaSettings, training: CsoaTraining,
          code: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the weights follow from."""
    return {"job": asdict(job), "network": network, "data": data, "least": least, "settings": asdict(settings),
            "training": asdict(training), "code": dict(code)}


def _epoch(net: nn.Module, job: Job, data: SingleObjects, squares: Squares, settings: CsoaSettings, training: CsoaTraining, extractor: Extractor | None,
           optimiser: torch.optim.Optimizer, epoch: int, device: torch.device) -> list[dict[str, Any]]:
    """One row a step. Every process draws the same batches and takes its share of each."""
    draw = np.random.default_rng((job.seed, epoch))
    number, processes = share()
    if training.batch % processes:
        raise Problem(f"batch: {training.batch} images cannot be shared evenly by {processes} processes; choose a multiple of their number.")
    batches = balanced_batches(data.numbers("train"), training.batch, training.batch_classes, data.classes, draw)
    dtype = next(net.parameters()).dtype
    alpha, rows = alpha_at(epoch, training.epochs, settings.alpha, settings.rise), []
    for step, batch in enumerate(progress(batches, f"{job.name}, epoch {epoch + 1}/{training.epochs}")):
        places = range(len(batch))[number::processes]
        mine = [data.splits["train"][batch[place]] for place in places]
        keys = [(job.seed, epoch, step, place) for place in places]
        images = training_batch(squares, mine, training.side, keys).to(device, dtype, memory_format=torch.channels_last)
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


def optimiser_of(net: TwoClassifiers, training: CsoaTraining) -> torch.optim.Optimizer:
    """SGD over the classifiers and over the trunk's stages above `frozen`, up to its last map; normalisation statistics stay as they are."""
    net.requires_grad_(False)
    heads = [p for head in (net.w_l, net.w_f) if head is not None for p in head.parameters()]
    trunk = _unfrozen(net, training)
    for p in (*heads, *trunk):
        p.requires_grad_(True)
    groups = [{"params": heads, "lr": training.head_rate, "first": training.head_rate}]
    groups += [{"params": trunk, "lr": training.rate, "first": training.rate}] * bool(trunk)
    return torch.optim.SGD(groups, momentum=0.9, weight_decay=training.weight_decay)


def _unfrozen(net: TwoClassifiers, training: CsoaTraining) -> list[nn.Parameter]:
    """Parameters of the trunk between the end of a stage and its last map, in the order of the body."""
    modules = dict(net.trunk.body.named_modules())
    names = [name for name in modules if name]
    first = _end_of(names, net.trunk.stages[f"stage{training.frozen}"]) + 1 if training.frozen else 0
    chosen = [modules[name] for name in names[first:_end_of(names, net.trunk.features) + 1]]
    return [p for module in chosen if training.depthwise or not _is_depthwise(module) for p in module.parameters(recurse=False)]


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups > 1 and module.groups == module.in_channels


def _end_of(names: Sequence[str], module: str) -> int:
    return max(i for i, name in enumerate(names) if name == module or name.startswith(f"{module}."))


def _on_all_processes(net: TwoClassifiers) -> nn.Module:
    """Gradients averaged over the processes, if there are several."""
    if share()[1] == 1:
        return net
    return nn.parallel.DistributedDataParallel(net)
