"""Where numbers come from: revision, parameters, data, weights, versions, device."""
import dataclasses
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from typing import Any

from lib.base.paths import ROOT

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "pydensecrf2")
CODE = ("lib", "notebooks", "dvc.yaml", "requirements.lock")   # what makes a revision dirty; parameters are recorded by value


def provenance(params: dict[str, Any], datasets: dict[str, str], weights: dict[str, str]) -> dict[str, Any]:
    """`params`: name -> dataclass or plain value that was used; `datasets` and `weights`: name -> hash."""
    plain = {k: dataclasses.asdict(v) if dataclasses.is_dataclass(v) else v for k, v in params.items()}
    return {"git": {"revision": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain", "--", *CODE))},
            "params": plain, "datasets": datasets, "weights": weights,
            "packages": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}}


def device_used() -> str:
    """The accelerator's name if this process has computed on one, else `cpu (2 threads)`."""
    torch = sys.modules.get("torch")
    if torch is None:
        return f"cpu ({os.environ.get('OMP_NUM_THREADS') or os.cpu_count()} threads)"
    if torch.cuda.is_initialized():
        return f"cuda ({torch.cuda.get_device_name()})"
    return f"cpu ({torch.get_num_threads()} threads)"


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
