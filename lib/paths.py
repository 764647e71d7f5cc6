"""Where things lie, whatever the working directory (notebooks run in their own folder)."""
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
BUILD = ROOT / "build"
REPORTS = ROOT / "reports"
NOTEBOOKS = ROOT / "notebooks"
