"""Reading back what the notebooks wrote: the metrics files of a tier."""
import json
from pathlib import Path
from typing import Any

from lib.base.problem import Problem

# (notebook, table) -> the notebook and its table that measure further rows of it: the rCAM paper compares itself with DCSM.
GUESTS = {("rcam", "table2"): ("dcsm", "rcam_table2")}


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


def with_guest_rows(metrics: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A tier's metrics as its tables show them: rows that another notebook measured stand where they belong.

    Only for the datasets and networks that the table has; `guests` of a notebook then names, per table, where such rows come from.
    """
    shown = dict(metrics)
    for (notebook, table), (guest, source) in GUESTS.items():
        own = metrics.get(notebook, {}).get("results", {}).get(table, {})
        rows = metrics.get(guest, {}).get("results", {}).get(source, {})
        joined = {dataset: {network: {**rows.get(dataset, {}).get(network, {}), **values} for network, values in networks.items()}
                  for dataset, networks in own.items()}
        if joined != own:
            host = metrics[notebook]
            shown[notebook] = {**host, "results": {**host["results"], table: joined}, "guests": {**host.get("guests", {}), table: guest}}
    return shown
