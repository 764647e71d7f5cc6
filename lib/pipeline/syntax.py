"""Code as its syntax tree: what a statement says, and which definitions it names, wherever in `lib` they are.

Comments, docstrings, formatting and type annotations of functions are no part of it, and neither are the
paths of modules: a name that an import gives stands for the definition itself, under the name that it has
there.
"""
import ast
import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from lib.pipeline.names import COMPREHENSIONS, FUNCTIONS, IMPORTS, Link, Module, bound, modules_of

LENGTH = 12   # hexadecimal digits of a digest: enough for thousands of definitions, and short enough to read
# Fields of a tree that say nothing that its others do not say.
SILENT: tuple[str, ...] = ("ctx", "kind", "type_comment")


class Named(Protocol):
    """Whoever knows all modules, and so what a name leads to."""

    def named(self, module: str, name: str) -> list[Link]:
        """What a name at the top level of a module stands for; nothing where it is not known there."""

    def walk(self, links: Iterable[Link], attributes: list[str]) -> tuple[list[Link], list[str]]:
        """Where `a.b.c` ends, and the attributes that are left."""

    def is_module(self, name: str) -> bool:
        """Whether a dotted name is that of a module of `lib`."""

    def spelt(self, pattern: str) -> list[str]:
        """The modules of `lib` whose dotted names a regular expression matches as a whole."""


class Piece(NamedTuple):
    """A statement, or several, as read: its digest, and what it leads to."""
    digest: str
    links: tuple[Link, ...]        # definitions and whole modules, in the order in which they are named
    imports: tuple[str, ...]       # modules that it imports itself
    processes: tuple[str, ...]     # modules that it names in a string, to run them
    files: tuple[str, ...]         # YAML that it names


class Writer:
    """Writes statements down as text for a digest, and notes what they name."""

    def __init__(self, modules: Named, module: Module) -> None:
        self.modules, self.module = modules, module
        self.parts: list[str] = []
        self.scopes: list[dict[str, list[Link]]] = []
        self.links: list[Link] = []
        self.imports: list[str] = []
        self.processes: list[str] = []
        self.files: list[str] = []

    def piece(self, statements: Iterable[ast.AST], more: str = "") -> Piece:
        """The statements as one piece; `more` is text that belongs to it."""
        for statement in statements:
            self.write(statement)
        named = (tuple(names) for names in (self.links, self.imports, self.processes, self.files))
        return Piece(hashed("".join(self.parts) + more), *named)

    def write(self, node: ast.AST) -> None:
        """Write a node and all below it."""
        if isinstance(node, FUNCTIONS):
            self._function(node)
        elif isinstance(node, COMPREHENSIONS):
            self._comprehension(node)
        elif isinstance(node, IMPORTS) and modules_of(node, self.module.package):
            self._import(node)
        else:
            special = {
                ast.Name: self._name, ast.Attribute: self._attribute, ast.Constant: self._constant,
                ast.JoinedStr: self._joined, ast.Lambda: self._lambda, ast.ClassDef: self._class,
                ast.AnnAssign: self._annotated}
            special.get(type(node), self._plain)(node)

    def _plain(self, node: ast.AST) -> None:
        self.parts.append(f"{type(node).__name__}(")
        for name, value in ast.iter_fields(node):
            if name not in SILENT and value is not None and value != []:
                self.parts.append(f"{name}=")
                self._value(value)
        self.parts.append(")")

    def _value(self, value: object) -> None:
        if isinstance(value, ast.AST):
            self.write(value)
        elif isinstance(value, list):
            self.parts.append("[")
            for each in value:
                written = len(self.parts)
                self._value(each)
                if len(self.parts) > written:   # an import of ours leaves no trace
                    self.parts.append(",")
            self.parts.append("]")
        else:
            self.parts.append(repr(value))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.parts.append(f"{type(node).__name__}({node.name}")
        self._value(node.decorator_list)
        self._signature(node.args)
        self._inside(_names(node.args), _without_docstring(node.body))

    def _lambda(self, node: ast.Lambda) -> None:
        self.parts.append("Lambda(")
        self._signature(node.args)
        self._inside(_names(node.args), [node.body])

    def _inside(self, names: Iterable[str], body: list[ast.AST]) -> None:
        self.scopes.append({name: [] for name in names} | bound(body, self.module.package))
        self._value(body)
        self.scopes.pop()
        self.parts.append(")")

    def _signature(self, arguments: ast.arguments) -> None:
        """Names and defaults, without annotations."""
        for kind in ("posonlyargs", "args", "kwonlyargs"):
            self.parts.append(f"{kind}={[each.arg for each in getattr(arguments, kind)]}")
        for kind in ("vararg", "kwarg"):
            each = getattr(arguments, kind)
            self.parts.append(f"{kind}={each and each.arg}")
        self._value(arguments.defaults)
        self._value(arguments.kw_defaults)

    def _class(self, node: ast.ClassDef) -> None:
        """Annotations of its fields stay, as words: what they name is followed where it is made."""
        self.parts.append(f"ClassDef({node.name}")
        for part in (node.decorator_list, node.bases, node.keywords):
            self._value(part)
        for statement in _without_docstring(node.body):
            if isinstance(statement, ast.AnnAssign):
                self._field(statement)
            else:
                self.write(statement)
        self.parts.append(")")

    def _field(self, node: ast.AnnAssign) -> None:
        self.parts.append(f"field {ast.unparse(node.target)}: {ast.unparse(node.annotation)}")
        self._value([node.value])

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.write(ast.Assign([node.target], node.value))

    def _comprehension(self, node: ast.AST) -> None:
        """Its own names are known inside of it alone; what it goes over first is written outside."""
        first, *others = node.generators
        targets = bound([each.target for each in node.generators], self.module.package)
        self.parts.append(f"{type(node).__name__}(")
        self.write(first.iter)
        self.scopes.append(targets)
        for generator in node.generators:
            self._value([generator.target, generator.ifs, bool(generator.is_async)])
        self._value([generator.iter for generator in others])
        self._value([node.key, node.value] if isinstance(node, ast.DictComp) else node.elt)
        self.scopes.pop()
        self.parts.append(")")

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Write nothing: names stand for what they lead to. Outside of functions all of the module counts."""
        self.imports += modules_of(node, self.module.package)
        if not self.scopes:
            self.links += [Link(name) for name in self.imports if self.modules.is_module(name)]

    def _name(self, node: ast.Name) -> None:
        links = self._lookup(node.id)
        if links:
            self._refer(links, [])
        else:
            self._plain(node)

    def _attribute(self, node: ast.Attribute) -> None:
        root, attributes = _chain(node)
        links = self._lookup(root.id) if isinstance(root, ast.Name) else []
        if links:
            self._refer(links, attributes)
        elif node.attr == "parent" and _names_its_file(node):
            self.write(node.value)   # how far above its file a folder lies says where the file lies, no more
        else:
            self._plain(node)

    def _lookup(self, name: str) -> list[Link]:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return self.modules.named(self.module.name, name)

    def _refer(self, links: list[Link], attributes: list[str]) -> None:
        ends, rest = self.modules.walk(links, attributes)
        ours = [end for end in ends if end.ours]
        words = {"module" if end.name is None else end.name for end in ours}
        words |= {end.dotted for end in ends if not end.ours}
        self.parts.append(".".join([f"@{'|'.join(sorted(words))}", *rest]) + " ")
        self.links += ours

    def _joined(self, node: ast.JoinedStr) -> None:
        """An f-string that spells a module's name, to import or run it, reaches every module it can spell."""
        patterns = [_pattern(part) for part in node.values]
        if patterns and patterns[0].startswith(re.escape("lib.")):
            self.processes += self.modules.spelt("".join(patterns))
        self._plain(node)

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, str) and "." in value and self.modules.is_module(value):
            self.processes.append(value)
            self.parts.append("@module ")
            return
        if isinstance(value, str) and value.endswith(".yaml"):
            self.files.append(value)
        self._plain(node)


def hashed(text: str) -> str:
    """A short digest of some text."""
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def _chain(node: ast.expr) -> tuple[ast.expr, list[str]]:
    """`a.b.c` as a, and b and c."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    return node, attributes


def _pattern(part: ast.expr) -> str:
    """A part of an f-string as a regular expression: its own text, or one part of a dotted name."""
    return re.escape(part.value) if isinstance(part, ast.Constant) else "[^.]+"


def _names(arguments: ast.arguments) -> list[str]:
    each = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [argument.arg for argument in each if argument is not None]


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    value = first.value if isinstance(first, ast.Expr) else None
    documented = isinstance(value, ast.Constant) and isinstance(value.value, str)
    return body[1:] if documented else body


def _names_its_file(node: ast.AST) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "__file__" for each in ast.walk(node))
