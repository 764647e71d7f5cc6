"""The stages' commands: `python -m lib.pipeline STAGE ...` (people use `make` and `python -m lib`)."""
from lib.base import early

if __name__ == "__main__":
    early.end_without_a_word()   # by Ctrl-C, while all else is imported

import argparse
import os
import sys

from lib.base import orphans, shards, work
from lib.base.memory import reuse_freed
from lib.base.problem import exit_status
from lib.params import STAGES

# Figures go to files, whatever way of showing them is set here, and whether or not it is installed.
os.environ["MPLBACKEND"] = "agg"
INTERRUPTED = "Interrupted; what was finished is kept, another call goes on from there."


def main(words: list[str] | None = None) -> int:
    """Run the stage that the words name; the exit status."""
    args = _parser().parse_args(words)
    reuse_freed()
    return exit_status(lambda: _dispatch(args), INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.pipeline", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    source = stages.add_parser("source", help="the code that stages run, for DVC to compare")
    source.add_argument("names", nargs="*", help="stages; without any, all")
    for name in (*STAGES, "report"):
        stage = stages.add_parser(name)
        stage.add_argument("tier", nargs="?" if name == "report" else None)
        stage.add_argument("--shard", nargs="?", const=shards.FROM_STARTER, help=shards.HELP)
    run = stages.add_parser("run", help="execute a notebook for a tier")
    run.add_argument("notebook")
    run.add_argument("tier")
    stale = stages.add_parser("stale", help="what is older than the code, and why")
    stale.add_argument("tiers", nargs="*", help="without any, those that are active and those with results")
    repro = stages.add_parser("repro", help="run what is not up to date, compare with the committed results")
    repro.add_argument("--tier", action="append", default=[], dest="tiers")
    repro.add_argument("--mirror")
    repro.add_argument("--jobs", help="processes beside each other (default one for each core)")
    repro.add_argument("--cluster", help="a Dask scheduler, whose workers take the place of processes")
    times = stages.add_parser("times", help="what every stage spent when it last ran, by kind of work")
    times.add_argument("tiers", nargs="*", help="without any, those that are active")
    return parser


def _dispatch(args: argparse.Namespace) -> int:
    from lib.pipeline import repro, source, stages, stale, times

    if args.stage == "source":
        source.write(args.names)
    elif args.stage == "stale":
        stale.print_stale(args.tiers)
    elif args.stage == "repro":
        work.use(args.jobs, args.cluster)
        return repro.repro(args.tiers, args.mirror)
    elif args.stage == "times":
        times.print_times(args.tiers or stages.load_params().tiers)
    elif args.stage == "run":
        with source.kept(args.notebook, args.tier), times.timed(args.notebook, args.tier):
            stages.run(args.notebook, args.tier)
    elif args.shard:   # what a whole stage leaves, no share of it does
        stages.run_stage(args.stage, args.tier, shards.shard(args.shard))
    else:
        for tier in [args.tier] if args.tier else stages.load_params().tiers:
            with source.kept(args.stage, tier), times.timed(args.stage, tier):
                stages.run_stage(args.stage, tier)
    return 0


if __name__ == "__main__":
    orphans.end_with_dvc()
    sys.exit(main())
