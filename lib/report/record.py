"""What a notebook leaves behind: one metrics file (contract in README, "Metrics") and its figures."""
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from lib.base.files import whole_file, write_json
from lib.base.paths import BUILD
from lib.report.paper import Paper
from lib.report.provenance import device_used, provenance

if TYPE_CHECKING:
    from IPython.display import HTML, Image
    from matplotlib.figure import Figure

OUTPUT = "SUITE_OUTPUT"   # set by the pipeline; elsewhere nothing published is overwritten
LARGEST_FIGURE = 290_000   # bytes; above, a figure is stored with 256 or 64 colours


@dataclass
class Record:
    """Collects results while a notebook runs: `open` begins it, `close` writes all of it or nothing.

    params   all parameters; `close` records those that were used
    seeds    of the draws of images, or of the networks where several were trained
    """
    notebook: str
    tier: str
    params: Any
    seeds: list[int]
    results: dict[str, dict] = field(default_factory=dict)
    comparisons: dict[str, dict] = field(default_factory=dict)
    timing: dict[str, dict[str, float]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    figures: list[dict[str, str]] = field(default_factory=list)
    start: float = field(default_factory=perf_counter)

    @classmethod
    def open(cls, notebook: str, tier: str, params: Any, seeds: Sequence[int] | None = None) -> "Record":
        """Begin a notebook's record; the seed of params.yaml stands where no `seeds` are given."""
        return cls(notebook, tier, params, list(seeds) if seeds else [params.seed])

    @property
    def device(self) -> str:
        """What this process has really computed on so far."""
        return device_used()

    @property
    def folder(self) -> Path:
        return Path(os.environ.get(OUTPUT) or BUILD / "interactive" / self.tier)

    def add(self, table: str, dataset: str, network: str, rows: Mapping[str, Any],
            comparisons: Mapping[str, Any] | None = None) -> None:
        """Rows `{row: {metric: {"mean", "low", "high"}}}` of a table, and paired comparisons of them."""
        self.results.setdefault(table, {}).setdefault(dataset, {})[network] = dict(rows)
        if comparisons:
            self.comparisons.setdefault(table, {}).setdefault(dataset, {})[network] = dict(comparisons)

    def figure(self, figure: "Figure", name: str, caption: str) -> "Image":
        """Keep a figure under figures/<notebook>/, small enough for Git, and return what was kept."""
        from IPython.display import Image

        path = self.folder / "figures" / self.notebook / f"{name}.png"
        with whole_file(path) as part:
            figure.savefig(part, format="png", dpi=100, bbox_inches="tight", metadata={"Software": None})
            _shrink(part)
        self.figures.append({"file": f"figures/{self.notebook}/{name}.png", "caption": caption})
        return Image(data=path.read_bytes())

    def table(self, table: str, dataset: str, paper: Paper | None,
              columns: Sequence[str] | None = None) -> "HTML":
        """A table as the report will show it, for the notebook's output.

        paper   whose labels the rows bear, and whose numbers stand beside ours where it prints some;
                None shows ours alone, each row by its key
        """
        from IPython.display import HTML

        from lib.report.tables import Table, html_table
        return HTML(html_table(Table({"results": self.results}, table, dataset, paper, columns)))

    def close(self, n_images: int, used: Sequence[str], datasets: Mapping[str, str],
              weights: Mapping[str, str]) -> Path:
        """Write metrics/<notebook>.json.

        used       blocks of params.yaml, or of the tier, that the results follow from; seed, bootstrap
                   and the notebook's own block of the tier are always recorded
        datasets   name -> hash of what was read
        weights    name -> hash of what was loaded
        """
        metrics = {
            "notebook": self.notebook, "tier": self.tier, "n_images": n_images, "seeds": self.seeds,
            "seconds": round(perf_counter() - self.start, 1), "device": self.device,
            "results": self.results, "comparisons": self.comparisons, "timing": self.timing,
            "counts": self.counts, "figures": self.figures,
            "provenance": provenance(self._used(used), dict(datasets), dict(weights))}
        path = self.folder / "metrics" / f"{self.notebook}.json"
        write_json(path, metrics)
        return path

    def _used(self, names: Sequence[str]) -> dict[str, Any]:
        tier = self.params.tier[self.tier]
        own = getattr(tier, self.notebook)
        recorded = {"seed": self.params.seed, "bootstrap": self.params.bootstrap, "tier": own}
        for name in names:
            block, *fields = name.split(".")
            holder = self.params if hasattr(self.params, block) else tier
            recorded[name] = attrgetter(".".join([block, *fields]))(holder)
        return recorded


def _shrink(path: Path) -> None:
    from PIL import Image

    for colours in (256, 64):
        if path.stat().st_size <= LARGEST_FIGURE:
            return
        with Image.open(path) as image:
            image.convert("RGB").quantize(colours, kmeans=1).save(path, format="PNG", optimize=True)
