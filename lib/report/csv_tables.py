"""The tables of a tier as plain files, `tables/<notebook>-<table>.csv`: one line a value, the paper's beside it."""
import csv
import io
from pathlib import Path
from typing import Any

from lib.base.files import whole_file
from lib.report.reported import paper_of, paper_value

COLUMNS = ("dataset", "network", "row", "metric", "mean", "low", "high", "paper")


def write_tables(folder: Path, tier_metrics: dict[str, dict[str, Any]]) -> None:
    """Write every table of every notebook of a tier."""
    for notebook, metrics in tier_metrics.items():
        for table, datasets in metrics["results"].items():
            with whole_file(folder / f"{notebook}-{table}.csv") as part:
                part.write_text(_lines(paper_of(notebook), table, datasets), encoding="utf-8")


def _lines(paper: str | None, table: str, datasets: dict[str, Any]) -> str:
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(COLUMNS)
    for dataset, networks in datasets.items():
        for network, rows in networks.items():
            for row, metrics in rows.items():
                for metric, value in metrics.items():
                    printed = paper_value(paper, table, dataset, row, metric) if paper else None
                    out.writerow([dataset, network, row, metric, value["mean"], value["low"], value["high"], "" if printed is None else printed])
    return text.getvalue()
