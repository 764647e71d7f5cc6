"""A trained multi-label network as one safetensors file that knows what it is."""
from pathlib import Path

import torch

from lib.nets import load_network
from lib.nets.described import fill_described, read_described, save_described
from lib.nets.fcn import Fcn, fully_convolutional
from lib.problem import Problem

FIELDS = ("network", "output_stride", "classes", "width", "pooling", "facts")


def save_fcn(fcn: Fcn, path: Path, **facts: str | int | float) -> None:
    """Write weights and what it takes to build the network again, whole or not at all; `facts` are kept beside."""
    save_described(fcn, path, "fcn", {"network": fcn.name, "output_stride": fcn.trunk.output_stride, "classes": list(fcn.classes), "width": _width(fcn),
                                      "pooling": fcn.pooling, "facts": facts})


def read_header(path: Path | str) -> dict:
    """What `save_fcn` wrote beside the weights."""
    return read_described(path, "fcn", FIELDS, "a multi-label network", "dcsm_train")


def load_fcn(path: Path | str, expected: str | None = None) -> Fcn:
    """The network in evaluation mode, on the CPU; `expected` is the trunk that the caller counts on."""
    header = read_header(path)
    if expected not in (None, header["network"]):
        raise Problem(f"{path}: these are weights of {header['network']}, not of {expected}; name the file that belongs to it.")
    fcn = fully_convolutional(load_network(header["network"], header["output_stride"], pretrained=False), header["classes"], header["width"],
                              pooling=header["pooling"])
    fill_described(fcn, path, header["network"], len(header["classes"]))
    return fcn.requires_grad_(False).to(memory_format=torch.channels_last)


def _width(fcn: Fcn) -> int:
    return fcn.head[0].out_channels if len(fcn.head) > 2 else 0
