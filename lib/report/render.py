"""The page of a tier, `reports/<tier>/README.md`, and its `claims.json`, made from the metrics files."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.base.files import whole_file, write_json
from lib.base.paths import NOTEBOOKS
from lib.report.claim_file import load_claims
from lib.report.claims import Records, judge, tally
from lib.report.csv_tables import write_tables
from lib.report.deviations import deviations
from lib.report.numbers import EMPTY, with_interval
from lib.report.paper import Paper, Papers
from lib.report.results import Metrics, tier_metrics, with_guest_rows
from lib.report.tables import Table, markdown_row, markdown_table, title

SHORT = 12   # characters shown of a hash
ABOUT_CLAIMS = (
    "Shown is what a claim compares: a difference of two rows, paired over images and in the unit of the "
    "metric; a gain in percent; a share in percent; or a row's own value; with its 95 % interval. A verdict "
    "is computed from the interval alone: unclear means that it includes the tie. Where the paper does not "
    "have a dataset, the value beside ours is the one on its first.")


def render(tier: str, reports: Path, expected: Sequence[str], stale: str, papers: Papers,
           notebooks: Path = NOTEBOOKS) -> None:
    """Write a tier's page, claims and tables.

    expected    notebooks in the order of the page; one without metrics gets a section that says so
    stale       a section that says which of the results are older than the code; "" for none
    notebooks   folder of the notebooks' sources, which say where they depart from their papers
    """
    metrics = tier_metrics(reports, tier)
    records = judge(metrics, load_claims(papers))
    shown = with_guest_rows(metrics, papers)
    parts = [_header(tier, metrics), _papers_section(papers)]
    if stale:
        parts.append(stale)
    parts.append(claims_section(records))
    for name in dict.fromkeys([*expected, *metrics]):
        if name in shown:
            departures = deviations(notebooks / f"{name}.ipynb")
            parts.append(_notebook(name, shown[name], papers.of(name), departures))
        else:
            parts.append(f"## {name}\n\nNot run in this tier.\n")
    write_json(reports / tier / "claims.json", records)
    write_tables(reports / tier / "tables", shown, papers)
    with whole_file(reports / tier / "README.md") as part:
        part.write_text("\n".join(parts), encoding="utf-8")


def claims_section(records: Records) -> str:
    """One table per data set, the networks side by side; then what was not run at all."""
    lines = ["## Claims", "", f"{tally(records)} ([claims.json](claims.json)).", "", ABOUT_CLAIMS, ""]
    datasets = dict.fromkeys(record["dataset"] for record in records if record["dataset"])
    for dataset in datasets:
        here = [record for record in records if record["dataset"] == dataset]
        lines += [f"### Claims on {dataset}", "", *_claims_table(here), ""]
    idle = [record for record in records if not record["dataset"]]
    if idle:
        lines += ["### Claims not run", "", markdown_row(["claim", "where", "paper", "verdict", "why"]),
                  markdown_row(["---"] * 5)]
        for record in idle:
            lines.append(markdown_row([*_what(record), record["verdict"], record["note"]]))
        lines.append("")
    return "\n".join(lines)


def _claims_table(records: Records) -> list[str]:
    networks = list(dict.fromkeys(record["network"] for record in records))
    by_claim: dict[str, dict[str, Any]] = {}
    for record in records:
        claim = record["id"].split("@")[0]
        by_claim.setdefault(claim, {})[record["network"]] = record
    header, ruler = ["claim", "where", "paper"], ["---", "---", "---:"]
    for network in networks:
        header += [network, f"{network}: verdict"]
        ruler += ["---:", "---"]
    lines = [markdown_row(header), markdown_row(ruler)]
    for by_network in by_claim.values():
        cells = _what(next(iter(by_network.values())))
        for network in networks:
            cells += _judged(by_network.get(network))
        lines.append(markdown_row(cells))
    return lines


def _what(record: dict[str, Any]) -> list[str]:
    """A claim in words, where its paper makes it, and the paper's value."""
    value = record["paper_value"]
    if value is None:
        shown = EMPTY
    else:
        shown = f"{value:.3f}" if abs(value) < 1 else f"{value:g}"
    return [record["statement"], f"{record['paper']}, {record['where']}", shown]


def _judged(record: dict[str, Any] | None) -> list[str]:
    if record is None:
        return [EMPTY, EMPTY]
    if record["interval"] is None:
        return [EMPTY, record["verdict"]]
    low, high = record["interval"]
    return [with_interval({"mean": record["ours"], "low": low, "high": high}), record["verdict"]]


def _header(tier: str, metrics: dict[str, Metrics]) -> str:
    devices = dict.fromkeys(str(m.get("device", "unknown")) for m in metrics.values())
    images = [f"{name} {m.get('n_images', EMPTY)}" for name, m in metrics.items()]
    seconds = sum(m.get("seconds") or 0 for m in metrics.values())
    return "\n".join([
        f"# Results, tier {tier}", "",
        "<!-- generated by the report stage from metrics/*.json; edits are lost -->", "",
        f"- images: {', '.join(images) or EMPTY}", f"- device: {', '.join(devices) or EMPTY}",
        f"- seconds: {seconds:.0f}", ""])


def _papers_section(papers: Papers) -> str:
    lines = [f"- {key}: {paper.citation}" for key, paper in papers.by_key.items()]
    return "\n".join(["## Papers", "", *lines, ""])


def _notebook(name: str, metrics: Metrics, paper: Paper, departures: list[str]) -> str:
    source = f"{paper.title} ({paper.venue})" if paper.venue else paper.title
    lines = [f"## {name}", "", source, "", _facts(name, metrics), ""]
    for dataset, counts in metrics.get("counts", {}).items():
        words = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in counts.items())
        lines += [f"Counts on {dataset}: {words}.", ""]
    for table in metrics["results"]:
        lines += _table(metrics, table, paper)
    for figure in metrics.get("figures", []):
        lines += [f"![{figure['caption']}]({figure['file']})", "", f"*{figure['caption']}*", ""]
    lines += _timing(metrics.get("timing", {}))
    lines += _deviations(departures or metrics.get("deviations", []))   # older results carry their own
    return "\n".join([*lines, provenance_line(metrics.get("provenance", {})), ""])


def _facts(name: str, metrics: Metrics) -> str:
    """Images, seconds, device, seeds and where the executed notebook lies."""
    seconds = f"{metrics.get('seconds') or 0:.0f} seconds on {metrics.get('device', 'unknown')}"
    seeds = " ".join(str(seed) for seed in metrics.get("seeds") or []) or EMPTY
    return (f"{metrics.get('n_images', EMPTY)} images, {seconds}, seeds {seeds}, "
            f"[executed notebook](notebooks/{name}.ipynb).")


def _table(metrics: Metrics, name: str, paper: Paper) -> list[str]:
    heading = paper.titles.get(name, title(name))
    lines: list[str] = []
    for place, dataset in enumerate(metrics["results"][name]):
        table = Table(metrics, name, dataset, paper)
        lines += [f"### {heading}: {dataset}", "", markdown_table(table, define=place == 0)]
    guest = metrics.get("guests", {}).get(name)
    if guest:
        lines += [f"Includes what notebook {guest} measured.", ""]
    return lines


def _timing(timing: dict[str, dict[str, float]]) -> list[str]:
    lines = []
    for network, names in timing.items():
        if names:
            words = ", ".join(f"{key} {value:.3g} ms" for key, value in names.items())
            lines.append(f"- timing, {network}: {words}")
    return [*lines, ""] if lines else []


def _deviations(texts: list[str]) -> list[str]:
    if not texts:
        return []
    numbered = [f"{number}. {text}" for number, text in enumerate(texts, 1)]
    return ["Deviations from the paper:", "", *numbered, ""]


def provenance_line(provenance: dict[str, Any]) -> str:
    """Revision, versions and hashes in one line; hashes are shortened."""
    git = provenance["git"] if isinstance(provenance.get("git"), dict) else provenance
    changes = " with uncommitted changes" if git.get("dirty") else ""
    parts = [f"revision {str(git.get('revision') or 'unknown')[:SHORT]}{changes}"]
    for key in ("packages", "datasets", "weights"):
        named = [f"{name} {str(value)[:SHORT]}" for name, value in (provenance.get(key) or {}).items()]
        if named:
            parts.append(f"{key} {', '.join(named)}")
    return f"Provenance: {'; '.join(parts)}."
