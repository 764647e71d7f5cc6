"""Reading back what the notebooks wrote: the metrics files of a tier."""
import json
from pathlib import Path
from typing import Any

from lib.problem import Problem


def read_json(text: str, name: str) -> Any:
    """Parse JSON; a damaged file is named."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise Problem(f"{name}: damaged, not JSON ({error}); run the stage that writes it again.") from None


def read_metrics(text: str, name: str) -> dict[str, Any]:
    """Parse a metrics file; one without results is named."""
    metrics = read_json(text, name)
    if not isinstance(metrics, dict) or not isinstance(metrics.get("results"), dict):
        raise Problem(f'{name}: damaged, a metrics file needs "results"; run the notebook that writes it again.')
    return metrics


def tier_metrics(reports: Path, tier: str) -> dict[str, dict[str, Any]]:
    """`{notebook: metrics}` of a tier, by name; empty where nothing was run."""
    files = sorted((reports / tier / "metrics").glob("*.json"))
    return {file.stem: read_metrics(file.read_text(encoding="utf-8"), str(file)) for file in files}
