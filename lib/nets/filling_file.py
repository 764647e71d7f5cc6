"""A trained filling module as one safetensors file that knows what it is."""
from pathlib import Path

from lib.nets.described import fill_described, read_described, save_described
from lib.problem import Problem
from lib.refine.extent_filling import ExtentFilling

FIELDS = ("network", "depths", "channels", "width", "r", "side", "map_side", "facts")


def save_filling(filling: ExtentFilling, path: Path, network: str, side: int, map_side: int, **facts: str | int) -> None:
    """Write weights and what it takes to build the module again, whole or not at all; `facts` are kept beside.

    side and map_side: of the squares that the classifier saw, and of the peak response maps.
    """
    save_described(filling, path, "filling", {"network": network, "depths": filling.depths, "channels": filling.channels, "width": filling.width,
                                              "r": filling.r, "side": side, "map_side": map_side, "facts": facts})


def read_filling(path: Path | str) -> dict:
    """What `save_filling` wrote beside the weights."""
    return read_described(path, "filling", FIELDS, "a filling module", "iam_train")


def load_filling(path: Path | str, expected: str | None = None) -> ExtentFilling:
    """The module in evaluation mode, on the CPU; `expected` is the trunk that the caller counts on."""
    header = read_filling(path)
    if expected not in (None, header["network"]):
        raise Problem(f"{path}: this filling module was trained on {header['network']}, not on {expected}; name the file that belongs to it.")
    filling = ExtentFilling(header["depths"], header["channels"], header["width"], header["r"])
    fill_described(filling, path, header["network"], 1)
    return filling.requires_grad_(False).eval()
