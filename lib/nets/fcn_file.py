"""A trained multi-label network as one safetensors file that knows what it is."""
import json
from pathlib import Path

import torch

from lib.files import whole_file
from lib.nets import load_network
from lib.nets.fcn import Fcn, fully_convolutional
from lib.problem import Problem


def save_fcn(fcn: Fcn, path: Path, **facts: str | int | float) -> None:
    """Write weights and what it takes to build the network again, whole or not at all; `facts` are kept beside."""
    from safetensors.torch import save_file

    header = {"network": fcn.name, "output_stride": fcn.trunk.output_stride, "classes": list(fcn.classes), "width": _width(fcn), "facts": facts}
    with whole_file(path) as part:
        save_file({k: v.contiguous() for k, v in fcn.state_dict().items()}, part, {"fcn": json.dumps(header)})


def read_header(path: Path) -> dict:
    """What `save_fcn` wrote beside the weights."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise Problem(f"{path}: there are no such weights; train the network first (dvc repro dcsm_train).")
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["fcn"])
        return {key: header[key] for key in ("network", "output_stride", "classes", "width", "facts")}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise Problem(f"{path}: damaged, or not the weights of a multi-label network ({error}); train it again.") from None


def load_fcn(path: Path, expected: str | None = None) -> Fcn:
    """The network in evaluation mode, on the CPU; `expected` is the trunk that the caller counts on."""
    from safetensors.torch import load_file

    header = read_header(path)
    if expected not in (None, header["network"]):
        raise Problem(f"{path}: these are weights of {header['network']}, not of {expected}; name the file that belongs to it.")
    fcn = fully_convolutional(load_network(header["network"], header["output_stride"], pretrained=False), header["classes"], header["width"])
    found = load_file(path)
    own = {name: tuple(value.shape) for name, value in fcn.state_dict().items()}
    if {name: tuple(value.shape) for name, value in found.items()} != own:
        raise Problem(f"{path}: the weights are of another architecture than {header['network']} with {len(header['classes'])} classes; train it again.")
    fcn.load_state_dict(found)
    return fcn.requires_grad_(False).to(memory_format=torch.channels_last)


def _width(fcn: Fcn) -> int:
    return fcn.head[0].out_channels if len(fcn.head) > 2 else 0
