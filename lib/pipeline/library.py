"""All modules of `lib`, in a checkout or at a revision, and what a name in one of them leads to."""
import ast
import re
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.pipeline.names import Link, Module
from lib.pipeline.syntax import Piece, Writer

# Stages depend on the values that they use (the `params` of dvc.yaml), not on the modules that hold and check
# all of them; and fingerprints on the digests, not on how those are computed.
PIPELINE = tuple(f"lib.pipeline.{name}" for name in ("code", "library", "names", "syntax"))
BY_VALUE: tuple[str, ...] = (
    "lib.params", "lib.params_shape", "lib.base.strict", "lib.strict", *PIPELINE)


def files_here(root: Path = ROOT) -> dict[str, bytes]:
    """The code of a checkout by path: modules, what they read, and notebooks."""
    paths = [path for ending in ("py", "yaml") for path in (root / "lib").rglob(f"*.{ending}")]
    paths += (root / "notebooks").glob("*.ipynb")
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def files_at(revision: str, root: Path = ROOT) -> dict[str, bytes] | None:
    """The code at a revision; None where Git does not have it."""
    command = ["git", "-C", str(root), "archive", "--format=tar", revision, "lib", "notebooks"]
    try:
        packed = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}


class Library:
    """All modules of `lib`, each parsed when it is first asked for."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        own = [path for path in files if path.startswith("lib/") and path.endswith(".py")]
        self.paths = {_dotted(path): path for path in own}
        self._modules: dict[str, Module] = {}
        self._pieces: dict[tuple[str, int], Piece] = {}

    def is_module(self, name: str) -> bool:
        """Whether a dotted name is that of a module or package of `lib`."""
        return name in self.paths

    def spelt(self, pattern: str) -> list[str]:
        """The modules whose dotted names a regular expression matches as a whole, sorted."""
        return sorted(name for name in self.paths if re.fullmatch(pattern, name))

    def module(self, name: str) -> Module:
        """The top level of a module."""
        if name not in self._modules:
            self._modules[name] = _module(name, self.paths[name], self.files[self.paths[name]])
        return self._modules[name]

    def add(self, module: Module) -> None:
        """Cells of a notebook, which are no module of `lib`, as one."""
        self._modules[module.name] = module

    def piece(self, module: Module, statement: ast.stmt) -> Piece:
        """A statement of a module as read; every statement is read once."""
        key = (module.name, id(statement))
        if key not in self._pieces:
            self._pieces[key] = Writer(self, module).piece([statement])
        return self._pieces[key]

    def named(self, module: str, name: str, passed: frozenset[Link] = frozenset()) -> list[Link]:
        """What a name of a module stands for, however often it was passed on; nothing if unknown.

        `passed`: the links that led here; a package that imports a module of its own leads back to itself.
        """
        link = Link(module, name)
        below = [Link(link.dotted)] if self.is_module(link.dotted) else []
        if link in passed:
            return below
        source = self.module(module)
        further = passed | {link}
        meant = [link] if name in source.definitions else []
        for given in source.links.get(name, ()):
            meant += self._followed(given, further)
        if not meant:
            meant = self._starred(source, name, further)
        return meant or below

    def _starred(self, source: Module, name: str, passed: frozenset[Link]) -> list[Link]:
        """What a name stands for that came with all names of another module."""
        meant: list[Link] = []
        for star in source.stars:
            if self.is_module(star):
                meant += self.named(star, name, passed)
        return meant

    def walk(self, links: Iterable[Link], attributes: list[str]) -> tuple[list[Link], list[str]]:
        """Where `a.b.c` ends, and the attributes left; a module where what is asked of it is unknown."""
        ends: list[Link] = []
        for link in links:
            ends += [self._end(each) for each in self._followed(link, frozenset())]
        rest = list(attributes)
        while rest and any(end.name is None for end in ends):
            after: list[Link] = []
            for end in ends:
                after += self._attribute(end, rest[0])
            if not after:
                break
            ends, rest = after, rest[1:]
        return list(dict.fromkeys(ends)), rest

    def yaml_beside(self, module: str, text: str) -> list[str]:
        """Paths of the YAML that a text in a module means: the file beside it, otherwise all of that name."""
        folder = self.paths[module].rpartition("/")[0] if module in self.paths else ""
        if f"{folder}/{text}" in self.files:
            return [f"{folder}/{text}"]
        name = text.rpartition("/")[2]
        return [path for path in self.files if path.startswith("lib/") and path.rpartition("/")[2] == name]

    def _attribute(self, end: Link, name: str) -> list[Link]:
        if end.name is not None:
            return [end]
        if not end.ours:
            return [Link(f"{end.module}.{name}")]
        return self.named(end.module, name) if self._open(end.module) else [Link(end.module, name)]

    def _end(self, link: Link) -> Link:
        """An outside thing as one dotted name, so that it does not matter how it was imported."""
        return link if link.ours else Link(link.dotted)

    def _followed(self, link: Link, passed: frozenset[Link]) -> list[Link]:
        if not link.ours or link.name is None or not self._open(link.module):
            return [link]
        return self.named(link.module, link.name, passed) or [Link(link.module)]

    def _open(self, module: str) -> bool:
        """Whether a module is looked into."""
        return self.is_module(module) and module not in BY_VALUE


@cache
def _module(name: str, path: str, text: bytes) -> Module:
    """Kept, since most modules are the same at several revisions."""
    package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
    return Module(name, package).read(_parsed(text, path).body)


def _parsed(text: bytes, path: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise Problem(f"{path}: not Python ({error}); correct it.") from None


def _dotted(path: str) -> str:
    """`lib/nets/__init__.py` as `lib.nets`."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
