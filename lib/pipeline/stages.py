"""What the stages of dvc.yaml call, and the code that each of them runs."""
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from lib.base.paths import BUILD, DATA, REPORTS, ROOT, mirror_folder
from lib.base.problem import Problem, nearest
from lib.params import COMPOSED, NOTEBOOKS, Params, Tier, load_params
from lib.pipeline.code import code_of


def use_mirror(params: Params) -> Path:
    """The mirror's folder: $MIRROR, else the parameter; the variable then says so to every network and notebook of this process."""
    return Path(os.environ.setdefault("MIRROR", str(ROOT / params.mirror)))


def build_data(tier: str) -> None:
    """Stage data@<tier>: every data set of the tier, whole or not at all."""
    params = load_params()
    block = _block(params, tier)
    check_sources(params, [tier])
    for name, options in block.data.items():
        folder = DATA / tier / name
        if name in COMPOSED:
            from lib.data.collage.compose import build_collage
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
    from lib.training.networks import train_networks

    params = load_params()
    use_mirror(params)
    block = _block(params, tier).dcsm_train
    train_networks(Dataset(DATA / tier / block.dataset), block.networks, params.seed, BUILD / tier / "dcsm_train",
                   REPORTS / tier / "curves" / "dcsm_train", code_of(train_networks))


def maps_dcsm(tier: str) -> None:
    """Stage dcsm_maps@<tier>: raw maps below build/<tier>/dcsm_maps."""
    from lib.data.dataset import Dataset
    from lib.papers.dcsm.maps import compute

    params = load_params()
    block = _block(params, tier).dcsm_maps
    compute(Dataset(DATA / tier / block.dataset), block, params.dcsm_maps, BUILD / tier / "dcsm_train", BUILD / tier / "dcsm_maps",
            code_of(compute))


def train_csoa(tier: str) -> None:
    """Stage csoa_train@<tier>: networks and what they find below build/<tier>/csoa_train, curves below reports/<tier>/curves/csoa_train.

    `torchrun --nproc_per_node N -m lib.pipeline csoa_train TIER` shares every batch among N processes.
    """
    from lib.base.parallel import processes
    from lib.data.dataset import Dataset
    from lib.nets import load_network
    from lib.nets.fold import fold_normalisation
    from lib.papers.csoa.batches import Squares, enlarged, single_objects
    from lib.papers.csoa.method import Extractor
    from lib.papers.csoa.networks import locate_job, train_job, train_run
    from lib.papers.csoa.settings import constants_of

    params = load_params()
    use_mirror(params)
    images = (single_objects, Squares, enlarged)
    training = code_of(train_job, Extractor, load_network, fold_normalisation, *images)
    locating = code_of(locate_job, *images)
    with processes():
        for dataset, networks in _block(params, tier).csoa_train.runs.items():
            for network, run in networks.items():
                place = f"csoa_train/{dataset}/{network}"
                train_run(Dataset(DATA / tier / dataset), network, run, constants_of(params.csoa, params.csoa_trials),
                          params.csoa_thresholds.tried, BUILD / tier / place, REPORTS / tier / "curves" / place, training, locating)


def find_proposals(tier: str) -> None:
    """Stage proposals@<tier>: segment proposals below build/<tier>/proposals/<data set>."""
    from lib.data.dataset import Dataset
    from lib.proposals.store import compute

    code = code_of(compute)
    for name, splits in _block(load_params(), tier).proposals.images.items():
        compute(Dataset(DATA / tier / name), splits, BUILD / tier / "proposals" / name, code)


def train_iam(tier: str) -> None:
    """Stage iam_train@<tier>: classifier and filling modules below build/<tier>/iam_train, curves below reports/<tier>/curves/iam_train."""
    from lib.data.dataset import Dataset
    from lib.papers.iam.training import train_fillings, train_run
    from lib.training.networks import train_networks

    params = load_params()
    use_mirror(params)
    run = _block(params, tier).iam_train
    train_run(Dataset(DATA / tier / run.dataset), run, params.iam_filling, params.seed, BUILD / tier / "proposals" / run.dataset,
              BUILD / tier / "iam_train", REPORTS / tier / "curves" / "iam_train", code_of(train_networks), code_of(train_fillings))


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
    block = getattr(_block(params, tier), notebook)
    run_notebook(ROOT / "notebooks" / f"{notebook}.ipynb", tier, {"tier": tier, **dataclasses.asdict(block)}, REPORTS, BUILD)


def report(tier: str) -> None:
    """Stage report@<tier>: the tier's page, claims, tables and notebooks, and the project's headline."""
    from lib.pipeline.publishing import publish_notebook
    from lib.pipeline.stale import stale_section
    from lib.report.readme import update_readme
    from lib.report.render import render

    _block(load_params(), tier)   # a misspelt tier is named
    folder = REPORTS / tier / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    for name in NOTEBOOKS:
        executed = BUILD / tier / "notebooks" / f"{name}.ipynb"
        if executed.is_file():
            publish_notebook(executed, ROOT / "notebooks" / executed.name, folder / executed.name)
    render(tier, REPORTS, list(NOTEBOOKS), stale_section(tier))
    if tier != "smoke":
        update_readme(ROOT / "README.md", REPORTS)


# What runs for a stage that is no notebook.
STAGES: dict[str, Callable[[str], None]] = {
    "data": build_data, "dcsm_train": train_dcsm, "dcsm_maps": maps_dcsm, "csoa_train": train_csoa, "proposals": find_proposals,
    "iam_train": train_iam, "report": report}


def _block(params: Params, tier: str) -> Tier:
    if tier not in params.tier:
        raise Problem(f'There is no tier "{tier}"{nearest(tier, params.tier)}')
    return params.tier[tier]
