"""Which parameters some code reads: `params.rcam`, `params.tier[tier].csoa.dataset`, or by its own names."""
import ast
from collections.abc import Iterable, Iterator

TIER = "tier.${item}"


def used(trees: Iterable[ast.AST]) -> set[str]:
    """Dotted names as in dvc.yaml; of a block with a name the fields that are asked for, or all of it."""
    nodes: list[ast.AST] = []
    for tree in trees:
        nodes += ast.walk(tree)
    names = {"params": ""}
    for target, value in _assignments(nodes):
        place = _place(value, names)
        if place is not None:
            names[target] = place
    skipped = _inner(nodes, names) | {id(value) for _, value in _assignments(nodes)}
    places = {_place(node, names) for node in nodes if id(node) not in skipped and not _is_stored(node)}
    return {place for place in places if place and place not in ("tier", "tiers", TIER)}


def covers(parameter: str, place: str) -> bool:
    """Whether one of them is part of the other."""
    return f"{parameter}.".startswith(f"{place}.") or f"{place}.".startswith(f"{parameter}.")


def _inner(nodes: list[ast.AST], names: dict[str, str]) -> set[int]:
    """Nodes that are the beginning of a longer name."""
    longer = [node for node in nodes if isinstance(node, (ast.Attribute, ast.Subscript))]
    return {id(node.value) for node in longer if _place(node, names) is not None}


def _is_stored(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def _assignments(nodes: list[ast.AST]) -> Iterator[tuple[str, ast.expr]]:
    for node in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            yield from _named(node.targets[0], node.value)


def _named(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Names on the left of an assignment with what each of them gets."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, other in zip(target.elts, value.elts, strict=False):
            yield from _named(one, other)


def _place(node: ast.AST, names: dict[str, str]) -> str | None:
    """Where in params.yaml an expression leads; None for what leads nowhere there."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return {"load_params": "", "tier_of": TIER}.get(node.func.id)
    if isinstance(node, ast.Subscript) and _place(node.value, names) == "tier":
        return TIER
    if isinstance(node, ast.Attribute):
        before = _place(node.value, names)
        return None if before is None else f"{before}.{node.attr}".lstrip(".")
    return None
