"""What the stages do, with the expensive parts taken out."""
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nbformat
import pytest
import yaml

from lib.base.files import write_json
from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.base.shards import WHOLE
from lib.papers.csoa import stages as csoa
from lib.papers.dcsm import stages as dcsm
from lib.papers.iam import stages as iam
from lib.params import NOTEBOOKS, TIERS, Params, load_params
from lib.pipeline import source, stages
from lib.pipeline.code import code_of
from lib.proposals import stages as proposals

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PLACES: tuple[str, ...] = ("BUILD", "DATA", "REPORTS")
WITH_STAGES: tuple[ModuleType, ...] = (dcsm, iam, proposals)
Calls = list[tuple]


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.setenv("MIRROR", "")
    monkeypatch.delenv("MIRROR")   # what the suite puts there is taken away again
    return load_params()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the pipeline's own stages work."""
    for name in PLACES:
        monkeypatch.setattr(stages, name, tmp_path / name.lower())
    monkeypatch.setattr(stages, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which folders were opened as data sets, while the other stages work below a temporary folder."""
    folders: list[Path] = []

    def data_set(folder: Path) -> str:
        folders.append(folder)
        return f"data set {folder.name}"

    for module in WITH_STAGES:
        _move(module, tmp_path, monkeypatch)
        monkeypatch.setattr(module, "Dataset", data_set)
    return folders


def _move(module: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PLACES:
        if hasattr(module, name):
            monkeypatch.setattr(module, name, folder / name.lower())


def imitation(module: str, name: str, calls: Calls) -> Callable[..., None]:
    """Something to call in a function's place, by which its code is told all the same."""
    def call(*args: Any) -> None:
        calls.append(args)

    call.__module__, call.__qualname__ = module, name
    return call


def listed(stage: str, tier: str, kind: str) -> list[str]:
    """What dvc.yaml says that a stage writes."""
    names: list[str] = []
    for entry in STAGES[stage]["do"].get(kind, []):
        names += [entry] if isinstance(entry, str) else entry
    return sorted(name.replace("${item}", tier) for name in names)


# notebooks, data sets and the report


def test_notebooks_get_their_block_and_nothing_else(params: Params, elsewhere: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Calls = []
    monkeypatch.setattr("lib.pipeline.notebook.run_notebook", lambda *args: calls.append(args))
    for name in NOTEBOOKS:
        stages.run(name, "smoke")
    expected = []
    for name in NOTEBOOKS:
        block = dataclasses.asdict(getattr(params.tier["smoke"], name))
        path = elsewhere / "notebooks" / f"{name}.ipynb"
        places = (elsewhere / "reports", elsewhere / "build")
        expected.append((path, "smoke", {"tier": "smoke", **block}, *places))
    assert calls == expected
    assert os.environ["MIRROR"] == str(elsewhere / params.mirror)   # inherited by the kernel


def test_the_environment_goes_before_the_parameter(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR", "elsewhere")
    assert stages.use_mirror(params) == Path("elsewhere")
    assert os.environ["MIRROR"] == "elsewhere"


def test_a_stage_is_handed_parameters_tier_and_what_tells_code(params: Params,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Calls = []
    monkeypatch.setitem(stages.STAGES, "dcsm_train", lambda *args: calls.append(args))
    stages.run_stage("dcsm_train", "smoke")
    assert calls == [(params, "smoke", code_of)]
    assert os.environ["MIRROR"] == str(ROOT / params.mirror)   # where weights of trunks may lie


@pytest.mark.parametrize("tier", TIERS)
def test_data_sets_of_a_tier_come_from_their_importers(tier: str, params: Params, elsewhere: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(stages, "check_sources", lambda params, tiers: calls.append(tiers))
    monkeypatch.setattr("lib.data.collage.compose.build_collage",
                        lambda *args, single: calls.append((*args, single)))
    monkeypatch.setattr("lib.data.mirror.import_mirror", lambda *args: calls.append(args))
    monkeypatch.setattr("lib.data.official.import_official",
                        lambda *args, **more: calls.append((*args, more)))
    stages.data(params, tier)
    data = params.tier[tier].data
    folder = elsewhere / "data" / tier
    if tier in ("smoke", "collage"):
        packages = elsewhere / "data" / ".packages"
        expected = [(folder / "collage", packages, params.seed, data["collage"], False),
                    (folder / "collage_single", packages, params.seed, data["collage_single"], True)]
    elif tier == "mirror":
        expected = [(name, folder / name, elsewhere / params.mirror) for name in data]
    else:
        expected = []
        for name, options in data.items():
            more = {key: value for key, value in options.items() if key != "source"}
            expected.append((name, elsewhere / options["source"], folder / name, more))
        assert expected[-1][-1] == {"train": True}
    assert calls == [[tier], *expected]


def test_further_sources_of_a_data_set_are_passed_on(params: Params, elsewhere: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(stages, "check_sources", lambda params, tiers: None)
    monkeypatch.setattr("lib.data.official.import_official",
                        lambda *args, **more: calls.append((*args, more)))
    block = dataclasses.replace(params.tier["paper"], data={"voc2012": {"sbd": "more/SBD"}})
    stages.data(dataclasses.replace(params, tier={"paper": block}), "paper")
    source_folder = elsewhere / "datasets" / "voc2012"
    target = elsewhere / "data" / "paper" / "voc2012"
    assert calls == [("voc2012", source_folder, target, {"sbd": elsewhere / "more" / "SBD"})]


def test_sources_are_checked_for_the_tiers_asked_for(params: Params, elsewhere: Path) -> None:
    stages.check_sources(params, ["smoke", "collage"])   # these need nothing
    with pytest.raises(Problem, match=r"not the mirror \(no manifest.json\)"):
        stages.check_sources(params, ["collage", "mirror"])
    with pytest.raises(Problem, match="PASCAL-S"):
        stages.check_sources(params, ["paper"])


@pytest.mark.parametrize("tier, headline", [("smoke", False), ("collage", True)])
def test_a_report_takes_in_the_executed_notebooks(tier: str, headline: bool, params: Params, elsewhere: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """The smoke tier has no headline: it holds too few images."""
    headlines: list[Path] = []
    monkeypatch.setattr("lib.report.readme.update_readme", lambda readme, *_: headlines.append(readme))
    monkeypatch.setattr("lib.pipeline.stale.stale_section", lambda tier: f"## Older in {tier}\n")
    prose = nbformat.v4.new_markdown_cell("words of today")
    today = nbformat.v4.new_notebook(cells=[prose, nbformat.v4.new_code_cell("1")])
    shown = nbformat.v4.new_output("stream", text=f"executed for {tier}")
    ran = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", execution_count=1, outputs=[shown])])
    _write(today, elsewhere / "notebooks" / "rcam.ipynb")
    _write(ran, elsewhere / "build" / tier / "notebooks" / "rcam.ipynb")

    stages.report(params, tier)

    folder = elsewhere / "reports" / tier
    assert [path.name for path in (folder / "notebooks").iterdir()] == ["rcam.ipynb"]
    published = (folder / "notebooks" / "rcam.ipynb").read_text()
    assert f"executed for {tier}" in published
    assert "words of today" in published
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert f"## Older in {tier}\n" in page
    assert "Not run in this tier." in page
    assert (folder / "claims.json").is_file()
    assert headlines == ([elsewhere / "README.md"] if headline else [])


def _write(notebook: nbformat.NotebookNode, path: Path) -> None:
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)


# the papers' own stages


@pytest.mark.parametrize("tier", TIERS)
def test_training_writes_what_the_pipeline_expects(tier: str, params: Params, opened: list[Path],
                                                   tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Calls = []
    train = imitation("lib.training.networks", "train_networks", calls)
    monkeypatch.setattr("lib.training.networks.train_networks", train)
    dcsm.dcsm_train(params, tier, code_of)
    (data, networks, seed, folders, code), = calls
    block = params.tier[tier].dcsm_train
    assert opened == [tmp_path / "data" / tier / block.dataset]
    assert (data, networks, seed) == (f"data set {block.dataset}", block.networks, params.seed)
    assert [str(folders.weights.relative_to(tmp_path))] == listed("dcsm_train", tier, "outs")
    assert [str(folders.curves.relative_to(tmp_path))] == listed("dcsm_train", tier, "plots")
    # Networks are trained anew when these change.
    assert {"train", "load_network", "fully_convolutional"} <= set(code)
    assert set(code) <= set(source.stage_code("dcsm_train"))


@pytest.mark.parametrize("tier", TIERS)
def test_proposals_are_computed_for_every_data_set(tier: str, params: Params, opened: list[Path],
                                                   tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Calls = []
    compute = imitation("lib.proposals.store", "compute", calls)
    monkeypatch.setattr("lib.proposals.store.compute", compute)
    proposals.proposals(params, tier, code_of)
    images = params.tier[tier].proposals.images
    assert opened == [tmp_path / "data" / tier / name for name in images]
    assert [splits for _, splits, *_ in calls] == list(images.values())
    (folder,) = listed("proposals", tier, "outs")
    assert [place for _, _, place, *_ in calls] == [tmp_path / folder / name for name in images]
    whole = set(source.stage_code("proposals"))
    for *_, code, share in calls:
        assert share == WHOLE
        assert {"find", "proposals", "SCALES", "merge"} <= set(code) < whole


@pytest.mark.parametrize("tier", TIERS)
def test_filling_modules_learn_from_proposals(tier: str, params: Params, opened: list[Path],
                                              tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Calls = []
    monkeypatch.setattr("lib.papers.iam.training.train_run", lambda *args: calls.append(args))
    iam.iam_train(params, tier, code_of)
    (data, settings, filling, seed, folders, code), = calls
    run = params.tier[tier].iam_train
    assert opened == [tmp_path / "data" / tier / run.dataset]
    assert (data, settings) == (f"data set {run.dataset}", run)
    assert (filling, seed) == (params.iam_filling, params.seed)
    assert folders.proposals == tmp_path / listed("proposals", tier, "outs")[0] / run.dataset
    assert run.dataset in params.tier[tier].proposals.images
    assert [str(folders.weights.relative_to(tmp_path))] == listed("iam_train", tier, "outs")
    assert [str(folders.curves.relative_to(tmp_path))] == listed("iam_train", tier, "plots")
    whole = set(source.stage_code("iam_train"))
    assert {"train", "load_network", "fully_convolutional"} <= set(code.classifier) < whole
    assert {"lessons", "ExtentFilling", "train_filling", "filling_loss"} <= set(code.filling) < whole


@pytest.mark.parametrize("tier", TIERS)
def test_rows_of_iam_start_from_what_was_trained(tier: str, params: Params, opened: list[Path],
                                                 tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network on the images that any of the notebooks wants."""
    calls: Calls = []
    looked: list[list[Any]] = []
    block = params.tier[tier]
    proposals = tmp_path / "proposals"
    write_json(proposals / "fingerprint.json", {})
    networks = {name: SimpleNamespace(dataset=SimpleNamespace(hash="h"), proposals=proposals)
                for name in block.iam_train.networks}
    tier_of_iam = SimpleNamespace(networks=networks, first="first", weights=tmp_path / "weights")
    monkeypatch.setattr("lib.papers.iam.trained.open_tier", lambda *args: tier_of_iam)
    monkeypatch.setattr("lib.papers.iam.trained.wanted",
                        lambda first, numbers: looked.append(numbers) or "images")
    monkeypatch.setattr("lib.papers.iam.findings.compute",
                        imitation("lib.papers.iam.findings", "compute", calls))
    iam.iam_rows(params, tier, code_of)
    assert looked == [[block.iam.images, block.iam_sampling.images, block.iam_transfer.images]]
    (folder,) = listed("iam_rows", tier, "outs")
    whole = set(source.stage_code("iam_rows"))
    for (trained, constants, samples, place, facts, share), (name, network) in zip(
            calls, networks.items(), strict=True):
        assert (trained, constants, samples) == (network, params.iam_constants, "images")
        assert place == tmp_path / folder / name and share == WHOLE
        assert {"weights", "data", "proposals", "code"} == set(facts)
        assert {"look", "run_classifier", "pseudo_masks_of", "compared"} <= set(facts["code"]) < whole


@pytest.mark.parametrize("tier", TIERS)
def test_raw_maps_start_from_what_was_trained(tier: str, params: Params, opened: list[Path],
                                              tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Calls = []
    compute = imitation("lib.papers.dcsm.maps", "compute", calls)
    monkeypatch.setattr("lib.papers.dcsm.maps.compute", compute)
    dcsm.dcsm_maps(params, tier, code_of)
    (data, run, settings, folders, code, share), = calls
    assert share == WHOLE
    block = params.tier[tier].dcsm_maps
    assert opened == [tmp_path / "data" / tier / block.dataset]
    assert (data, run, settings) == (f"data set {block.dataset}", block, params.dcsm_maps)
    assert [str(folders.weights.relative_to(tmp_path))] == listed("dcsm_train", tier, "outs")
    assert [str(folders.maps.relative_to(tmp_path))] == listed("dcsm_maps", tier, "outs")
    whole = set(source.stage_code("dcsm_maps"))
    assert {"image_maps", "Traced", "blocks", "fold_normalisation"} <= set(code) < whole


def test_another_way_to_locate_objects_trains_no_network_of_csoa_again(
        params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, and looking where a network finds objects, follow from code of their own."""
    plans: list[Any] = []
    data_set = SimpleNamespace(check=lambda: None)
    monkeypatch.setattr("lib.data.dataset.Dataset", lambda folder, check: data_set)
    single_objects = imitation("lib.papers.csoa.batches", "single_objects", [])
    monkeypatch.setattr("lib.papers.csoa.batches.single_objects", single_objects)
    monkeypatch.setattr("lib.papers.csoa.networks.train_run", lambda plan, *_: plans.append(plan))
    csoa.csoa_train(params, "smoke", code_of)
    training, locating = plans[0].training_code, plans[0].locating_code
    whole = set(source.stage_code("csoa_train"))
    assert {"train", "build", "losses", "Extractor", "load_network"} <= set(training) < whole
    assert {"single_objects", "balanced_batches"} <= set(training)
    assert {"locate", "load_two_classifiers", "Squares"} <= set(locating) < whole
    assert "locate" not in training
    assert "losses" not in locating
