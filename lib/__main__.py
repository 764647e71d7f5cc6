"""The command line of the suite: maps for your own photographs, scores on any dataset folder, dataset folders from anywhere."""
import argparse
import sys
from pathlib import Path

from lib.base.problem import exit_status

EXAMPLES = """examples:
  python -m lib segment rcam photo.jpg --out maps           heat map, mask and overlay of one photograph
  python -m lib segment rcam photos/ --out maps             ... of every image in a folder
  python -m lib segment dcsm photos/ --out maps             ... by the network that the collage tier trained (--tier, --weights)
  python -m lib segment iam photos/ --out maps              ... instances, each with its class and confidence
  python -m lib evaluate rcam --data data/collage/collage   table 1 on a dataset folder, the same scores as the notebook
  python -m lib data check data/collage/collage             compare a dataset folder with its manifest
  python -m lib data mirror voc data/voc                    convert one of the mirror's data sets ($MIRROR)
  python -m lib data official ecssd data/ecssd --source ~/ECSSD
  python -m lib params                                      check params.yaml
"""


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    raw = argparse.RawDescriptionHelpFormatter
    main = argparse.ArgumentParser(prog="python -m lib", description=__doc__, epilog=EXAMPLES, formatter_class=raw)
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    segment = commands.add_parser("segment", help="heat maps, masks and overlays of photographs",
                                  description="Writes NAME_heat.png (grey), NAME_mask.png and NAME_overlay.jpg for every photograph, in its own size; methods "
                                              "that tell classes apart also NAME_classes.png; they print the classes, csoa with a box, iam and prm instances with "
                                              "their confidence.")
    segment.add_argument("method", help="csoa, dcsm, iam, prm, rcam, rcam_box, or a step of rcam: g_weak, cam1, cam2, rcam1, rcam2, rcam3")
    segment.add_argument("input", type=Path, help="a photograph, or a folder of them")
    segment.add_argument("--out", type=Path, required=True, help="folder for the results; what is there already is not computed again")
    segment.add_argument("--threshold", type=float, help="a pixel is foreground from here on (default 0.5; csoa: theta of params.yaml)")
    evaluate = commands.add_parser("evaluate", help="score a method on a dataset folder, on the notebooks' code path",
                                   description="Prints every row of the method with its 95 % interval; --json also writes them.")
    evaluate.add_argument("method", help="rcam (its table 1), rcam_box (its table 2), dcsm (its table 6), csoa (its table 1) or iam (PRM and IAM-S5 of its table 1)")
    evaluate.add_argument("--data", type=Path, required=True, help="a dataset folder")
    evaluate.add_argument("--split", default="test", help="which split (default test)")
    evaluate.add_argument("--images", type=_count, help="only so many, spread evenly (default all)")
    evaluate.add_argument("--json", type=Path, help="write the scores there")
    for command in (segment, evaluate):
        command.add_argument("--network", help="a network of lib.nets (default the tier's first)")
        command.add_argument("--tier", default="collage", help="whose networks, sizes and batches (default collage)")
        command.add_argument("--weights", type=Path, help="dcsm, csoa, iam: a trained network's file, of iam the filling module's (default what the tier's training stage left)")
        command.add_argument("--batch", type=_count, help="images at a time")
    data = commands.add_parser("data", help="build or check a dataset folder").add_subparsers(dest="action", required=True, metavar="ACTION")
    data.add_parser("check", help="compare every file with the manifest").add_argument("folder", type=Path)
    collage = data.add_parser("collage", help="compose images with exact truth from Debian's cut-outs and wallpapers")
    collage.add_argument("folder", type=Path)
    for split, count in (("train", 600), ("val", 96), ("test", 160)):
        collage.add_argument(f"--{split}", type=int, default=count, help=f"images (default {count})")
    collage.add_argument("--seed", type=int, default=0)
    collage.add_argument("--single", action="store_true", help="one object an image, its box 15 to 60 %% of it, classes balanced (collage_single)")
    for action, what in (("mirror", "the mirror's data sets"), ("official", "a data set as its authors distribute it")):
        importer = data.add_parser(action, help=f"convert {what}")
        importer.add_argument("name")
        importer.add_argument("folder", type=Path)
        importer.add_argument("--source", type=Path, help="the folder it lies in" + " (default $MIRROR)" * (action == "mirror"))
    commands.add_parser("params", help="check params.yaml")
    return main


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} must be at least 1")
    return number


def main(words: list[str] | None = None) -> int:
    """0, or 1 after one sentence about what is wrong."""
    args = parser().parse_args(words)
    from lib import commands

    command = {"segment": commands.segment, "evaluate": commands.evaluate, "data": commands.data, "params": commands.params}[args.command]
    return exit_status(lambda: command(args), "Interrupted; finished results are kept.")


if __name__ == "__main__":
    sys.exit(main())
