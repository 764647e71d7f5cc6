"""The functions that the stages of dvc.yaml call, and the code that each of them runs."""
import dataclasses
import os
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from lib.base.paths import BUILD, DATA, REPORTS, ROOT, mirror_folder
from lib.base.problem import Problem, nearest
from lib.base.shards import WHOLE, Shard
from lib.papers import PAPERS
from lib.params import COMPOSED, NOTEBOOKS, SETTINGS, Params, load_params
from lib.pipeline.code import code_of
from lib.pipeline.library import Library, files_here
from lib.proposals.stages import proposals

Stage = Callable[..., None]   # (params, tier, what tells the code that some functions run[, share])

# Which paper a notebook replicates; those that are missing here compare methods.
OWNERS = {notebook: paper for paper, own in SETTINGS.items() for notebook in own.NOTEBOOKS}


def use_mirror(params: Params) -> Path:
    """The mirror's folder: $MIRROR, else the parameter.

    The variable then says so to every network and notebook of this process.
    """
    return Path(os.environ.setdefault("MIRROR", str(ROOT / params.mirror)))


def data(params: Params, tier: str, _: Any = None) -> None:
    """Stage data@<tier>: every data set of the tier, whole or not at all."""
    check_sources(params, [tier])
    for name, options in params.tier[tier].data.items():
        folder = DATA / tier / name
        if name in COMPOSED:
            from lib.data.collage.compose import build_collage
            single = name == "collage_single"
            build_collage(folder, DATA / ".packages", params.seed, dict(options), single=single)
        elif tier == "mirror":
            from lib.data.mirror import import_mirror
            import_mirror(name, folder, use_mirror(params))
        else:
            _import_official(name, options, folder)


def check_sources(params: Params, tiers: list[str]) -> None:
    """Name what cannot be fetched and is not there, before anything starts."""
    from lib.data.official import find_official

    if "mirror" in tiers:
        mirror_folder(use_mirror(params))
    if "paper" in tiers:
        for name, options in params.tier["paper"].data.items():
            find_official(name, _source(name, options), **_importer_options(options))


def run(notebook: str, tier: str) -> None:
    """Stage <notebook>@<tier>: the notebook with the tier's block as parameters."""
    from lib.pipeline.notebook import run_notebook

    if notebook not in NOTEBOOKS:
        raise Problem(f'There is no notebook "{notebook}"{nearest(notebook, NOTEBOOKS)}')
    block = getattr(_params(tier).tier[tier], notebook)
    parameters = {"tier": tier, **dataclasses.asdict(block)}
    run_notebook(ROOT / "notebooks" / f"{notebook}.ipynb", tier, parameters, REPORTS, BUILD)


def run_stage(name: str, tier: str, share: Shard = WHOLE) -> None:
    """Stage <name>@<tier> that is no notebook, or this process's share of it."""
    stage = STAGES[name]
    if share == WHOLE:
        stage(_params(tier), tier, code_of)
    elif "share" in signature(stage).parameters:
        stage(_params(tier), tier, code_of, share)
    else:
        raise Problem(f"{name}: cannot be shared among machines, leave --shard out.")


def report(params: Params, tier: str, _: Any = None) -> None:
    """Stage report@<tier>: the tier's page, claims, tables and notebooks, and the project's headline."""
    from lib.pipeline.stale import stale_section
    from lib.report.paper import papers
    from lib.report.readme import update_readme
    from lib.report.render import render

    library = Library(files_here())
    for name in NOTEBOOKS:
        executed = BUILD / tier / "notebooks" / f"{name}.ipynb"
        if executed.is_file():
            _publish(executed, tier, library)
    known = papers(PAPERS, OWNERS)
    render(tier, REPORTS, list(NOTEBOOKS), stale_section(tier), known)
    if tier != "smoke":
        update_readme(ROOT / "README.md", REPORTS, known)


def _publish(executed: Path, tier: str, library: Library) -> None:
    from lib.pipeline.publishing import publish_notebook
    from lib.pipeline.source import code_file, stage_code, unchanged_cells

    unchanged = unchanged_cells(stage_code(executed.stem, library), code_file(executed.stem, tier, REPORTS))
    target = REPORTS / tier / "notebooks" / executed.name
    publish_notebook(executed, ROOT / "notebooks" / executed.name, target, unchanged)


def _stages() -> dict[str, Stage]:
    """The functions of stages that are no notebook; a paper's lie in its folder, named like the stage."""
    stages: dict[str, Stage] = {"data": data, "proposals": proposals}
    for paper, settings in SETTINGS.items():
        for stage in settings.STAGES:
            stages[stage] = getattr(import_module(f"lib.papers.{paper}.stages"), stage)
    return stages | {"report": report}


STAGES = _stages()


def _import_official(name: str, options: dict[str, Any], folder: Path) -> None:
    from lib.data.official import import_official

    import_official(name, _source(name, options), folder, **_importer_options(options))


def _importer_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options of an importer beside its source; words are further folders."""
    more = {key: value for key, value in options.items() if key != "source"}
    return {key: ROOT / value if isinstance(value, str) else value for key, value in more.items()}


def _source(name: str, options: dict[str, Any]) -> Path:
    """Where the user's own copy of a data set lies."""
    return ROOT / options.get("source", f"datasets/{name}")


def _params(tier: str) -> Params:
    params = load_params()
    if tier not in params.tier:
        raise Problem(f'There is no tier "{tier}"{nearest(tier, params.tier)}')
    use_mirror(params)
    return params
