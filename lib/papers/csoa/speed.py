"""How long a training step of CSoA takes, how much of it the losses, and what a loop over pairs costs."""
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.base import parallel
from lib.base.process import medians
from lib.nets import load_network
from lib.nets.fold import fold_normalisation
from lib.papers.csoa.method import Embedded, Extractor, coaug_loss, confseg_loss, distance, losses
from lib.papers.csoa.runs import POSITION, Job
from lib.papers.csoa.settings import CsoaSettings, CsoaTraining, Variant
from lib.papers.csoa.training import build, optimiser_of

VARIANTS: tuple[Variant, ...] = ("base", "confseg", "coaug", "csoa")


@dataclass(frozen=True)
class StepInputs:
    """A batch of a size as in training, and what every variant's step needs besides."""
    network: str
    classes: int
    settings: CsoaSettings
    training: CsoaTraining
    extractor: Extractor
    images: Tensor
    labels: Tensor


def measure(network: str, classes: int, settings: CsoaSettings, training: CsoaTraining) -> dict[str, float]:
    """Milliseconds a step by variant, of the losses alone, and of a loop over pairs.

    From them follow the losses' share in percent and images a second. The losses are ConfSeg and CoAug from
    maps and vectors that are there, forward and backward pass, without any network. All take turns, and each
    number is the median of its rounds.
    """
    inputs = _inputs(network, classes, settings, training)
    actions = {f"step, {variant}": _step(variant, inputs) for variant in VARIANTS}
    actions["ConfSeg and CoAug alone"] = _losses_alone(inputs, coaug_loss)
    actions["the same, a loop over pairs"] = _losses_alone(inputs, one_by_one)
    times = medians(actions)
    whole = times["step, csoa"]
    alone = times["ConfSeg and CoAug alone"]
    return times | {"share of the losses in a step of CSoA (%)": 100 * alone / whole,
                    "images a second, CSoA": 1000 * training.batch / whole,
                    "images a second, base": 1000 * training.batch / times["step, base"]}


def one_by_one(vectors: Embedded, classes: Tensor, gamma: float, delta: float) -> Tensor:
    """L_D of eq. 12, one pair of images after the other."""
    alike: list[Tensor] = []
    different: list[Tensor] = []
    for m in range(len(classes)):
        for n in range(len(classes)):
            if m == n:
                continue
            back = gamma * sum(distance(vectors.b[i], vectors.mask_b[i]) for i in (m, n))
            cam = sum(distance(vectors.f[i], vectors.b[i]) for i in (m, n)) / 2
            between = distance(vectors.f[m], vectors.f[n])
            if classes[m] == classes[n]:
                alike.append((back + between) / cam)
            else:
                different.append(back / (delta * between + cam))
    return sum(torch.stack(values).mean() for values in (alike, different) if values)


def _inputs(network: str, classes: int, settings: CsoaSettings, training: CsoaTraining) -> StepInputs:
    torch.manual_seed(0)
    device = parallel.device()
    images = torch.rand(training.batch, 3, training.side, training.side, device=device)
    labels = torch.arange(training.batch, device=device) % min(training.batch_classes, classes)
    extractor = fold_normalisation(Extractor(load_network(network)))
    extractor = extractor.to(device, memory_format=torch.channels_last)
    return StepInputs(network, classes, settings, training, extractor, images, labels)


def _step(variant: Variant, inputs: StepInputs) -> Callable[[], None]:
    """A whole training step of a variant."""
    settings, training = inputs.settings, inputs.training
    names = [str(number) for number in range(inputs.classes)]
    net = build(Job(variant, POSITION, 0), inputs.network, names, training)
    net = net.to(inputs.images.device, memory_format=torch.channels_last)
    optimiser = optimiser_of(net, training)
    extractor = inputs.extractor if variant in ("coaug", "csoa") else None

    def step() -> None:
        optimiser.zero_grad()
        parts = losses(net, extractor, inputs.images, inputs.labels, settings, training.embedded_side)
        parts.total(settings.alpha, settings.weight).backward()
        optimiser.step()

    return step


def _losses_alone(inputs: StepInputs, pairs: Callable[..., Tensor]) -> Callable[[], None]:
    """ConfSeg and CoAug from class maps and embedded vectors that are there, to the gradients of both."""
    settings, training = inputs.settings, inputs.training
    device = inputs.images.device
    side = training.side // training.output_stride
    depth = inputs.extractor(inputs.images[:1, :, :64, :64]).shape[1]
    maps_shape = (training.batch, inputs.classes, side, side)
    s_l, s_f = (torch.randn(maps_shape, device=device, requires_grad=True) for _ in range(2))
    vectors_shape = (training.batch, depth)
    vectors = Embedded(*(torch.rand(vectors_shape, device=device, requires_grad=True) for _ in range(3)))

    def step() -> None:
        confseg = confseg_loss(s_l, s_f, inputs.labels, settings)
        coaug = pairs(vectors, inputs.labels, settings.gamma, settings.delta)
        (confseg + coaug).backward()

    return step
