"""Class activation maps beside a bare forward pass, torch-cam and pytorch-grad-cam."""
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lib.base.parallel import device
from lib.base.race import Effort, Race, Runner
from lib.maps.cam import cam, class_scores, normalise
from lib.nets import load_network
from lib.nets.network import Network

NETWORK = "efficientnet_lite0"
SIDE = 224
BATCHES: tuple[int, ...] = (1, 8, 16, 32)
FRONT = 16       # the batch on the front page
CLASSES = 4      # of an image, where it has several
SEVERAL = 8      # images, where each has several classes
SLACK = 1.1      # a forward pass may take so many times as long with its maps as without
FASTER = 3.0     # than pytorch-grad-cam at batch FRONT


@dataclass(frozen=True)
class Batch:
    """Images `(B, 3, H, W)` with the best class of each `(B,)`, or its best classes `(B, C)`, best first."""
    network: Network
    images: Tensor
    classes: Tensor

    @property
    def features(self) -> torch.nn.Module:
        """The module that yields the last feature maps."""
        return self.network.body.get_submodule(self.network.features)

    @torch.inference_mode()
    def feature_maps(self) -> Tensor:
        """One forward pass, up to the last feature maps and on to the logits."""
        return self.network.activations(self.images, [self.network.features])[self.network.features]

    @torch.inference_mode()
    def logits(self) -> Tensor:
        """A forward pass without any maps."""
        return self.network(self.images)


def races(effort: Effort) -> Iterator[Race]:
    """Maps alone, then enlarged to the image, at every batch; then several classes an image."""
    side = SIDE // 4 if effort.quick else SIDE
    network = load_network(NETWORK).to(device(), memory_format=torch.channels_last)
    for size in BATCHES[:1] if effort.quick else BATCHES:
        batch = batch_of(network, size, side)
        yield alone(batch)
        yield enlarged(batch)
    several = 2 if effort.quick else SEVERAL
    yield of_several_classes(batch_of(network, several, side, CLASSES))


@torch.inference_mode()
def batch_of(network: Network, size: int, side: int, classes: int = 0) -> Batch:
    """Random images, each with its best class, or with so many of its best."""
    images = torch.rand(size, 3, side, side, generator=torch.Generator().manual_seed(0))
    where = next(network.parameters()).device
    images = images.to(where, memory_format=torch.channels_last)
    logits = network(images)
    best = logits.topk(classes).indices if classes else logits.argmax(1)
    return Batch(network, images, best.clone())


def alone(batch: Batch) -> Race:
    """The map of one class an image, as large as the last feature maps."""
    weight = batch.network.classifier[0]

    @torch.inference_mode()
    def ours() -> Tensor:
        return cam(batch.feature_maps(), weight, batch.classes)[:, 0]

    size = len(batch.images)
    peers = [Runner("forward pass, no maps", batch.logits, least=round(1 / SLACK, 3)),
             Runner("torch-cam, CAM", torch_cam(batch), maps=lambda maps: maps)]
    return Race("cam", f"maps alone, batch {size}", size, ours, peers, front=size == FRONT)


def enlarged(batch: Batch) -> Race:
    """The positive part of the same map, enlarged to the image and stretched to 0..1, as Grad-CAM's."""
    weight = batch.network.classifier[0]

    @torch.inference_mode()
    def ours() -> Tensor:
        maps = cam(batch.feature_maps(), weight, batch.classes)
        return _as_large_as(batch.images, maps)[:, 0]

    size = len(batch.images)
    least = FASTER if size == FRONT else None
    peer = Runner("pytorch-grad-cam, GradCAM", grad_cam(batch, batch.classes), lambda maps: maps, least)
    return Race("cam", f"enlarged, batch {size}", size, ours, [peer], tolerance=1e-3, front=size == FRONT)


def of_several_classes(batch: Batch) -> Race:
    """The same for several classes an image: one forward pass here, one for each class there."""
    weight = batch.network.classifier[0]

    @torch.inference_mode()
    def ours() -> Tensor:
        every = class_scores(batch.feature_maps(), weight)
        numbers = batch.classes[:, :, None, None].expand(-1, -1, *every.shape[2:])
        return _as_large_as(batch.images, every.gather(1, numbers))

    by_class = [grad_cam(batch, of_image) for of_image in batch.classes.T]
    peer = Runner("pytorch-grad-cam, GradCAM", lambda: [run() for run in by_class],
                  lambda maps: torch.stack([torch.from_numpy(of_class) for of_class in maps], 1))
    size, classes = batch.classes.shape
    return Race("cam", f"enlarged, {classes} classes, batch {size}", size, ours, [peer], tolerance=1e-3)


def torch_cam(batch: Batch) -> Callable[[], Tensor]:
    """torch-cam's CAM of one class an image, not normalised: hooks, a forward pass, maps."""
    from torchcam.methods import CAM

    network = batch.network
    classes = batch.classes.tolist()

    @torch.no_grad()
    def run() -> Tensor:
        with CAM(network.body, network.features, network.linear) as extract:
            return extract(classes, network(batch.images), normalized=False)[0]

    return run


def grad_cam(batch: Batch, classes: Tensor) -> Callable[[], Any]:
    """pytorch-grad-cam's GradCAM of one class an image: NumPy maps of the image's size in 0..1."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(number) for number in classes.tolist()]

    def run() -> Any:
        with GradCAM(batch.network, [batch.features]) as extract:
            return extract(batch.images, targets)

    return run


def _as_large_as(images: Tensor, maps: Tensor) -> Tensor:
    large = interpolate(maps.clamp(min=0), images.shape[2:], mode="bilinear", align_corners=False)
    return normalise(large)
