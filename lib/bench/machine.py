"""What a benchmark ran on, and with how many threads."""
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lib.base.parallel import device
from lib.report.provenance import device_used, provenance

PEERS: tuple[str, ...] = ("grad-cam", "torchcam", "captum", "zennit", "opencv-contrib-python-headless")


def use_threads(number: int) -> None:
    """So many threads for this process and those that it starts."""
    import cv2
    import torch

    os.environ["OMP_NUM_THREADS"] = str(number)
    torch.set_num_threads(number)
    cv2.setNumThreads(number)


def machine() -> dict[str, Any]:
    """Hardware, threads, versions and revision."""
    import torch

    torch.zeros(1, device=device())
    facts = provenance({}, {}, {})
    packages = facts["packages"] | {name: version(name) for name in PEERS}
    return {"processor": processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
            "device": device_used(), "system": platform.platform(terse=True), "packages": packages,
            "git": facts["git"]}


def processor() -> str:
    """The processor's name, as far as the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def in_words(facts: dict[str, Any]) -> str:
    """One line about the machine."""
    threads = "1 thread" if facts["threads"] == 1 else f"{facts['threads']} threads"
    graphics = "no GPU" if facts["device"].startswith("cpu") else facts["device"]
    versions = facts["packages"]
    return (f"{facts['processor']}, {facts['cores']} cores, {threads}, {graphics}, "
            f"Python {versions['python']}, torch {versions['torch']}")
