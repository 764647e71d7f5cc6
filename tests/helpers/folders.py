"""What a folder of files holds, and what a run changed in it."""
from pathlib import Path

Contents = dict[str, tuple[int, bytes]]   # name -> when the file was written, what it holds


def contents(folder: Path) -> Contents:
    """When each file was written, and what it holds."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def changed(folder: Path, before: Contents) -> set[str]:
    """The files that are new or were written again."""
    now = contents(folder)
    return {name for name, (when, _) in now.items() if name not in before or before[name][0] != when}
