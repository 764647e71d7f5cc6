"""Where numbers come from: revision, parameters, data, weights, versions, device."""
import dataclasses
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from typing import Any

from lib.base.paths import ROOT

PACKAGES: tuple[str, ...] = ("torch", "torchvision", "timm", "numpy", "pillow", "pydensecrf2")
# What makes a revision dirty; parameters are recorded by value.
CODE: tuple[str, ...] = ("lib", "notebooks", "dvc.yaml", "requirements.lock")


def provenance(params: dict[str, Any], datasets: dict[str, str], weights: dict[str, str]) -> dict[str, Any]:
    """`params`: name -> dataclass or plain value that was used; `datasets` and `weights`: name -> hash."""
    changes = _git("status", "--porcelain", "--", *CODE)
    packages = {name: version(name) for name in PACKAGES}
    return {
        "git": {"revision": _git("rev-parse", "HEAD"), "dirty": bool(changes)},
        "params": {name: _plain(value) for name, value in params.items()},
        "datasets": datasets, "weights": weights,
        "packages": {"python": platform.python_version(), **packages}}


def device_used() -> str:
    """The accelerator's name if this process has computed on one, else `cpu (2 threads)`."""
    torch = sys.modules.get("torch")
    if torch is None:
        return f"cpu ({os.environ.get('OMP_NUM_THREADS') or os.cpu_count()} threads)"
    if torch.cuda.is_initialized():
        return f"cuda ({torch.cuda.get_device_name()})"
    return f"cpu ({torch.get_num_threads()} threads)"


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value


def _git(*words: str) -> str:
    """What Git prints; nothing outside a checkout."""
    command = ["git", "-C", str(ROOT), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
