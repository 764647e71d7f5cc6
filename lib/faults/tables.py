"""Faults of the tables of dataset folders: rows, boxes, and how they are written."""
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from lib.faults.case import Case, Outcome, refused
from lib.faults.scenes import append, case, whole, write


def tables() -> Iterator[Case]:
    """The cases of both tables."""
    yield from _samples()
    yield from _boxes()
    yield from _texts()


def _samples() -> Iterator[Case]:
    rows = {
        "an id that leads above": "../x,images/b.png,test,cat",
        "an absolute id": "/tmp/x,images/b.png,test,cat",
        "an id with a folder": "x/y,images/b.png,test,cat",
        "an id with a backslash": "x\\y,images/b.png,test,cat",
        "a hidden id": ".x,images/b.png,test,cat",
        "an empty id": ",images/b.png,test,cat",
        "an id of a space": " ,images/b.png,test,cat",
        "the id of the folder above": "..,images/b.png,test,cat",
        "an id of 300 letters": f"{'x' * 300},images/b.png,test,cat",
        "a bell in an id": "x\x07,images/b.png,test,cat",
        "an id that is there": "a,images/b.png,test,cat",
        "an id of another split": "b,images/b.png,train,cat",
        "an image that is not there": "c,images/c.png,test,cat",
        "an image above": "c,../x.png,test,cat",
        "an absolute image": "c,/etc/hostname,test,cat",
        "an empty image": "c,,test,cat",
        "a folder as image": "c,images,test,cat",
        "a table as image": "c,samples.csv,test,cat",
        "the manifest as image": "c,manifest.json,test,cat",
        "an empty split": "c,images/b.png,,cat",
        "a split that leads above": "c,images/b.png,../x,cat",
        "an unknown class": "c,images/b.png,test,cta",
        "too few columns": "c,images/b.png",
        "too many columns": "c,images/b.png,test,cat,x,y",
        "a quotation that does not end": '"c,images/b.png,test,cat',
        "a NUL": "c\0,images/b.png,test,cat",
        "a field of a megabyte": f"{'x' * 1_000_000},images/b.png,test,cat",
    }
    for name, row in rows.items():
        yield case(f"samples.csv with {name}", partial(append, "samples.csv", f"{row}\n".encode()))


def _boxes() -> Iterator[Case]:
    rows = {
        "an unknown image": "z,cat,0,0,2,2",
        "an unknown class": "a,cta,0,0,2,2",
        "a reversed box": "a,cat,4,0,2,2",
        "a box upside down": "a,cat,0,4,2,2",
        "an empty box": "a,cat,2,0,2,2",
        "a box left of it": "a,cat,-1,0,2,2",
        "a box above it": "a,cat,0,-1,2,2",
        "a box right of it": "a,cat,0,0,13,2",
        "a box below it": "a,cat,0,0,2,11",
        "half pixels": "a,cat,0.5,0,2,2",
        "words": "a,cat,one,0,2,2",
        "nothing in a corner": "a,cat,,0,2,2",
        "NaN": "a,cat,nan,0,2,2",
        "infinity": "a,cat,inf,0,2,2",
        "5,000 digits": f"a,cat,0,0,{'9' * 5000},2",
        "an exponent": "a,cat,0,0,1e1,2",
        "an underscore": "a,cat,0,0,1_0,2",
        "too few columns": "a,cat,0,0,2",
        "too many columns": "a,cat,0,0,2,2,2",
        "an empty class": "a,,0,0,2,2",
        "digits of another script": "a,cat,0,0,٣,2",
    }
    for name, row in rows.items():
        yield case(f"boxes.csv with {name}", partial(append, "boxes.csv", f"{row}\n".encode()))


def _texts() -> Iterator[Case]:
    """How a table is written: some ways do no harm."""
    changes: dict[str, tuple[Callable[[str], bytes], Callable[..., Outcome]]] = {
        "a byte order mark": (lambda text: text.encode("utf-8-sig"), whole),
        "line ends of Windows": (lambda text: text.replace("\n", "\r\n").encode(), whole),
        "no last line end": (lambda text: text.rstrip("\n").encode(), whole),
        "every field quoted": (lambda text: _quoted(text).encode(), whole),
        "UTF-16": (lambda text: text.encode("utf-16"), refused),
        "semicolons": (lambda text: text.replace(",", ";").encode(), refused),
        "tabs": (lambda text: text.replace(",", "\t").encode(), refused),
        "no header": (lambda text: text.split("\n", 1)[1].encode(), refused),
        "a column twice": (lambda text: text.replace("id,", "id,id,", 1).encode(), refused),
        "another first column": (lambda text: text.replace("id,", "name,", 1).encode(), refused),
        "a letter of another encoding": (lambda text: f"{text}ä,".encode("latin-1"), refused),
    }
    for table in ("samples.csv", "boxes.csv"):
        for name, (change, judge) in changes.items():
            yield case(f"{table} with {name}", partial(_rewrite, table, change), judge)
    yield case("samples.csv that is empty", partial(write, "samples.csv", b""))
    yield case("samples.csv with a header alone", partial(write, "samples.csv", b"id,image,split,labels\n"))
    yield case("samples.csv with blank lines", partial(append, "samples.csv", b"\n\n"), whole)


def _quoted(text: str) -> str:
    lines = []
    for line in text.splitlines():
        lines.append(",".join(f'"{field}"' for field in line.split(",")))
    return "\n".join(lines)


def _rewrite(name: str, change: Callable[[str], bytes], folder: Path) -> None:
    path = folder / name
    path.write_bytes(change(path.read_text(encoding="utf-8")))
