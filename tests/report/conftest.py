"""Small hand-made metrics files, and the papers as the pipeline hands them to the report."""
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib.papers import PAPERS
from lib.params import SETTINGS
from lib.report.paper import Papers, papers as papers_of

Value = tuple[float, float, float]


def entry(mean: float, low: float, high: float) -> dict[str, float]:
    return {"mean": mean, "low": low, "high": high}


@pytest.fixture(scope="session")
def papers() -> Papers:
    owners = {}
    for paper, settings in SETTINGS.items():
        owners.update(dict.fromkeys(settings.NOTEBOOKS, paper))
    return papers_of(PAPERS, owners)


@pytest.fixture
def metrics() -> Callable[..., dict[str, Any]]:
    """A metrics file of one table, dataset and network from `{row: {metric: (mean, low, high)}}`."""
    def build(rows: dict[str, dict[str, Value]], comparisons: dict[str, dict[str, Value]] | None = None,
              table: str = "table1", dataset: str = "pascal_s", network: str = "net",
              **more: Any) -> dict[str, Any]:
        def nested(values: dict[str, dict[str, Value]]) -> dict[str, Any]:
            entries = {}
            for row, scores in values.items():
                entries[row] = {metric: entry(*score) for metric, score in scores.items()}
            return {table: {dataset: {network: entries}}}

        return {"notebook": "rcam", "tier": "collage", "n_images": 7, "seeds": [0], "seconds": 12.4,
                "device": "cpu", "results": nested(rows), "comparisons": nested(comparisons or {}),
                "timing": {}, "counts": {}, "figures": [], "provenance": {}, **more}
    return build


@pytest.fixture
def stored() -> Callable[..., Path]:
    """Writes a metrics file where its notebook would."""
    def store(reports: Path, tier: str, notebook: str, metrics: dict[str, Any]) -> Path:
        path = reports / tier / "metrics" / f"{notebook}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(metrics), encoding="utf-8")
        return path
    return store
