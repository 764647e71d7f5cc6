"""Which code a stage runs, definition by definition: it decides whether results are older than the code.

From the code cells of a notebook, or from a function, every definition of `lib` is followed that they name,
and from there all that those name. A definition is known by its name and by a digest of its syntax tree:
comments, docstrings, annotations, moving it to another module and renaming a module change nothing. Where it
cannot be told which part of a module is used, all of it counts.
"""
import ast
from collections import defaultdict
from collections.abc import Callable, Iterable

from lib.base.problem import Problem
from lib.pipeline.cells import Cell, cells_of
from lib.pipeline.library import BY_VALUE, Library, files_here
from lib.pipeline.names import IMPORTS, Link, Module
from lib.pipeline.syntax import Piece, Writer, hashed

Code = dict[str, str | list[str]]   # name of a definition -> its digest; several where others share the name


def code_of(*entries: Callable | str, library: Library | None = None) -> Code:
    """Every definition that the entries reach, by name, with its digest.

    An entry is a function of `lib`, its name (`lib.papers.rcam.method:rcam`), or the path of a notebook
    (`notebooks/rcam.ipynb`).
    """
    library = library or Library(files_here())
    reach = Reach(library)
    for entry in entries:
        reach.enter(entry if isinstance(entry, str) else f"{entry.__module__}:{entry.__qualname__}")
    return reach.code()


class Reach:
    """What has been reached from the entries so far."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.definitions: dict[Link, list[Piece]] = {}
        self.loose: dict[str, list[Piece]] = defaultdict(list)   # cells, effects and main blocks, by kind
        self.yaml: dict[str, str] = {}                           # path -> digest
        self.touched: set[str] = set()
        self.run: set[str] = set()
        self.waiting: list[Link] = []

    def enter(self, entry: str) -> None:
        """Follow all that a function or a notebook reaches."""
        module, _, name = entry.partition(":")
        if entry.endswith(".ipynb"):
            self._enter_notebook(entry)
        elif not self.library.is_module(module) or not self.library.named(module, name):
            raise Problem(f"{entry}: there is no such function whose code could be told; correct the name.")
        else:
            self.waiting += self.library.named(module, name)
        while self.waiting:
            self._visit(self.waiting.pop())

    def code(self) -> Code:
        """Names and digests, sorted."""
        shared = self._namesakes()
        digests: dict[str, list[str]] = defaultdict(list)
        for link, pieces in self.definitions.items():
            digests[link.name] += [self._digest(piece, shared) for piece in pieces]
        for name, pieces in self.loose.items():
            digests[name] += [self._digest(piece, shared) for piece in pieces]
        for path, digest in self.yaml.items():
            digests[path.rpartition("/")[2]].append(digest)
        return {name: _one_or_several(several) for name, several in sorted(digests.items())}

    def _namesakes(self) -> set[Link]:
        """Definitions that share their name with one of another module."""
        by_name: dict[str, set[Link]] = defaultdict(set)
        for link in self.definitions:
            by_name[link.name].add(link)
        shared: set[Link] = set()
        for links in by_name.values():
            if len(links) > 1:
                shared |= links
        return shared

    def _digest(self, piece: Piece, shared: set[Link]) -> str:
        """A piece's own digest; with that of the definition it means where several have the name it says."""
        meant = [link for link in piece.links if link in shared or link.name is None]
        if not meant:
            return piece.digest
        return hashed(" ".join([piece.digest, *(self._summary(link) for link in meant)]))

    def _summary(self, link: Link) -> str:
        links = [link] if link.name else self._all_of(link.module)
        return " ".join(sorted(piece.digest for each in links for piece in self.definitions.get(each, ())))

    def _visit(self, link: Link) -> None:
        if link.module in BY_VALUE or not self.library.is_module(link.module):
            return
        self._touch(link.module)
        if link.name is None:
            self.waiting += [each for each in self._all_of(link.module) if each not in self.definitions]
            return
        if link in self.definitions:
            return
        module = self.library.module(link.module)
        self.definitions[link] = []
        for statement in module.definitions.get(link.name, ()):
            piece = self.library.piece(module, statement)
            self.definitions[link].append(piece)
            self._follow(piece, link.module)

    def _all_of(self, module: str) -> list[Link]:
        """Everything that a module defines or passes on; modules that it imports are not taken whole."""
        source = self.library.module(module)
        names = [*source.definitions, *source.links]
        links = [link for name in names for link in self.library.named(module, name)]
        return [link for link in dict.fromkeys(links) if link.ours and link.name]

    def _follow(self, piece: Piece, module: str) -> None:
        self.waiting += piece.links
        for name in piece.imports:
            self._touch(name)
        for name in piece.processes:
            self._start(name)
        for text in piece.files:
            for path in self.library.yaml_beside(module, text):
                self.yaml[path] = hashed(self.library.files[path].decode("utf-8", "replace"))

    def _touch(self, name: str) -> None:
        """Importing a module runs its statements, and those of the packages around it and of its imports."""
        parts = name.split(".")
        for module in (".".join(parts[:length]) for length in range(1, len(parts) + 1)):
            if self.library.is_module(module) and module not in (*self.touched, *BY_VALUE):
                self.touched.add(module)
                source = self.library.module(module)
                self._take("module statements", source, source.effects)
                for imported in source.imports:
                    self._touch(imported)

    def _start(self, name: str) -> None:
        """A module that is run as a process: all of it, its main block too; of a package its `__main__`."""
        for module in (name, f"{name}.__main__"):
            if self.library.is_module(module) and module not in self.run:
                self.run.add(module)
                self._visit(Link(module))
                source = self.library.module(module)
                self._take("__main__", source, source.main)

    def _take(self, name: str, module: Module, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            piece = self.library.piece(module, statement)
            self.loose[name].append(piece)
            self._follow(piece, module.name)

    def _enter_notebook(self, path: str) -> None:
        """Every cell counts; what the imports of one give is known in all."""
        if path not in self.library.files:
            raise Problem(f"{path}: there is no such notebook.")
        cells = [Cell(cell) for cell in cells_of(self.library.files[path], path)]
        notebook = _imports_of(cells, path)
        self.library.add(notebook)
        for number, cell in enumerate(cells, 1):
            piece = Writer(self.library, notebook).piece(cell.statements(), cell.text)
            self.loose[f"cell {number}"].append(piece)
            self._follow(piece, path)
        for name in notebook.imports:
            self._touch(name)


def _imports_of(cells: Iterable[Cell], path: str) -> Module:
    """A notebook as a module that has the imports of all its cells, and defines nothing."""
    notebook = Module(path, "")
    for cell in cells:
        for node in ast.walk(ast.Module(cell.body, [])):
            if isinstance(node, IMPORTS):
                notebook.take_import(node)
    return notebook


def _one_or_several(digests: list[str]) -> str | list[str]:
    return digests[0] if len(digests) == 1 else sorted(digests)
