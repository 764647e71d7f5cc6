"""What the whole pipeline writes in small: metrics, curves, claims, figures, executed notebooks, the page."""
import csv
import dataclasses
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from side_by_side import Pipeline
from small_project import CSOA, FROM_MAPS, IAM, RCAM, git, metrics, of_smoke, smoke, values

from lib.base.files import sha256
from lib.base.paths import ROOT
from lib.papers import PAPERS
from lib.params import NOTEBOOKS, STAGES, load_params
from lib.report.deviations import deviations

pytestmark = pytest.mark.slow
NET = "efficientnet_lite0"
# Images that a notebook scores; of every other notebook 2.
IMAGES = {"rcam": 6, "dcsm": 3, "iam": 4, "iam_sampling": 4, "iam_transfer": 4, "crf_exactness": 1}
IMAGES |= dict.fromkeys(CSOA, 12)
SHARES: tuple[str, ...] = ("ois", "ods", "ods_mean_f", "mae")   # of 1; other metrics are percentages
UNBOUNDED: tuple[str, ...] = ("gain", "proposals", "memory", "whole_ms", "down_ms", "difference")
KEYS = {"notebook", "tier", "n_images", "seeds", "seconds", "device", "results", "comparisons", "timing",
        "counts", "figures", "provenance"}
CLAIM = {"id", "paper", "statement", "where", "paper_value", "ours", "interval", "verdict", "note"}
Rows = dict[str, dict[str, dict[str, float]]]   # row -> metric -> mean and interval


def tables(project: Path, notebooks: Iterable[str], dataset: str) -> dict[str, Rows]:
    """The tables of some notebooks on a data set, by name."""
    found = metrics(project)
    by_name: dict[str, Rows] = {}
    for notebook in notebooks:
        for table, datasets in found[notebook]["results"].items():
            if dataset in datasets:
                by_name[table] = datasets[dataset][NET]
    return by_name


def plain(value: Any) -> Any:
    """A dataclass as JSON holds it."""
    return json.loads(json.dumps(dataclasses.asdict(value)))


def trained(folder: Path, pattern: str) -> dict[str, str]:
    """Hashes of trained weights by the place of their folder."""
    weights = folder.glob(f"{pattern}/weights.safetensors")
    return {str(path.parent.relative_to(folder)): sha256(path) for path in weights}


def test_every_stage_runs_once(pipeline: Pipeline, project: Path) -> None:
    assert sorted(pipeline.ran) == sorted({"source", *of_smoke(*STAGES, *NOTEBOOKS, "report")})
    assert pipeline.ran[0] == "source"
    assert pipeline.ran[-1] == "report@smoke"
    assert set(metrics(project)) == set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_metrics_follow_the_contract(project: Path, name: str) -> None:
    found = metrics(project)[name]
    assert set(found) >= KEYS
    assert (found["notebook"], found["tier"]) == (name, "smoke")
    assert found["seeds"] == ([0, 1] if name in CSOA else [0])
    assert found["n_images"] == IMAGES.get(name, 2)
    assert 0 < found["seconds"] < 1000
    listed = list(values(found["results"]))
    assert listed
    for where, value in listed:
        assert set(value) == {"mean", "low", "high"}, where
        assert all(math.isfinite(number) for number in value.values()), where
        assert value["low"] <= value["mean"] <= value["high"], where
        metric = where.split()[-1]
        highest = 1 if metric in SHARES else 100
        assert metric in UNBOUNDED or 0 <= value["mean"] <= highest, where


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_says_where_it_departs_from_its_paper(project: Path, name: str) -> None:
    assert deviations(project / "notebooks" / f"{name}.ipynb")


def test_tables_of_rcam_have_their_rows(project: Path) -> None:
    rcam = tables(project, ["rcam"], "collage")
    assert set(rcam["table1"]) == {
        "g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam", "rcam_cited"}
    for scores in rcam["table1"].values():
        assert {"ois", "ods", "mae"} <= set(scores)
        assert scores["ois"]["mean"] >= scores["ods_mean_f"]["mean"]   # an image's own threshold is its best
    assert set(rcam["table2"]) == {"rcam", "rcam_box"}


def test_tables_of_dcsm_have_their_rows(project: Path) -> None:
    params = load_params(project / "params.yaml")
    dcsm = tables(project, FROM_MAPS, "collage")
    assert set(dcsm["table1"]) >= {"dcsm_crf", "simonyan_crf"}
    assert set(dcsm["table6_val"]) >= {"dcsm_no_crf", "dcsm_crf"}
    alphas = params.dcsm_alpha.alphas
    assert set(dcsm["table1_alpha"]) == {f"{method}_{a:g}" for method in ("dcsm", "simonyan") for a in alphas}
    assert set(dcsm["table2_layers"]) == set(params.dcsm_layers.combinations)
    assert set(dcsm["table5_backprop"]) == {"bp", "guided_bp"}
    assert set(dcsm["table3_scales"]) == set(map(scales_row, params.dcsm_scales.combinations))
    numbers = {str(n) for n in params.dcsm_top_n.numbers}
    assert {"0", "1", "5"} <= set(dcsm["table4_top_n"]) <= numbers   # no more than there are classes
    assert set(dcsm["results"]) == {"fcn_gbp", "zof_gbp", "fcn_mcg", "dcsm"}
    assert set(dcsm["classifier"]) == {"classifier"}
    # The method itself stands in several tables, on the same images.
    blocks = "block" + "".join(block[-1] for block in params.dcsm.blocks)
    itself = [dcsm["table3_scales"][scales_row(params.dcsm.scales)], dcsm["table2_layers"][blocks],
              dcsm["table5_backprop"]["guided_bp"], dcsm["results"]["dcsm"]]
    assert len({row["miou"]["mean"] for row in itself}) == 1


def scales_row(scales: Iterable[int]) -> str:
    return "s" + "_".join(map(str, scales))


def test_tables_of_csoa_have_their_rows(project: Path) -> None:
    run = smoke(project)["csoa_train"]["runs"]["collage_single"][NET]
    tried = load_params(project / "params.yaml").csoa_thresholds.tried
    csoa = tables(project, CSOA, "collage_single")
    blind = {"whole_image", "centred_box"}
    assert set(csoa["table1_modules"]) == {*run["variants"], *blind}
    assert set(csoa["datasets"]) == {"base", "csoa", *blind}
    assert set(csoa["seeds"]) == {f"{row}, seed {seed}" for row in run["variants"] for seed in run["seeds"]}
    assert set(csoa["table2_positions"]) == {"4-5", *run["positions"], *blind}
    assert set(csoa["constants"]) == {"csoa", *run["trials"], *blind}
    assert set(csoa["table3_thresholds"]) == {f"{theta:g}" for theta in tried}
    assert set(csoa["cams"]) == {"union", "s_l", "s_f", *blind}
    for row in run["variants"]:
        scores = csoa["table1_modules"][row]
        each = [csoa["seeds"][f"{row}, seed {seed}"]["loc1"]["mean"] for seed in run["seeds"]]
        assert scores["loc1"]["mean"] == pytest.approx(sum(each) / len(each))
        assert scores["theta"]["mean"] in tried
        # loc1 is an error, and asks for the right class and the right box.
        assert scores["loc1"]["mean"] >= max(scores["gt_known"]["mean"], scores["cls1"]["mean"])
    # The method itself stands in several tables, on the same images.
    method = csoa["table1_modules"]["csoa"]
    at_its_threshold = csoa["table3_thresholds"][f"{method['theta']['mean']:g}"]
    for row in (csoa["table2_positions"]["4-5"], csoa["cams"]["union"], csoa["datasets"]["csoa"],
                at_its_threshold):
        assert row["loc1"] == method["loc1"]


def test_tables_of_iam_have_their_rows(project: Path) -> None:
    run = smoke(project)["iam_train"]["networks"][NET]
    rows = tables(project, IAM, "collage")
    modules = {f"iam_s{k}" for k in run["k"]}
    boxes = {f"{base}_{way}" for base in ("cam", "gt_box") for way in ("rect", "ellipse", "mcg")}
    assert set(rows["table1_instances"]) == {
        "prm", *modules, "iam_s5_unrefined", "iam_s5_dense_crf", *boxes}
    assert set(rows["sampling"]) == {"prm", *modules}
    assert set(rows["gains"]) == {"map25", "map50", "map75", "abo"}
    for row, scores in rows["sampling"].items():
        assert scores == rows["table1_instances"][row]   # the same images and modules
    # Means over classes and over objects differ.
    reachable = rows["proposals"]["proposals"]["abo"]["mean"] + 15
    assert rows["table1_instances"]["gt_box_mcg"]["abo"]["mean"] <= reachable
    seconds = rows["table2_seconds"]["iam"]
    parts = seconds["feed_forward"]["mean"] + seconds["crf"]["mean"]
    assert seconds["total"]["mean"] == pytest.approx(parts, abs=1e-5)
    assert set(rows["peaks_at_once"]) == {"one_pass", "one_by_one"}
    assert set(rows["saliency"]) == {"cam", "prm", "iam", "iam_unseen"}
    transfer = tables(project, ["iam_transfer"], "collage_single")
    assert set(transfer["boxes"]) == {"cam", "prm", "iam", "iam_unseen", "whole_image", "centred_box"}


def test_the_comparison_has_a_row_of_every_method(project: Path) -> None:
    rows = tables(project, ["comparison"], "collage")["methods"]
    assert set(rows) == {"rcam", "rcam_box", "dcsm", "csoa", "prm", "iam"}
    without_classes = {row for row, scores in rows.items() if "miou" not in scores}
    assert without_classes == {"rcam", "rcam_box"}


def test_every_row_with_a_crf_has_both_backends(project: Path) -> None:
    rows = tables(project, ["crf_exactness"], "collage")["crf_backends"]
    assert set(rows) == {"rcam", "rcam_cited", "fcn_gbp", "dcsm", "iam_s5_dense_crf"}
    for scores in rows.values():
        change = scores["exact"]["mean"] - scores["lattice"]["mean"]
        assert scores["difference"]["mean"] == pytest.approx(change, abs=2e-6)
        assert 0 < scores["mean_gap"]["mean"] < scores["largest_gap"]["mean"] <= 1


def test_curves_follow_the_training(project: Path) -> None:
    networks = smoke(project)["dcsm_train"]["networks"]
    folder = project / "reports" / "smoke" / "curves" / "dcsm_train"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.csv" for name in networks)
    with open(folder / f"{NET}.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["phase", "epoch", "step", "loss", "val_map"]
    assert all(0 < float(row["loss"]) < math.inf for row in rows)
    training = load_params(project / "params.yaml").tier["smoke"].dcsm_train.networks[NET]
    epochs = [("head", str(n + 1)) for n in range(training.head_epochs)]
    epochs += [("all", str(n + 1)) for n in range(training.epochs)]
    assert list(dict.fromkeys((row["phase"], row["epoch"]) for row in rows)) == epochs
    steps_an_epoch = math.ceil(smoke(project)["data"]["collage"]["train"] / training.batch)
    for epoch in epochs:
        part = [row for row in rows if (row["phase"], row["epoch"]) == epoch]
        steps = [int(row["step"]) for row in part]
        assert steps == sorted(set(steps))
        assert steps[-1] == int(epoch[1]) * steps_an_epoch
        assert 0 <= float(part[-1]["val_map"]) <= 100
        assert not any(row["val_map"] for row in part[:-1])
    assert f"figures/dcsm/training_{NET}.png" in {
        figure["file"] for figure in metrics(project)["dcsm"]["figures"]}


@pytest.mark.parametrize("place", [f"csoa_train/collage_single/{NET}", f"iam_train/{NET}"])
def test_every_trained_network_has_its_curve(project: Path, place: str) -> None:
    curves = (project / "reports" / "smoke" / "curves" / place).iterdir()
    assert {path.stem for path in curves} == set(trained(project / "build" / "smoke" / place, "*"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_provenance_says_where_numbers_come_from(project: Path, name: str) -> None:
    provenance = metrics(project)[name]["provenance"]
    revision = git(project, "rev-parse", "HEAD").strip()
    assert provenance["git"] == {"revision": revision, "dirty": False}
    params = load_params(project / "params.yaml")
    used = provenance["params"]
    assert used["seed"] == params.seed
    assert used["bootstrap"] == plain(params.bootstrap)
    assert used["tier"] == plain(getattr(params.tier["smoke"], name))
    blocks = {"rcam"} if name in RCAM else {"csoa"} if name in CSOA else {"dcsm", "dcsm_maps"}
    if name in IAM:
        blocks = {"iam", "iam_filling"}
    if hasattr(params, name):
        blocks.add(name)
    for block in blocks:
        assert used[block] == plain(getattr(params, block))
    datasets = ["collage_single"] if name in CSOA else ["collage"]
    if name == "iam_transfer":
        datasets.append("collage_single")
    data = project / "data" / "smoke"
    assert provenance["datasets"] == {each: sha256(data / each / "manifest.json") for each in datasets}
    assert {"python", "torch", "numpy"} <= set(provenance["packages"])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_weights_are_known_by_their_hashes(project: Path, name: str) -> None:
    weights = metrics(project)[name]["provenance"]["weights"]
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in weights.values())
    build = project / "build" / "smoke"
    if name in CSOA:
        assert weights == trained(build / "csoa_train", "*/*/*" if name == "csoa" else "*/*/csoa_*")
    elif name in IAM:
        modules = trained(build / "iam_train", "*/*")
        assert modules
        assert weights.items() >= modules.items()
    else:
        own = trained(build / "dcsm_train", NET)[NET]
        assert (weights[NET] == own) == (name in FROM_MAPS)


def test_the_report_is_complete(project: Path) -> None:
    folder = project / "reports" / "smoke"
    page = (folder / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page) if "://" not in link]
    assert len(links) > len(NOTEBOOKS)
    assert all((folder / link).is_file() for link in links)
    figures = {str(path.relative_to(folder)) for path in folder.glob("figures/*/*")}
    assert figures == {link for link in links if link.startswith("figures/")}
    listed: set[str] = set()
    for record in metrics(project).values():
        listed |= {figure["file"] for figure in record["figures"]}
    assert figures == listed
    for path in folder.rglob("*"):
        assert not path.is_file() or path.suffix == ".ipynb" or path.stat().st_size <= 300_000, path
    assert git(project, "status", "--porcelain", "README.md") == ""   # no headline from so few images


def test_claims_follow_the_contract(project: Path) -> None:
    claims = json.loads((project / "reports" / "smoke" / "claims.json").read_text())
    assert claims
    assert len({claim["id"] for claim in claims}) == len(claims)
    for claim in claims:
        assert set(claim) >= CLAIM, claim
        assert claim["verdict"] in ("holds", "fails", "unclear", "not run"), claim
        not_run = claim["verdict"] == "not run"
        assert (claim["interval"] is None) == (claim["ours"] is None) == not_run, claim
        if claim["interval"]:
            low, high = claim["interval"]
            assert low <= claim["ours"] <= high, claim


def test_claims_are_judged_wherever_they_can_be(project: Path) -> None:
    claims = json.loads((project / "reports" / "smoke" / "claims.json").read_text())
    judged = [claim for claim in claims if claim["verdict"] != "not run"]
    assert {claim["paper"] for claim in judged} == set(PAPERS)
    for claim in judged:
        own = "collage_single" if claim["paper"] == "csoa" else "collage"
        assert claim["paper"] == "iam" or claim["dataset"] == own, claim
        assert claim["network"] == NET, claim
    idle = {claim["id"] for claim in claims if claim["verdict"] == "not run" and claim["paper"] != "rcam"}
    idle.discard(f"iam.every_class@collage/{NET}")   # no class may have maps in more than one of few images
    assert idle == {
        f"dcsm.dcsm_reaches_paper@collage/{NET}",    # the paper has no value for these images
        f"csoa.position_loc1@collage_single/{NET}",  # position 3-5 is not trained here
        f"csoa.position_loc5@collage_single/{NET}",
        "iam.cub_error"}                             # birds come with the tier paper


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_executed_notebooks_are_whole(project: Path, name: str) -> None:
    published = project / "reports" / "smoke" / "notebooks" / f"{name}.ipynb"
    executed = nbformat.read(published, as_version=4)
    nbformat.validate(executed)
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
    checked = [cell for cell in cells if "NBVAL_CHECK_OUTPUT" in cell.source]
    assert any(cell.outputs for cell in checked)   # otherwise validation compares nothing


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_executed_notebooks_say_nothing_about_the_machine(project: Path, name: str) -> None:
    published = project / "reports" / "smoke" / "notebooks" / f"{name}.ipynb"
    executed = nbformat.read(published, as_version=4)
    texts = [json.dumps(executed.metadata)]
    for cell in executed.cells:
        texts += [cell.source, json.dumps(cell.metadata)]
        texts += [without_images(output) for output in cell.get("outputs", [])]
    places = [str(project), str(ROOT), str(Path.home()), str(project.parent), "/tmp/", "/home/"]
    for text in texts:
        assert not any(place in text for place in places), text


def without_images(output: nbformat.NotebookNode) -> str:
    """What an output says, as text; an image's letters may spell anything."""
    shown = output.get("data", output)
    return json.dumps({kind: value for kind, value in shown.items() if not kind.startswith("image/")})
