"""A trained network with two classifiers as one safetensors file that knows what it is."""
from pathlib import Path
from typing import Any

import torch

from lib.nets import load_network
from lib.nets.described import fill_described, read_described, save_described
from lib.nets.fold import fold_normalisation
from lib.nets.two_classifiers import TwoClassifiers

FIELDS = ("network", "output_stride", "classes", "inner", "width", "side", "facts")


def save_two_classifiers(net: TwoClassifiers, path: Path, side: int, **facts: str | int | float) -> None:
    """Write weights and what it takes to build the network again; `side` is that of the squares it was trained on."""
    save_described(net, path, "two_classifiers", {
        "network": net.trunk.name, "output_stride": net.trunk.output_stride, "classes": list(net.classes), "inner": net.stage,
        "width": net.w_l[0].out_channels, "side": side, "facts": facts})


def read_two_classifiers(path: Path | str) -> dict[str, Any]:
    """What `save_two_classifiers` wrote beside the weights."""
    return read_described(path, "two_classifiers", FIELDS, "a network with two classifiers", "csoa_train")


def load_two_classifiers(path: Path | str) -> TwoClassifiers:
    """The network in evaluation mode, its normalisation folded, on the CPU."""
    header = read_two_classifiers(path)
    trunk = load_network(header["network"], header["output_stride"], pretrained=False)
    net = fold_normalisation(TwoClassifiers(trunk, header["inner"], header["classes"], header["width"]))
    fill_described(net, path, header["network"], len(header["classes"]))
    return net.requires_grad_(False).to(memory_format=torch.channels_last)
