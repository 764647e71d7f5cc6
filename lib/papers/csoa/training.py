"""Training of one of CSoA's networks, on one process or several (section 4.1); resumes after any epoch."""
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from lib.base.parallel import averaged, share
from lib.base.problem import Problem
from lib.base.progress import progress
from lib.base.spent import spends
from lib.data.dataset import Sample
from lib.data.loading import Reading, loaded, to_device
from lib.nets import load_network
from lib.nets.fold import fold_normalisation
from lib.papers.csoa.batches import SingleObjects, Squares, balanced_batches, training_batch
from lib.papers.csoa.method import Extractor, Losses, alpha_at, losses, network_of
from lib.papers.csoa.runs import Job
from lib.papers.csoa.settings import CsoaSettings, CsoaTraining
from lib.papers.csoa.two_classifiers import TwoClassifiers
from lib.training.checkpoint import load_checkpoint, save_checkpoint
from lib.training.loss import finite_value

Row = dict[str, Any]   # of the curves, one a step
Values = dict[str, Tensor | None]   # the losses of a step by their columns; None where there is no such loss
COLUMNS: tuple[str, ...] = ("epoch", "step", "loss", "cls", "inner", "coaug")


@dataclass(frozen=True)
class TrainingTask:
    """Everything that one network learns from, and how.

    job         its variant, position and seed
    images      of single objects
    squares     their photographs, larger than the network's input (`enlarged`): crops are taken out of them
    settings    constants of the losses
    training    batches, epochs and rates
    extractor   embeds what CoAug compares; None for variants without it
    """
    job: Job
    images: SingleObjects
    squares: Squares
    settings: CsoaSettings
    training: CsoaTraining
    extractor: Extractor | None


def build(job: Job, network: str, classes: Sequence[str], training: CsoaTraining) -> TwoClassifiers:
    """An untrained network of a variant; the classifiers' first weights follow from the seed.

    The trunk's normalisation is folded into its convolutions, since its statistics stay as they are.
    """
    torch.manual_seed(job.seed)
    trunk = load_network(network, training.output_stride)
    return fold_normalisation(network_of(job.variant, job.position, trunk, classes, training.width))


@spends("training")
def train(net: TwoClassifiers, task: TrainingTask, checkpoint: Path, fingerprint: str) -> list[Row]:
    """Train in place; returns the rows of the curves.

    Where a checkpoint of the same fingerprint is there, training resumes from it, to the same losses.
    """
    training = task.training
    task.squares.keep(task.images.splits["train"])
    optimiser = optimiser_of(net, training)
    wrapped = _on_all_processes(net)
    rows: list[Row] = []
    first = 0
    if saved := load_checkpoint(checkpoint, fingerprint, net):
        state, optimiser_state = saved
        first = state["epoch"]
        rows = state["rows"]
        optimiser.load_state_dict(optimiser_state)
    for epoch in range(first, training.epochs):
        for group in optimiser.param_groups:
            group["lr"] = group["first"] * training.decay ** epoch
        rows += _epoch(wrapped, task, optimiser, epoch)
        if share()[0] == 0:
            save_checkpoint(checkpoint, fingerprint, net, optimiser, {"epoch": epoch + 1, "rows": rows})
    net.requires_grad_(False).eval()
    return rows


def _epoch(net: nn.Module, task: TrainingTask, optimiser: Optimizer, epoch: int) -> list[Row]:
    """One row a step. Every process draws the same batches and takes its share of each."""
    training, images = task.training, task.images
    if training.batch % share()[1]:
        raise Problem(f"batch: {training.batch} images cannot be shared evenly by {share()[1]} processes; "
                      "choose a multiple of their number.")
    draw = np.random.default_rng((task.job.seed, epoch))
    numbers = images.numbers("train")
    batches = balanced_batches(numbers, training.batch, training.batch_classes, images.classes, draw)
    shares = [_share(task, batch, (epoch, step)) for step, batch in enumerate(batches)]
    label = f"{task.job.name}, epoch {epoch + 1}/{training.epochs}"
    views = progress(loaded([share.reading for share in shares]), label, len(shares))
    curves = [_step(net, task, optimiser, *both) for both in zip(shares, views, strict=True)]
    # Read after the last step: a GPU's numbers would have to be waited for in every step.
    first = epoch * len(batches)
    return [_row(epoch, first + step, values) for step, values in enumerate(curves)]


@dataclass(frozen=True)
class Share:
    """What this process sees of a batch, at `moment`, which is (epoch, step), and how that is read."""
    samples: list[Sample]
    moment: tuple[int, int]
    reading: Reading[Tensor]


def _share(task: TrainingTask, batch: Sequence[int], moment: tuple[int, int]) -> Share:
    number, processes = share()
    places = range(len(batch))[number::processes]
    samples = [task.images.splits["train"][batch[place]] for place in places]
    keys = [(task.job.seed, *moment, place) for place in places]
    return Share(samples, moment, partial(training_batch, task.squares, samples, task.training.side, keys))


def _step(net: nn.Module, task: TrainingTask, optimiser: Optimizer, own: Share, views: Tensor) -> Values:
    """One step on this process's share of a batch."""
    epoch, step = own.moment
    settings, training = task.settings, task.training
    first = next(net.parameters())
    pixels = to_device(views, first.device).to(first.dtype)
    numbers = [task.images.classes.index(sample.labels[0]) for sample in own.samples]
    classes = torch.tensor(numbers, device=first.device)
    with _half_on_a_gpu(first.device):
        parts = losses(net, task.extractor, pixels, classes, settings, training.embedded_side)
    alpha = alpha_at(epoch, training.epochs, settings.alpha, settings.rise)
    loss = parts.total(alpha, settings.weight)
    ids = ", ".join(sample.id for sample in own.samples)
    finite_value(loss, f"{task.job.name}: the loss is no longer finite in epoch {epoch + 1}, step {step + 1} "
                       f"(images {ids}); lower the learning rate.")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return _values(loss, parts)


def _half_on_a_gpu(device: torch.device) -> AbstractContextManager[None]:
    """Networks run in bfloat16 where a GPU is."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def _values(loss: Tensor, parts: Losses) -> Values:
    """The losses of a step without their graph."""
    known = {"loss": loss, "cls": parts.cls, "inner": parts.inner, "coaug": parts.coaug}
    return {name: None if value is None else value.detach() for name, value in known.items()}


def _row(epoch: int, step: int, values: Values) -> Row:
    row: Row = {"epoch": epoch + 1, "step": step + 1}
    for name, value in values.items():
        row[name] = "" if value is None else round(float(averaged(value)), 5)
    return row


def optimiser_of(net: TwoClassifiers, training: CsoaTraining) -> Optimizer:
    """SGD over the classifiers and over the trunk's stages above `frozen`, up to its last feature map.

    Normalisation statistics stay as they are.
    """
    net.requires_grad_(False)
    heads = list(net.w_l.parameters())
    if net.w_f is not None:
        heads += net.w_f.parameters()
    trunk = _unfrozen(net, training)
    for parameter in (*heads, *trunk):
        parameter.requires_grad_(True)
    groups = [{"params": heads, "lr": training.head_rate, "first": training.head_rate}]
    if trunk:
        groups.append({"params": trunk, "lr": training.rate, "first": training.rate})
    return SGD(groups, momentum=0.9, weight_decay=training.weight_decay)


def _unfrozen(net: TwoClassifiers, training: CsoaTraining) -> list[nn.Parameter]:
    """Parameters of the trunk from the end of stage `frozen` to its last feature map, in the body's order."""
    modules = dict(net.trunk.body.named_modules())
    names = [name for name in modules if name]
    first = 0
    if training.frozen:
        first = _end_of(names, net.trunk.stages[f"stage{training.frozen}"]) + 1
    parameters: list[nn.Parameter] = []
    for name in names[first:_end_of(names, net.trunk.features) + 1]:
        if training.depthwise or not _is_depthwise(modules[name]):
            parameters += modules[name].parameters(recurse=False)
    return parameters


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups > 1 and module.groups == module.in_channels


def _end_of(names: Sequence[str], module: str) -> int:
    """Where the last module that lies within another one stands in the list, itself included."""
    inside = [place for place, name in enumerate(names) if name == module or name.startswith(f"{module}.")]
    return max(inside)


def _on_all_processes(net: TwoClassifiers) -> nn.Module:
    """Gradients averaged over the processes, if there are several."""
    if share()[1] == 1:
        return net
    return nn.parallel.DistributedDataParallel(net)
