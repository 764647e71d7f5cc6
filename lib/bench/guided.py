"""Guided backpropagation of several classes to many layers, beside packages that know the image alone."""
import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.base.parallel import device
from lib.base.race import Effort, Race, Runner
from lib.maps.backprop import trace
from lib.nets import load_network
from lib.nets.fcn import IMAGE, Fcn, fully_convolutional

NETWORK = "torchvision_vgg16"   # rectifiers that are modules, used once each: the peers find no others
STRIDE = 8
LAYERS: tuple[str, ...] = tuple(f"features.{number}" for number in (11, 13, 15, 18, 20, 22, 25, 27, 29))
CLASSES = 4
SIDE = 224


@dataclass(frozen=True)
class Scene:
    """An image `(1, 3, H, W)`, classes `(C,)`, and the layers beside the image that derivatives go to."""
    fcn: Fcn
    image: Tensor
    classes: Tensor
    layers: Sequence[str]


class SummedScores(nn.Module):
    """Class scores `(B, K)`: the sum of each score map, which is where derivatives start in DCSM.

    A copy of the network, since some packages exchange its modules. Its trunk ends in its last maps.
    """

    def __init__(self, fcn: Fcn) -> None:
        super().__init__()
        self.fcn = copy.deepcopy(fcn)

    def forward(self, rgb: Tensor) -> Tensor:
        return self.fcn.head(self.fcn.trunk(rgb)).sum((2, 3))


def races(effort: Effort) -> Iterator[Race]:
    """One image, several classes."""
    yield race(scene_of(SIDE // 7 if effort.quick else SIDE))


def scene_of(side: int) -> Scene:
    """VGG-16 with random weights, on which the time does not depend."""
    torch.manual_seed(0)
    trunk = load_network(NETWORK, STRIDE, pretrained=False)
    fcn = fully_convolutional(trunk, [str(number) for number in range(20)])
    fcn = fcn.requires_grad_(False).to(device(), memory_format=torch.channels_last)
    image = torch.rand(1, 3, side, side, device=device()).contiguous(memory_format=torch.channels_last)
    return Scene(fcn, image, torch.arange(CLASSES), LAYERS)


def race(scene: Scene) -> Race:
    """Ours at the image and all layers, theirs at the image alone; compared at the image."""
    wanted = [IMAGE, *scene.layers]

    def ours() -> Tensor:
        traced = trace(lambda image: scene.fcn.scores_and_layers(image, wanted), scene.image, guided=True)
        return traced.gradients(scene.classes[None])[IMAGE][0]

    peers = [Runner("pytorch-grad-cam, GuidedBackpropReLUModel", grad_cam(scene), torch.stack),
             Runner("its backward passes alone", backward_passes(scene), torch.stack, least=1.0),
             Runner("captum, GuidedBackprop", captum(scene), torch.stack),
             Runner("zennit, GuidedBackprop", zennit(scene), torch.stack)]
    classes = len(scene.classes)
    setting = f"{classes} classes: ours at {len(scene.layers)} layers and the image, theirs at the image"
    return Race("guided", setting, 1, ours, peers, front=True)


def grad_cam(scene: Scene) -> Callable[[], list[Tensor]]:
    """pytorch-grad-cam: a forward and a backward pass for each class."""
    from pytorch_grad_cam import GuidedBackpropReLUModel

    model = SummedScores(scene.fcn)

    def run() -> list[Tensor]:
        maps = []
        for number in scene.classes.tolist():
            gradient = GuidedBackpropReLUModel(model)(scene.image.clone(), number)
            maps.append(torch.from_numpy(gradient).abs().amax(2))
        return maps

    return run


def backward_passes(scene: Scene) -> Callable[[], list[Tensor]]:
    """pytorch-grad-cam without its forward passes: one backward pass a class, through a graph that stays."""
    from pytorch_grad_cam.guided_backprop import GuidedBackpropReLUasModule
    from pytorch_grad_cam.utils.find_layers import replace_all_layer_type_recursive

    model = SummedScores(scene.fcn)
    replace_all_layer_type_recursive(model, nn.ReLU, GuidedBackpropReLUasModule())
    image = scene.image.clone().requires_grad_()
    scores = model(image)

    def run() -> list[Tensor]:
        maps = []
        for number in scene.classes.tolist():
            image.grad = None
            scores[0, number].backward(retain_graph=True)
            maps.append(image.grad[0].abs().amax(0))
        return maps

    return run


def captum(scene: Scene) -> Callable[[], list[Tensor]]:
    """Captum: the same."""
    from captum.attr import GuidedBackprop

    extract = GuidedBackprop(SummedScores(scene.fcn))

    def run() -> list[Tensor]:
        maps = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")   # it says at every call that it hooks rectifiers
            for number in scene.classes.tolist():
                gradient = extract.attribute(scene.image.clone().requires_grad_(), number)
                maps.append(gradient[0].detach().abs().amax(0))
        return maps

    return run


def zennit(scene: Scene) -> Callable[[], list[Tensor]]:
    """Zennit: the same."""
    from zennit.attribution import Gradient
    from zennit.composites import GuidedBackprop

    model = SummedScores(scene.fcn)

    def run() -> list[Tensor]:
        maps = []
        with Gradient(model=model, composite=GuidedBackprop()) as attribute:
            for number in scene.classes.tolist():
                start = torch.eye(len(scene.fcn.classes), device=scene.image.device)[[number]]
                _, gradient = attribute(scene.image.clone().requires_grad_(), start)
                maps.append(gradient[0].abs().amax(0))
        return maps

    return run
