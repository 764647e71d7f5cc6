"""The stages' commands: `python -m lib.pipeline STAGE ...` (people use `make` and `python -m lib`)."""
import argparse
import os
import sys
from pathlib import Path

from lib.base.problem import exit_status

# Before torch allocates anything, here and in the notebooks' kernels: large tensors on large pages. Fresh pages of 4 KiB, one fault
# each, can cost more than the arithmetic.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lib.pipeline", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    strip = stages.add_parser("strip", help="a notebook without outputs, for stages to depend on")
    strip.add_argument("notebook")
    for name in ("data", "train", "maps", "csoa", "proposals", "iam", "report"):
        stages.add_parser(name).add_argument("tier", nargs="?" if name == "report" else None)
    run = stages.add_parser("run", help="execute a notebook for a tier")
    run.add_argument("notebook")
    run.add_argument("tier")
    repro = stages.add_parser("repro", help="check, run what is not up to date, compare with the committed results")
    repro.add_argument("--tier", action="append", default=[], dest="tiers")
    repro.add_argument("--mirror")
    args = parser.parse_args(words)
    return exit_status(lambda: _dispatch(args), "Interrupted; what was finished is kept, another call goes on from there.")


def _dispatch(args: argparse.Namespace) -> int:
    from lib.pipeline import repro, stages

    if args.stage == "strip":
        from lib.base.paths import BUILD, NOTEBOOKS
        from lib.pipeline.notebook import strip
        strip(NOTEBOOKS / f"{args.notebook}.ipynb", BUILD / "source" / f"{Path(args.notebook).stem}.ipynb")
    elif args.stage == "data":
        stages.build_data(args.tier)
    elif args.stage == "train":
        stages.train_dcsm(args.tier)
    elif args.stage == "maps":
        stages.maps_dcsm(args.tier)
    elif args.stage == "csoa":
        stages.train_csoa(args.tier)
    elif args.stage == "proposals":
        stages.find_proposals(args.tier)
    elif args.stage == "iam":
        stages.train_iam(args.tier)
    elif args.stage == "run":
        stages.run(args.notebook, args.tier)
    elif args.stage == "report":
        for tier in [args.tier] if args.tier else stages.load_params().tiers:
            stages.report(tier)
    else:
        return repro.repro(args.tiers, args.mirror)
    return 0


if __name__ == "__main__":
    sys.exit(main())
