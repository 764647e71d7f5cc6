"""Reading back what the notebooks wrote: the metrics files of a tier."""
import json
from pathlib import Path
from typing import Any

from lib.base.problem import Problem
from lib.report.paper import Guest, Papers

Metrics = dict[str, Any]


def read_json(text: str, name: str) -> Any:
    """Parse JSON; a damaged file is named."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise Problem(f"{name}: damaged, not JSON ({error}); run the stage that writes it again.") from None


def read_metrics(text: str, name: str) -> Metrics:
    """Parse a metrics file; one without results is named."""
    metrics = read_json(text, name)
    if not isinstance(metrics, dict) or not isinstance(metrics.get("results"), dict):
        raise Problem(f'{name}: damaged, a metrics file needs "results"; '
                      "run the notebook that writes it again.")
    return metrics


def tier_metrics(reports: Path, tier: str) -> dict[str, Metrics]:
    """`{notebook: metrics}` of a tier, by name; empty where nothing was run."""
    files = sorted((reports / tier / "metrics").glob("*.json"))
    return {file.stem: read_metrics(file.read_text(encoding="utf-8"), str(file)) for file in files}


def with_guest_rows(metrics: dict[str, Metrics], papers: Papers) -> dict[str, Metrics]:
    """A tier's metrics as its tables show them: rows of other notebooks stand where they belong.

    Only for the data sets and networks that the table has. `guests` of a notebook then names, per table,
    where such rows come from.
    """
    shown = dict(metrics)
    for notebook, own in metrics.items():
        for table, guest in papers.of(notebook).guests.items():
            if table in own["results"]:
                shown[notebook] = _joined(shown[notebook], table, guest, metrics.get(guest.notebook, {}))
    return shown


def _joined(host: Metrics, table: str, guest: Guest, measured: Metrics) -> Metrics:
    """The host's metrics with the guest's rows ahead of its own in one table."""
    rows = measured.get("results", {}).get(guest.table, {})
    joined: dict[str, dict[str, Any]] = {}
    for dataset, networks in host["results"][table].items():
        guests = rows.get(dataset, {})
        joined[dataset] = {name: {**guests.get(name, {}), **values} for name, values in networks.items()}
    if joined == host["results"][table]:
        return host
    sources = {**host.get("guests", {}), table: guest.notebook}
    return {**host, "results": {**host["results"], table: joined}, "guests": sources}
