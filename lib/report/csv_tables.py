"""The tables of a tier as plain files, `tables/<notebook>-<table>.csv`: a line a value, with the paper's."""
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.base.files import whole_file
from lib.report.paper import Paper, Papers

COLUMNS: tuple[str, ...] = ("dataset", "network", "row", "metric", "mean", "low", "high", "paper")


def write_tables(folder: Path, tier_metrics: dict[str, dict[str, Any]], papers: Papers) -> None:
    """Write every table of every notebook of a tier."""
    for notebook, metrics in tier_metrics.items():
        for table, datasets in metrics["results"].items():
            text = io.StringIO()
            out = csv.writer(text, lineterminator="\n")
            out.writerow(COLUMNS)
            out.writerows(_lines(papers.of(notebook), table, datasets))
            with whole_file(folder / f"{notebook}-{table}.csv") as part:
                part.write_text(text.getvalue(), encoding="utf-8")


def _lines(paper: Paper, table: str, datasets: dict[str, Any]) -> Iterator[list[Any]]:
    for dataset, networks in datasets.items():
        for network, rows in networks.items():
            for row, metrics in rows.items():
                for metric, value in metrics.items():
                    printed = paper.value(table, dataset, row, metric)
                    ours = [value["mean"], value["low"], value["high"]]
                    yield [dataset, network, row, metric, *ours, "" if printed is None else printed]
