"""The command line of the suite: maps of your photographs, scores on any data set, dataset folders."""
from lib.base import early

if __name__ == "__main__":
    early.end_without_a_word()   # by Ctrl-C, while all else is imported

import argparse
import os
import re
import sys
from pathlib import Path

from lib.base import shards
from lib.base.batch import AUTO, Batch
from lib.base.problem import exit_status, quoted

EXAMPLES = """examples:
  python -m lib segment rcam photo.jpg --out maps           heat map, mask and overlay of one photograph
  python -m lib segment rcam photos/ --out maps             ... of every image in a folder
  python -m lib segment dcsm photos/ --out maps             ... by the network that the collage tier trained
  python -m lib segment iam photos/ --out maps              ... instances, each with its class and confidence
  python -m lib evaluate rcam --data data/collage/collage   table 1 on a dataset folder, as in the notebook
  python -m lib data check data/collage/collage             compare a dataset folder with its manifest
  python -m lib data mirror voc data/voc                    convert one of the mirror's data sets ($MIRROR)
  python -m lib data official ecssd data/ecssd --source ~/ECSSD
  python -m lib params                                      check params.yaml
  python -m lib bench --rows cam guided                     time maps beside other packages
  python -m lib faults --groups params                      try what can be wrong with params.yaml
"""
SEGMENT = """Writes NAME_heat.png (grey), NAME_mask.png and NAME_overlay.jpg for every photograph, in its own
size; methods that tell classes apart also NAME_classes.png, and they print what they found."""
EVALUATE = "Prints every row of the method with its 95 % interval; --json also writes them."
BENCH = """Compares maps with those of other packages, times both in turns, and writes bench.json,
README.md and bench.png; where those go to reports/bench, the front page is updated too."""
FAULTS = "Tries damaged, wrong and missing input of every kind; each must end in a clear sentence or go well."
IMAGES: tuple[tuple[str, int], ...] = (("train", 600), ("val", 96), ("test", 160))   # of a collage
LARGEST = 2 ** 31   # of a seed, and of a number of images

# Figures go to files, whatever way of showing them is set here, and whether or not it is installed.
os.environ["MPLBACKEND"] = "agg"


def main(words: list[str] | None = None) -> int:
    """0, or 1 after one sentence about what is wrong."""
    args = parser().parse_args(words)
    from lib import commands
    from lib.bench.command import bench
    from lib.faults.command import faults
    from lib.segment.command import segment

    known = {"segment": segment, "evaluate": commands.evaluate, "data": commands.data,
             "params": commands.params, "bench": bench, "faults": faults}
    return exit_status(lambda: known[args.command](args), "Interrupted; finished results are kept.")


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    main = argparse.ArgumentParser(prog="python -m lib", description=__doc__, epilog=EXAMPLES,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_segment(commands)
    _add_evaluate(commands)
    _add_data(commands)
    commands.add_parser("params", help="check params.yaml")
    _add_bench(commands)
    _add_faults(commands)
    return main


def _add_segment(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from lib.methods import segments

    help = "heat maps, masks and overlays of photographs"
    segment = commands.add_parser("segment", help=help, description=SEGMENT)
    segment.add_argument("method", help=", ".join(segments()))
    segment.add_argument("input", type=_path, help="a photograph, or a folder of them")
    segment.add_argument("--out", type=_path, required=True,
                         help="folder for the results; what is there and follows from the same is kept")
    segment.add_argument("--threshold", type=float,
                         help="a pixel is foreground from here on (default 0.5, or the method's own)")
    segment.add_argument("--shard", nargs="?", const=shards.FROM_STARTER, metavar="I/N", help=shards.HELP)
    _add_shared(segment)


def _add_evaluate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from lib.methods import evaluates

    help = "score a method on a dataset folder, on the notebooks' code path"
    evaluate = commands.add_parser("evaluate", help=help, description=EVALUATE)
    evaluate.add_argument("method", help=", ".join(evaluates()))
    evaluate.add_argument("--data", type=_path, required=True, help="a dataset folder")
    evaluate.add_argument("--split", default="test", help="which split (default test)")
    evaluate.add_argument("--images", type=_count, help="only so many, spread evenly (default all)")
    evaluate.add_argument("--json", type=_path, help="write the scores there")
    _add_shared(evaluate)


def _add_shared(command: argparse.ArgumentParser) -> None:
    """What a method is to run with: the options of a `Request`."""
    command.add_argument("--network", help="a network of lib.nets (default the tier's first)")
    command.add_argument("--tier", default="collage",
                         help="whose networks, sizes and batches (default collage)")
    command.add_argument("--weights", type=_path,
                         help="a trained network's file (default what the tier's training stage left)")
    command.add_argument("--batch", type=_batch,
                         help="images at a time; auto: as many as fit into memory, while more are faster")
    command.add_argument("--jobs", help="processes beside each other (default $JOBS, or one for each core)")
    command.add_argument("--cluster", help="a Dask scheduler, whose workers take the place of processes")


def _add_data(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    data = commands.add_parser("data", help="build or check a dataset folder")
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="compare every file with the manifest")
    check.add_argument("folder", type=_path)
    _add_collage(actions)
    _add_importer(actions, "mirror", "the mirror's data sets", " (default $MIRROR)")
    _add_importer(actions, "official", "a data set as its authors distribute it", "")


def _add_collage(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    help = "compose images with exact truth from Debian's cut-outs and wallpapers"
    collage = actions.add_parser("collage", help=help)
    collage.add_argument("folder", type=_path)
    for split, count in IMAGES:
        collage.add_argument(f"--{split}", type=_whole, default=count, help=f"images (default {count})")
    collage.add_argument("--seed", type=_whole, default=0)
    collage.add_argument("--single", action="store_true",
                         help="one object an image, its box 15 to 60 %% of it, classes balanced")


def _add_importer(actions: "argparse._SubParsersAction[argparse.ArgumentParser]", action: str, what: str,
                  default: str) -> None:
    importer = actions.add_parser(action, help=f"convert {what}")
    importer.add_argument("name")
    importer.add_argument("folder", type=_path)
    importer.add_argument("--source", type=_path, help=f"the folder it lies in{default}")


def _batch(text: str) -> Batch:
    return AUTO if text == AUTO else _count(text)


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from lib.bench.rows import ROWS

    help = "time maps and methods beside other packages, and measure memory"
    bench = commands.add_parser("bench", help=help, description=BENCH)
    bench.add_argument("--rows", nargs="+", metavar="NAME", help=f"only these: {', '.join(ROWS)}")
    bench.add_argument("--quick", action="store_true",
                       help="small images and few rounds, to see in seconds that all runs")
    bench.add_argument("--out", type=_path,
                       help="folder for the results (default reports/bench, with --quick build/bench)")
    bench.add_argument("--threads", type=_count, default=1, help="of every process (default 1)")
    bench.add_argument("--json", action="store_true", help="print the numbers instead of the tables")


def _add_faults(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from lib.faults.runner import GROUPS, SLOW

    faults = commands.add_parser("faults", help="try what can be wrong", description=FAULTS)
    faults.add_argument("--groups", nargs="+", metavar="NAME",
                        help=f"only these: {', '.join(GROUPS)} (default all but {', '.join(SLOW)})")
    faults.add_argument("--seed", type=_whole, default=0, help="which cases are drawn (default 0)")
    faults.add_argument("--quick", action="store_true", help="some cases of every group")
    faults.add_argument("--out", type=_path, help="a page to write, such as reports/faults.md")


def _count(text: str) -> int:
    number = _number(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} must be at least 1")
    return number


def _whole(text: str) -> int:
    number = _number(text)
    if not 0 <= number <= LARGEST:
        raise argparse.ArgumentTypeError(f"{number} must be between 0 and {LARGEST}")
    return number


def _number(text: str) -> int:
    if not re.fullmatch("[-+]?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no whole number")
    return int(text)


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no name that a file can have")
    return Path(text)


if __name__ == "__main__":
    sys.exit(main())
