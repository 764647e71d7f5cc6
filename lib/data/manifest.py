"""The manifest of a dataset folder: what the data set is, and size and hash of every file in it."""
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.base.files import sha256
from lib.base.names import Inside, is_inside
from lib.base.problem import Problem, quoted
from lib.base.progress import progress

SHA256 = re.compile(r"[0-9a-f]{64}")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest as its contract says; whatever is wrong with it is named."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise Problem(f"{folder}: not a dataset folder (no manifest.json); "
                      'build it with "python -m lib data" or "dvc repro".')
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        fault = _fault(manifest)
    except (ValueError, RecursionError) as error:
        fault = f"no JSON in UTF-8, {error}"
    if fault:
        raise Problem(f"{path}: damaged ({fault}); delete {folder} and build the dataset again.")
    return manifest


def _fault(manifest: Any) -> str:
    """What is wrong with a manifest; "" where nothing is."""
    if not isinstance(manifest, dict):
        return "it is no mapping"
    name, classes, files = (manifest.get(key) for key in ("name", "classes", "files"))
    if not isinstance(name, str) or not name or not name.isprintable():
        return "its name is no word"
    if not isinstance(classes, list):
        return "its classes are no list"
    for each in classes:
        if not _is_word(each):
            return f"the class {quoted(each)} is no word without spaces"
        if classes.count(each) > 1:
            return f"the class {each} is there more than once"
    if not isinstance(files, dict) or not files:
        return "it lists no file"
    for file, entry in files.items():
        if not is_inside(file):
            return f"the file {quoted(file)} does not lie inside the folder"
        if not _is_entry(entry):
            return f"the file {file} has no size and hash"
    return ""


def _is_word(text: object) -> bool:
    return isinstance(text, str) and bool(text) and text.isprintable() and not any(map(str.isspace, text))


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or type(entry.get("bytes")) is not int:
        return False
    return isinstance(entry.get("sha256"), str) and bool(SHA256.fullmatch(entry["sha256"]))


def check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Compare every file with the manifest; the first damaged, truncated or missing one is named."""
    inside = Inside(folder)
    for name, entry in progress(manifest["files"].items(), f"checking {manifest['name']}"):
        path = folder / name
        if not path.is_file():
            raise Problem(f"{path}: listed in the manifest but missing; build the dataset again.")
        if inside.leads_out(name):
            raise Problem(f'{folder}: the file "{name}" lies outside the dataset folder, by a link; '
                          "put the file itself there.")
        if path.stat().st_size != entry["bytes"] or sha256(path) != entry["sha256"]:
            raise Problem(f"{path}: damaged, its content differs from the manifest; build the dataset again.")
