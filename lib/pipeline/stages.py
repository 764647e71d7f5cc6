"""What the stages of dvc.yaml call."""
import dataclasses
import os
import shutil
from pathlib import Path

from lib.files import whole_file
from lib.mirror import mirror_folder
from lib.params import NOTEBOOKS, Params, load_params
from lib.paths import BUILD, DATA, REPORTS, ROOT


def use_mirror(params: Params) -> Path:
    """The mirror's folder: $MIRROR, else the parameter; the variable then says so to every network and notebook of this process."""
    return Path(os.environ.setdefault("MIRROR", str(ROOT / params.mirror)))


def build_data(tier: str) -> None:
    """Stage data@<tier>: every data set of the tier, whole or not at all."""
    params = load_params()
    block = params.tier[tier]
    check_sources(params, [tier])
    for name, options in block.data.items():
        folder = DATA / tier / name
        if name == "collage":
            from lib.data.collage import build_collage
            build_collage(folder, DATA / ".packages", params.seed, dict(options))
        elif tier == "mirror":
            from lib.data.mirror import import_mirror
            import_mirror(name, folder, use_mirror(params))
        else:
            from lib.data.official import import_official
            more = {k: ROOT / v for k, v in options.items() if k != "source"}
            import_official(name, ROOT / options.get("source", f"datasets/{name}"), folder, **more)


def check_sources(params: Params, tiers: list[str]) -> None:
    """Before anything starts: is what cannot be fetched there?"""
    from lib.data.official import find_official

    if "mirror" in tiers:
        mirror_folder(use_mirror(params))
    for name, options in params.tier["paper"].data.items() if "paper" in tiers else ():
        find_official(name, ROOT / options.get("source", f"datasets/{name}"))


def run(notebook: str, tier: str) -> None:
    """Stage <notebook>@<tier>: the stripped notebook with the tier's block as parameters."""
    from lib.pipeline.notebook import run_notebook

    params = load_params()
    use_mirror(params)
    block = getattr(params.tier[tier], notebook)
    run_notebook(BUILD / "source" / f"{notebook}.ipynb", tier, {"tier": tier, **dataclasses.asdict(block)})


def report(tier: str) -> None:
    """Stage report@<tier>: the tier's page, claims, tables and notebooks, and the project's headline."""
    from lib.report.readme import update_readme
    from lib.report.render import render

    folder = REPORTS / tier / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    for name in NOTEBOOKS:
        source = BUILD / tier / f"{name}.ipynb"
        if source.is_file():
            with whole_file(folder / source.name) as part:
                shutil.copyfile(source, part)
    render(tier, REPORTS, list(NOTEBOOKS))
    if tier != "smoke":
        update_readme(ROOT / "README.md", REPORTS)
