"""Names and paths that files of others bring along: plain, and inside the folder that they belong to."""
import os
from pathlib import Path

LONGEST = 200   # bytes of a name: endings are added to it, and file systems take 255


def is_plain(name: object) -> bool:
    """Whether it can be a file's name without its ending: no folders, nothing hidden, nothing unseen."""
    if not isinstance(name, str) or not name or name != name.strip():
        return False
    if name.startswith(".") or "/" in name or "\\" in name:
        return False
    return name.isprintable() and (len(name) < LONGEST // 4 or len(name.encode()) <= LONGEST)


def is_inside(path: object) -> bool:
    """Whether it is the relative path of something in a folder, as it is written; links are not followed."""
    if not isinstance(path, str) or not path.isprintable():
        return False
    parts = path.split("/")
    return parts[-1] not in ("", ".") and parts[0] != "" and ".." not in parts


class Inside:
    """A folder, and whether what lies in it leads out by a link. Each folder in it is looked at once."""

    def __init__(self, folder: Path) -> None:
        self._top = str(folder)
        self._real = os.path.realpath(folder)
        self._known: dict[str, bool] = {}

    def leads_out(self, path: str) -> bool:
        """Whether a relative path ends outside."""
        folder, _ = os.path.split(path)
        if folder not in self._known:
            self._known[folder] = self._is_outside(folder)
        if self._known[folder]:
            return True
        is_link = os.path.islink(os.path.join(self._top, path))
        return is_link and self._is_outside(path)

    def _is_outside(self, path: str) -> bool:
        real = os.path.realpath(os.path.join(self._top, path))
        return os.path.commonpath([real, self._real]) != self._real
