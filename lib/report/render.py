"""The page of a tier, `reports/<tier>/README.md`, and its `claims.json`: everything comes from the metrics files."""
from pathlib import Path
from typing import Any

from lib.base.files import whole_file, write_json
from lib.base.paths import REPORTS
from lib.report.claims import judge, tally
from lib.report.csv_tables import write_tables
from lib.report.numbers import EMPTY, with_interval
from lib.report.reported import paper_of, reference, reported
from lib.report.results import tier_metrics, with_guest_rows
from lib.report.tables import markdown_row, markdown_table, title

SHORT = 12   # characters shown of a hash
TITLES = {"rcam_table2": "rCAM's table 2, DCSM's row", "all_images": "Table 1 on all images", "gains": "Gain of IAM-S5 over PRM",
          "boundaries": "Figure 5, arrows at boundaries", "figure8_classes": "Figure 8, classes", "figure8_worst_class": "Figure 8, the class of the least gain",
          "targets": "Pseudo masks by ranking and k", "sampling": "Scores by k", "peaks_at_once": "All peaks at once", "unseen": "Classes held out",
          "boxes": "Table 3, boxes of finer classes", "saliency": "Table 4, saliency", "methods": "All methods"}
BY_CLASS = ("table6_classes",)   # tables whose rows are a data set's own classes: nothing to compare with on another one


def render(tier: str, reports: Path = REPORTS, expected: list[str] | None = None, stale: str = "") -> None:
    """Write the tier's page and claims; notebooks that are `expected` but have no metrics get an empty section.

    `stale`: a section that says which of the results are older than the code.
    """
    metrics = tier_metrics(reports, tier)
    records = judge(metrics)
    shown = with_guest_rows(metrics)
    names = list(expected or []) + [name for name in metrics if name not in (expected or [])]
    parts = [_header(tier, metrics), *filter(None, [stale]), claims_section(records), *(_notebook(name, shown.get(name)) for name in names)]
    write_json(reports / tier / "claims.json", records)
    write_tables(reports / tier / "tables", shown)
    with whole_file(reports / tier / "README.md") as part:
        part.write_text("\n".join(parts), encoding="utf-8")


def claims_section(records: list[dict[str, Any]]) -> str:
    """One table per dataset, the networks side by side; then what was not run at all."""
    lines = ["## Claims", "", f"{tally(records)} ([claims.json](claims.json)).", "",
             "Shown is what a claim compares: a difference of two rows, paired over images and in the unit of the metric; a gain in "
             "percent; a share in percent; or a row's own value; with its 95 % interval. A verdict is computed from the interval alone: "
             "unclear means that it includes the tie. "
             "Where the paper does not have a dataset, the value beside ours is the one on its first.", ""]
    for dataset in dict.fromkeys(record["dataset"] for record in records if record["dataset"]):
        lines += [f"### Claims on {dataset}", "", *_claims_table([r for r in records if r["dataset"] == dataset]), ""]
    idle = [record for record in records if not record["dataset"]]
    if idle:
        lines += ["### Claims not run", "", markdown_row(["claim", "where", "paper", "verdict", "why"]), markdown_row(["---"] * 5)]
        lines += [markdown_row([r["statement"], _where(r), _paper(r), r["verdict"], r["note"]]) for r in idle]
        lines.append("")
    return "\n".join(lines)


def _claims_table(records: list[dict[str, Any]]) -> list[str]:
    networks = list(dict.fromkeys(record["network"] for record in records))
    header = ["claim", "where", "paper", *(f"{network}{part}" for network in networks for part in ("", ": verdict"))]
    lines = [markdown_row(header), markdown_row(["---", "---", "---:", *["---:", "---"] * len(networks)])]
    for key in dict.fromkeys(record["id"].split("@")[0] for record in records):
        by_network = {r["network"]: r for r in records if r["id"].split("@")[0] == key}
        first = next(iter(by_network.values()))
        cells = [cell for network in networks for cell in _judged(by_network.get(network))]
        lines.append(markdown_row([first["statement"], _where(first), _paper(first), *cells]))
    return lines


def _judged(record: dict[str, Any] | None) -> list[str]:
    if record is None:
        return [EMPTY, EMPTY]
    if record["interval"] is None:
        return [EMPTY, record["verdict"]]
    low, high = record["interval"]
    return [with_interval({"mean": record["ours"], "low": low, "high": high}), record["verdict"]]


def _where(record: dict[str, Any]) -> str:
    return f"{record['paper']}, {record['where']}"


def _paper(record: dict[str, Any]) -> str:
    value = record["paper_value"]
    return EMPTY if value is None else f"{value:.3f}" if abs(value) < 1 else f"{value:g}"


def _header(tier: str, metrics: dict[str, dict[str, Any]]) -> str:
    devices = ", ".join(dict.fromkeys(str(m.get("device", "unknown")) for m in metrics.values())) or EMPTY
    images = ", ".join(f"{name} {m.get('n_images', EMPTY)}" for name, m in metrics.items()) or EMPTY
    seconds = sum(m.get("seconds") or 0 for m in metrics.values())
    return "\n".join([f"# Results, tier {tier}", "", "<!-- generated by the report stage from metrics/*.json; edits are lost -->", "",
                      f"- images: {images}", f"- device: {devices}", f"- seconds: {seconds:.0f}", ""])


def _notebook(name: str, metrics: dict[str, Any] | None) -> str:
    if metrics is None:
        return f"## {name}\n\nNot run in this tier.\n"
    paper = paper_of(name)
    source = f"{reported(paper)['title']} ({reported(paper)['venue']})" if paper else ""
    facts = [f"{metrics.get('n_images', EMPTY)} images", f"{metrics.get('seconds') or 0:.0f} seconds on {metrics.get('device', 'unknown')}",
             f"seeds {' '.join(map(str, metrics.get('seeds') or [])) or EMPTY}", f"[executed notebook](notebooks/{name}.ipynb)"]
    lines = [f"## {name}", "", *([source, ""] if source else []), ", ".join(facts) + ".", ""]
    for dataset, counts in metrics.get("counts", {}).items():
        words = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in counts.items())
        lines += [f"Counts on {dataset}: {words}.", ""]
    for table in metrics["results"]:
        lines += _table(metrics, table, paper)
    for figure in metrics.get("figures", []):
        lines += [f"![{figure['caption']}]({figure['file']})", "", f"*{figure['caption']}*", ""]
    lines += [*_timing(metrics.get("timing", {})), *_deviations(metrics.get("deviations", []))]
    return "\n".join([*lines, provenance_line(metrics.get("provenance", {})), ""])


def _table(metrics: dict[str, Any], table: str, paper: str | None) -> list[str]:
    lines = []
    for place, dataset in enumerate(metrics["results"][table]):
        theirs = None if table in BY_CLASS and reference(paper, table, dataset) != dataset else paper
        lines += [f"### {TITLES.get(table, title(table))}: {dataset}", "",
                  markdown_table(metrics, table, dataset, theirs, define=place == 0)]
    guest = metrics.get("guests", {}).get(table)
    return lines + ([f"Includes what notebook {guest} measured.", ""] if guest else [])


def _timing(timing: dict[str, dict[str, float]]) -> list[str]:
    lines = [f"- timing, {network}: {', '.join(f'{key} {value:.3g} ms' for key, value in names.items())}"
             for network, names in timing.items() if names]
    return [*lines, ""] if lines else []


def _deviations(texts: list[str]) -> list[str]:
    if not texts:
        return []
    return ["Deviations from the paper:", "", *(f"{number}. {text}" for number, text in enumerate(texts, 1)), ""]


def provenance_line(provenance: dict[str, Any]) -> str:
    """Revision, versions and hashes in one line; hashes are shortened."""
    git = provenance["git"] if isinstance(provenance.get("git"), dict) else provenance
    revision = str(git.get("revision") or "unknown")[:SHORT] + " with uncommitted changes" * bool(git.get("dirty"))
    named = [(key, provenance.get(key) or {}) for key in ("packages", "datasets", "weights")]
    parts = [f"revision {revision}", *(f"{key} {_pairs(values)}" for key, values in named if values)]
    return f"Provenance: {'; '.join(parts)}."


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {str(value)[:SHORT]}" for name, value in values.items())
