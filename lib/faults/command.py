"""`python -m lib faults`: tries what can be wrong, prints a table, and writes it as a page."""
import argparse

from lib.base.files import whole_file
from lib.base.problem import Problem
from lib.faults.case import Outcome
from lib.faults.page import page
from lib.faults.runner import cases_of, known_groups, tried


def faults(args: argparse.Namespace) -> None:
    """Try the groups; a `Problem` at the end where a case is not clear."""
    groups = {}
    for group in known_groups(args.groups):
        groups[group] = tried(cases_of(group, args.seed, args.quick), group)
    before = args.out.read_text(encoding="utf-8") if args.out and args.out.is_file() else ""
    text = page(groups, args.seed, before)
    print(text, end="")
    if args.out:
        with whole_file(args.out) as part:
            part.write_text(text, encoding="utf-8")
    unclear = sum(each.outcome is Outcome.NOT_CLEAR for found in groups.values() for each in found)
    if unclear:
        raise Problem(f"faults: {unclear} of the cases tried are not clear, see the list above.")
