"""What the stages of dvc.yaml call, and the code that each of them runs."""
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from lib.mirror import mirror_folder
from lib.params import COMPOSED, NOTEBOOKS, Params, Tier, load_params
from lib.paths import BUILD, DATA, REPORTS, ROOT
from lib.pipeline.code import code_of
from lib.pipeline.library import Library, files_here
from lib.problem import Problem, nearest


def use_mirror(params: Params) -> Path:
    """The mirror's folder: $MIRROR, else the parameter; the variable then says so to all of this process."""
    return Path(os.environ.setdefault("MIRROR", str(ROOT / params.mirror)))


def build_data(tier: str) -> None:
    """Stage data@<tier>: every data set of the tier, whole or not at all."""
    params = load_params()
    block = _block(params, tier)
    check_sources(params, [tier])
    for name, options in block.data.items():
        folder = DATA / tier / name
        if name in COMPOSED:
            from lib.data.collage import build_collage
            build_collage(folder, DATA / ".packages", params.seed, dict(options), single=name == "collage_single")
        elif tier == "mirror":
            from lib.data.mirror import import_mirror
            import_mirror(name, folder, use_mirror(params))
        else:
            from lib.data.official import import_official
            more = {k: ROOT / v for k, v in options.items() if k != "source"}
            import_official(name, ROOT / options.get("source", f"datasets/{name}"), folder, **more)


def train_dcsm(tier: str) -> None:
    """Stage dcsm_train@<tier>: weights below build/<tier>/dcsm_train, curves below reports/<tier>/curves/dcsm_train."""
    from lib.data.dataset import Dataset
    from lib.training.dcsm_train import train_networks

    params = load_params()
    use_mirror(params)
    block = _block(params, tier).dcsm_train
    dataset, place = Dataset(DATA / tier / block.dataset), "dcsm_train"
    folder, curves = BUILD / tier / place, REPORTS / tier / "curves" / place
    train_networks(dataset, block.networks, params.seed, folder, curves, code_of(train_networks))


def maps_dcsm(tier: str) -> None:
    """Stage dcsm_maps@<tier>: raw maps below build/<tier>/dcsm_maps."""
    from lib.data.dataset import Dataset
    from lib.papers.dcsm_maps import compute

    params = load_params()
    block = _block(params, tier).dcsm_maps
    weights, folder = BUILD / tier / "dcsm_train", BUILD / tier / "dcsm_maps"
    compute(Dataset(DATA / tier / block.dataset), block, params.dcsm_maps, weights, folder, code_of(compute))


def train_csoa(tier: str) -> None:
    """Stage csoa_train@<tier>: networks and what they find below build, curves below reports/<tier>/curves.

    `torchrun --nproc_per_node N -m lib.pipeline csoa_train TIER` shares every batch among N processes.
    """
    from lib.data.dataset import Dataset
    from lib.nets import load_network
    from lib.nets.fold import fold_normalisation
    from lib.papers.csoa import Extractor
    from lib.papers.csoa_settings import constants_of
    from lib.parallel import processes
    from lib.training.csoa_batches import Squares, enlarged, single_objects
    from lib.training.csoa_networks import locate_job, train_job, train_run

    params = load_params()
    use_mirror(params)
    images = (single_objects, Squares, enlarged)
    training = code_of(train_job, Extractor, load_network, fold_normalisation, *images)
    locating = code_of(locate_job, *images)
    constants = constants_of(params.csoa, params.csoa_trials)
    with processes():
        for dataset, networks in _block(params, tier).csoa_train.runs.items():
            for network, run in networks.items():
                place = f"csoa_train/{dataset}/{network}"
                folder, curves = BUILD / tier / place, REPORTS / tier / "curves" / place
                train_run(Dataset(DATA / tier / dataset), network, run, constants, params.csoa_thresholds.tried,
                          folder, curves, training, locating)


def find_proposals(tier: str) -> None:
    """Stage proposals@<tier>: segment proposals below build/<tier>/proposals/<data set>."""
    from lib.data.dataset import Dataset
    from lib.data.proposal_store import compute

    code = code_of(compute)
    for name, splits in _block(load_params(), tier).proposals.images.items():
        compute(Dataset(DATA / tier / name), splits, BUILD / tier / "proposals" / name, code)


def train_iam(tier: str) -> None:
    """Stage iam_train@<tier>: classifiers and filling modules below build, curves below reports/<tier>."""
    from lib.data.dataset import Dataset
    from lib.training.dcsm_train import train_networks
    from lib.training.iam_train import train_fillings, train_run

    params = load_params()
    use_mirror(params)
    run = _block(params, tier).iam_train
    dataset, proposals = Dataset(DATA / tier / run.dataset), BUILD / tier / "proposals" / run.dataset
    folder, curves = BUILD / tier / "iam_train", REPORTS / tier / "curves" / "iam_train"
    classifying, filling = code_of(train_networks), code_of(train_fillings)
    train_run(dataset, run, params.iam_filling, params.seed, proposals, folder, curves, classifying, filling)


def check_sources(params: Params, tiers: list[str]) -> None:
    """Before anything starts: is what cannot be fetched there?"""
    from lib.data.official import find_official

    if "mirror" in tiers:
        mirror_folder(use_mirror(params))
    for name, options in params.tier["paper"].data.items() if "paper" in tiers else ():
        find_official(name, ROOT / options.get("source", f"datasets/{name}"))


def run(notebook: str, tier: str) -> None:
    """Stage <notebook>@<tier>: the notebook with the tier's block as parameters."""
    from lib.pipeline.notebook import run_notebook

    if notebook not in NOTEBOOKS:
        raise Problem(f'There is no notebook "{notebook}"{nearest(notebook, NOTEBOOKS)}')
    params = load_params()
    use_mirror(params)
    values = dataclasses.asdict(getattr(_block(params, tier), notebook))
    run_notebook(ROOT / "notebooks" / f"{notebook}.ipynb", tier, {"tier": tier, **values}, REPORTS, BUILD)


def report(tier: str) -> None:
    """Stage report@<tier>: the tier's page, claims, tables and notebooks, and the project's headline."""
    from lib.pipeline.stale import stale_section
    from lib.report.readme import update_readme
    from lib.report.render import render

    _block(load_params(), tier)   # a misspelt tier is named
    library = Library(files_here())
    for name in NOTEBOOKS:
        executed = BUILD / tier / "notebooks" / f"{name}.ipynb"
        if executed.is_file():
            _publish(executed, tier, library)
    render(tier, REPORTS, list(NOTEBOOKS), stale_section(tier))
    if tier != "smoke":
        update_readme(ROOT / "README.md", REPORTS)


def _publish(executed: Path, tier: str, library: Library) -> None:
    from lib.pipeline.publishing import publish_notebook
    from lib.pipeline.source import code_file, stage_code, unchanged_cells

    unchanged = unchanged_cells(stage_code(executed.stem, library), code_file(executed.stem, tier, REPORTS))
    target = REPORTS / tier / "notebooks" / executed.name
    publish_notebook(executed, ROOT / "notebooks" / executed.name, target, unchanged)


# What runs for a stage that is no notebook.
STAGES: dict[str, Callable[[str], None]] = {
    "data": build_data, "dcsm_train": train_dcsm, "dcsm_maps": maps_dcsm, "csoa_train": train_csoa,
    "proposals": find_proposals, "iam_train": train_iam, "report": report}


def _block(params: Params, tier: str) -> Tier:
    if tier not in params.tier:
        raise Problem(f'There is no tier "{tier}"{nearest(tier, params.tier)}')
    return params.tier[tier]
