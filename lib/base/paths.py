"""Where things lie, whatever the working directory (notebooks run in their own folder)."""
import os
from pathlib import Path

from lib.base.problem import Problem

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT / "data"
BUILD = ROOT / "build"
REPORTS = ROOT / "reports"
NOTEBOOKS = ROOT / "notebooks"


def mirror_folder(given: Path | None = None) -> Path:
    """Where the mirror (real photographs and weights) lies.

    It is the folder given, else the environment variable MIRROR, else ../shared/data beside the project.
    """
    folder = Path(given or os.environ.get("MIRROR") or ROOT.parent / "shared" / "data")
    if not (folder / "manifest.json").is_file():
        raise Problem(f"{folder}: not the mirror (no manifest.json); "
                      "name its folder in the environment variable MIRROR.")
    return folder
