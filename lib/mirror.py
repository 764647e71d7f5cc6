"""Where the mirror (real photographs and weights) lies."""
import os
from pathlib import Path

from lib.paths import ROOT
from lib.problem import Problem


def mirror_folder(given: Path | None = None) -> Path:
    """The mirror: the folder given, else the environment variable MIRROR, else ../shared/data beside the project."""
    folder = Path(given or os.environ.get("MIRROR") or ROOT.parent / "shared" / "data")
    if not (folder / "manifest.json").is_file():
        raise Problem(f"{folder}: not the mirror (no manifest.json); name its folder in the environment variable MIRROR.")
    return folder
