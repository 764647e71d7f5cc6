"""The files that `segment` writes for a photograph, and whether those that are there are what is asked for.

An overlay holds, as the comment of the JPEG, a digest of the photograph, of all that was asked for, and of
every file of the result. What was made from anything else, or is damaged, does not meet it.
"""
import hashlib
import io
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from lib.base.files import digest, sha256, whole_file
from lib.base.problem import Problem

MARK = b"python -m lib segment: "   # the comment begins so, a digest follows
BLANK = b"0" * 64                   # in its place while the overlay itself is digested
OVERLAY = "overlay.jpg"
PICTURES: tuple[str, ...] = ("heat.png", "mask.png", "classes.png")   # the last for some methods only
LONGEST_SIDE = 65_500   # of a JPEG
LONGEST_STEM = 200      # bytes of a name, so that what is written beside it has a name, too


@dataclass(frozen=True)
class Results:
    """Where the results of a photograph lie, and all that they follow from beside it.

    asked   a digest of the method and all that it runs with
    """
    photograph: Path
    folder: Path
    asked: str

    def file(self, ending: str) -> Path:
        """One of the files."""
        return self.folder / f"{self.photograph.stem}_{ending}"

    def are_there(self) -> bool:
        """Whether all files are there that follow from this photograph and from what is asked for."""
        overlay = self.file(OVERLAY)
        if not overlay.is_file() or not self.photograph.is_file():
            return False
        before, mark, after = overlay.read_bytes().partition(MARK)
        found = after[:len(BLANK)]
        blank = before + mark + BLANK + after[len(BLANK):]
        return found == self._digest(blank, self._pictures_there())

    def check_places(self) -> None:
        """Refuse a photograph whose results could not be written."""
        if len(os.fsencode(self.photograph.stem)) > LONGEST_STEM:
            raise Problem(f"{self.photograph}: the name is too long for the names of its results; "
                          "rename the photograph.")
        for ending in (*PICTURES, OVERLAY):
            place = self.file(ending)
            if place.is_dir():
                raise Problem(f"{place}: a folder lies where a result is to be written; "
                              "remove or rename it.")

    def write(self, pictures: dict[str, Image.Image], overlay: Image.Image) -> None:
        """Write all files or none, the overlay last; those of another method go."""
        with ExitStack() as files:
            # The last to be opened is the first to be renamed.
            overlay_part = files.enter_context(whole_file(self.file(OVERLAY)))
            parts = {}
            for ending, picture in pictures.items():
                parts[ending] = files.enter_context(whole_file(self.file(ending)))
                picture.save(parts[ending])
            overlay_part.write_bytes(self._marked(overlay, parts))
        for ending in set(PICTURES) - set(pictures):
            self.file(ending).unlink(missing_ok=True)

    def _marked(self, overlay: Image.Image, parts: dict[str, Path]) -> bytes:
        stream = io.BytesIO()
        overlay.save(stream, "JPEG", comment=MARK + BLANK)
        blank = stream.getvalue()
        return blank.replace(MARK + BLANK, MARK + self._digest(blank, parts), 1)

    def _pictures_there(self) -> dict[str, Path]:
        return {ending: self.file(ending) for ending in PICTURES if self.file(ending).is_file()}

    def _digest(self, overlay: bytes, pictures: dict[str, Path]) -> bytes:
        facts: dict[str, Any] = {
            "photograph": sha256(self.photograph),
            "asked": self.asked,
            "overlay": hashlib.sha256(overlay).hexdigest(),
            "pictures": {ending: sha256(path) for ending, path in pictures.items()},
        }
        return digest(facts).encode()
