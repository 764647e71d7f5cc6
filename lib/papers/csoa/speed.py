"""How long a training step of CSoA takes, what of it the losses are, and what pairing images one by one would cost."""
from collections.abc import Callable

import torch
from torch import Tensor

from lib.base import parallel
from lib.base.process import medians
from lib.nets import load_network
from lib.nets.fold import fold_normalisation
from lib.papers.csoa.method import Embedded, Extractor, coaug_loss, confseg_loss, distance, losses
from lib.papers.csoa.runs import POSITION, Job
from lib.papers.csoa.settings import CsoaSettings, CsoaTraining
from lib.papers.csoa.training import build, optimiser_of


def measure(network: str, classes: int, settings: CsoaSettings, training: CsoaTraining) -> dict[str, float]:
    """Milliseconds a step by variant, of the losses alone, and of a loop over pairs; images a second and the losses' share in percent.

    The losses: ConfSeg and CoAug from maps and vectors that are there, forward and back, without any network. Medians of rounds in
    which all take turns, after one that warms up.
    """
    torch.manual_seed(0)
    device = parallel.device()
    images = torch.rand(training.batch, 3, training.side, training.side, device=device)
    labels = torch.arange(training.batch, device=device) % min(training.batch_classes, classes)
    extractor = fold_normalisation(Extractor(load_network(network))).to(device, memory_format=torch.channels_last)
    side = training.side // training.output_stride
    maps = [torch.randn(training.batch, classes, side, side, device=device, requires_grad=True) for _ in range(2)]
    width = extractor(images[:1, :, :64, :64]).shape[1]
    vectors = Embedded(*(torch.rand(training.batch, width, device=device, requires_grad=True) for _ in range(3)))

    def alone(pairs: Callable[..., Tensor]) -> None:
        (confseg_loss(*maps, labels, settings) + pairs(vectors, labels, settings.gamma, settings.delta)).backward()
        _finish(images)

    actions = {f"step, {variant}": _step(variant, network, classes, settings, training, extractor, images, labels) for variant in ("base", "confseg", "coaug", "csoa")}
    actions |= {"ConfSeg and CoAug alone": lambda: alone(coaug_loss), "the same, a loop over pairs": lambda: alone(one_by_one)}
    times = medians(actions)
    whole = times["step, csoa"]
    return times | {"share of the losses in a step of CSoA (%)": 100 * times["ConfSeg and CoAug alone"] / whole,
                    "images a second, CSoA": 1000 * training.batch / whole, "images a second, base": 1000 * training.batch / times["step, base"]}


def one_by_one(vectors: Embedded, classes: Tensor, gamma: float, delta: float) -> Tensor:
    """eq. 12, one pair of images after the other."""
    total: dict[bool, list[Tensor]] = {True: [], False: []}
    for m in range(len(classes)):
        for n in range(len(classes)):
            if m != n:
                back = gamma * sum(distance(vectors.b[i], vectors.mask_b[i]) for i in (m, n))
                cam = sum(distance(vectors.f[i], vectors.b[i]) for i in (m, n)) / 2
                between, same = distance(vectors.f[m], vectors.f[n]), bool(classes[m] == classes[n])
                total[same].append((back + between) / cam if same else back / (delta * between + cam))
    return sum(torch.stack(values).mean() for values in total.values() if values)


def _step(variant: str, network: str, classes: int, settings: CsoaSettings, training: CsoaTraining, extractor: Extractor, images: Tensor,
          labels: Tensor) -> Callable[[], None]:
    net = build(Job(variant, POSITION, 0), network, [str(c) for c in range(classes)], training).to(images.device, memory_format=torch.channels_last)
    optimiser = optimiser_of(net, training)

    def step() -> None:
        optimiser.zero_grad()
        found = losses(net, extractor if variant in ("coaug", "csoa") else None, images, labels, settings, training.embedded_side)
        found.total(settings.alpha, settings.weight).backward()
        optimiser.step()
        _finish(images)
    return step


def _finish(on: Tensor) -> None:
    if on.is_cuda:
        torch.cuda.synchronize()
