"""The top level of a module: names that it defines, names that imports give, statements that do something."""
import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

COMPREHENSIONS: tuple[type[ast.expr], ...] = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINING = (*FUNCTIONS, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)


class Link(NamedTuple):
    """The meaning of a name: a module (`name` is None), or a definition in one."""
    module: str
    name: str | None = None

    @property
    def ours(self) -> bool:
        """Whether it leads into `lib`."""
        return self.module.split(".")[0] == "lib"

    @property
    def dotted(self) -> str:
        """`numpy.stack`, however it was imported."""
        return self.module if self.name is None else f"{self.module}.{self.name}"


# Decorators of lib that do no more than wrap a function.
WRAPPERS: tuple[Link, ...] = (Link("lib.base.spent", "spends"),)


@dataclass
class Module:
    """The top level of a module, its statements sorted by what they are for.

    package       which relative imports start from
    definitions   the statements that define a name
    links         what imports give for a name
    stars         modules whose names are all imported
    imports       modules of `lib` that importing this one imports
    effects       statements that do something
    main          what runs when the module is run as a program
    """
    name: str
    package: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    links: dict[str, list[Link]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    effects: list[ast.stmt] = field(default_factory=list)
    main: list[ast.stmt] = field(default_factory=list)

    def read(self, body: Iterable[ast.stmt]) -> "Module":
        """Sort the statements of its top level."""
        statements = list(body)
        for statement in statements:
            self._sort(statement)
        self.effects += [each for each in statements if isinstance(each, DEFINING) and self._registers(each)]
        return self

    def _sort(self, statement: ast.stmt) -> None:
        if isinstance(statement, IMPORTS):
            self.take_import(statement)
        elif isinstance(statement, DEFINING):
            self.definitions.setdefault(statement.name, []).append(statement)
        elif isinstance(statement, ast.If) and _is_name_main(statement.test):
            self.main.append(statement)
        elif isinstance(statement, ast.If) and _is_type_checking(statement.test):
            self.read(statement.orelse)
        elif names := _assigned(statement):
            for name in names:
                self.definitions.setdefault(name, []).append(statement)
        elif not _is_idle(statement):
            self._take_effect(statement)

    def take_import(self, statement: ast.Import | ast.ImportFrom) -> None:
        """Remember what an import gives."""
        for name, link in imported(statement, self.package):
            if name == "*":
                self.stars.append(link.module)
            else:
                self.links.setdefault(name, []).append(link)
        self.imports += modules_of(statement, self.package)

    def _take_effect(self, statement: ast.stmt) -> None:
        """A loop, a condition, a call: it always counts, and so it does for the names that it binds."""
        self.effects.append(statement)
        for node in ast.walk(statement):
            if isinstance(node, IMPORTS):
                self.take_import(node)
        for name, links in bound([statement], self.package).items():
            if not links:
                self.definitions.setdefault(name, []).append(statement)

    def _registers(self, statement: ast.stmt) -> bool:
        """Whether a decorator of lib's own may put a definition where others find it without naming it."""
        roots = [_root(decorator) for decorator in statement.decorator_list]
        return any(root in self.definitions or self._is_ours(root) for root in roots)

    def _is_ours(self, name: str) -> bool:
        """Whether an import from `lib` gives a name."""
        return any(link.ours and link not in WRAPPERS for link in self.links.get(name, ()))


def imported(statement: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Link]]:
    """Local names of an import, with what they stand for."""
    for alias in statement.names:
        if isinstance(statement, ast.ImportFrom):
            start = _start(statement, package)
            link = Link(start) if alias.name == "*" else Link(start, alias.name)
            yield alias.asname or alias.name, link
        elif alias.asname:
            yield alias.asname, Link(alias.name)
        else:
            top = alias.name.split(".")[0]
            yield top, Link(top)


def modules_of(statement: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    """Dotted names of `lib` that an import may run: of modules, or of what stands in one."""
    if isinstance(statement, ast.Import):
        names = [alias.name for alias in statement.names]
    else:
        start = _start(statement, package)
        names = [start, *(f"{start}.{alias.name}" for alias in statement.names)]
    return [name for name in names if Link(name).ours]


def bound(body: Iterable[ast.AST], package: str) -> dict[str, list[Link]]:
    """Names that are local to a function with this body; those of its imports with what they stand for."""
    local: dict[str, list[Link]] = {}
    outer: set[str] = set()
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, IMPORTS):
            for name, link in imported(node, package):
                local.setdefault(name, []).append(link)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            outer.update(node.names)
        for name in _binds(node):
            local.setdefault(name, [])
        waiting += _same_scope(node)
    return {name: links for name, links in local.items() if name not in outer}


def _start(statement: ast.ImportFrom, package: str) -> str:
    """The module that `from ... import` names, relative to the package where it begins with dots."""
    if not statement.level:
        return statement.module or ""
    above = package.split(".")
    parts = above[:len(above) - statement.level + 1]
    if statement.module:
        parts.append(statement.module)
    return ".".join(parts)


def _same_scope(node: ast.AST) -> list[ast.AST]:
    """The nodes below a node that bind names for the same function."""
    if isinstance(node, (*DEFINING, ast.Lambda)):
        return []
    if isinstance(node, COMPREHENSIONS):   # a name that := binds outlives the comprehension
        return [each.target for each in ast.walk(node) if isinstance(each, ast.NamedExpr)]
    return list(ast.iter_child_nodes(node))


def _binds(node: ast.AST) -> list[str]:
    """Names that this node itself binds."""
    if isinstance(node, DEFINING):
        return [node.name]
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return [node.id]
    if isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        return [node.name]
    if isinstance(node, ast.MatchMapping) and node.rest:
        return [node.rest]
    return []


def _assigned(statement: ast.stmt) -> list[str]:
    """Names that a plain assignment defines; none where it also changes something that is there."""
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target] if statement.value is not None else []
    else:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
    parts: list[ast.expr] = []
    for target in targets:
        parts += target.elts if isinstance(target, ast.Tuple) else [target]
    return [part.id for part in parts] if all(isinstance(part, ast.Name) for part in parts) else []


def _is_idle(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None
    documents = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return documents or isinstance(statement, ast.Pass)


def _is_name_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _is_type_checking(test: ast.expr) -> bool:
    return _last(test) == "TYPE_CHECKING"


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _root(node: ast.expr) -> str:
    """The first name of `a.b(...)`."""
    while isinstance(node, (ast.Attribute, ast.Call)):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""
