"""Which parameters some code reads: `params.rcam`, `params.tier[tier].csoa.dataset`, or by its own names."""
import ast
from collections.abc import Iterable, Iterator

TIER = "tier.${item}"


def used(trees: Iterable[ast.AST]) -> set[str]:
    """Dotted names as in dvc.yaml; of a block that has a name, the fields that are asked for, or all of it."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {"params": ""}
    for target, value in _assignments(nodes):
        if (place := _place(value, names)) is not None:
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
            target, value = node.targets[0], node.value
            several = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            pairs = zip(target.elts, value.elts) if several else [(target, value)]
            yield from ((one.id, other) for one, other in pairs if isinstance(one, ast.Name))


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
