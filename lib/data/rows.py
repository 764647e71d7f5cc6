"""Tables of dataset folders: rows of a CSV file with its columns checked."""
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from lib.base.problem import Problem, quoted

Row = dict[str, str]


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """Rows with the number of their line; `columns` must be there, and every row must fill all there are."""
    if not path.is_file():
        raise Problem(f"{path}: missing; every dataset folder needs it.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:   # Excel writes a byte order mark
            table = csv.DictReader(stream)
            _check_header(path, table.fieldnames or (), columns)
            for row in table:
                if None in row or None in row.values():
                    name = quoted(row[columns[0]])
                    raise Problem(f'{path}: the row of image {name} has too few or too many columns; '
                                  f"line {table.line_num} must have {len(table.fieldnames)}.")
                yield table.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise Problem(f"{path}: cannot be read as CSV in UTF-8 ({error}); save it so.") from None


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    if not header:   # an empty file: there are no rows, which is for others to say
        return
    for column in columns:
        if column not in header:
            raise Problem(f"{path}: lacks the column {quoted(column)}.")
    for column in header:
        if header.count(column) > 1:
            raise Problem(f"{path}: has the column {quoted(column)} more than once; keep one of them.")
