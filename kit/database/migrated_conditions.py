"""Conditions of migrations: CHECKs that each database writes in its own way, read from the source of the migrations.

A database stores only its own text of such a condition, so a downgrade finds that of the other one here.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping

from kit.database.revision_operations import Conditions
from kit.database.sqlite_reflection import plain

ByText = Mapping[tuple[str, str], Conditions]
"""Conditions by the name of the CHECK and the text on SQLite, as `plain` normalizes it."""


def conditions_in(sources: Iterable[str]) -> ByText:
    """Return the conditions in the source of the migrations, oldest first: of those with the same key, the last."""
    nodes = (node for source in sources for node in ast.walk(ast.parse(source)))
    found = (item for node in nodes for item in named_conditions(node))
    return {(name, plain(condition.sqlite)): condition for name, condition in found}


def named_conditions(node: ast.AST) -> Iterator[tuple[str, Conditions]]:
    """Yield the name and the condition, if a node is a call that creates a CHECK and its condition differs."""
    match node:
        case ast.Call(func=ast.Attribute(attr="CheckConstraint" | "create_check_constraint")):
            inner = [*ast.walk(node)]
            names, conditions = map(name_in, inner), map(condition_in, inner)
            yield from zip(filter(None, names), filter(None, conditions), strict=False)


def name_in(node: ast.AST) -> str | None:
    """Return the name in a call such as `op.f("ck_item_price")`; None for another node."""
    match node:
        case ast.Call(func=ast.Attribute(attr="f"), args=[ast.Constant(value=str(name))]):
            return name
    return None


def condition_in(node: ast.AST) -> Conditions | None:
    """Return the texts in a call `{"sqlite": …}.get(op.get_bind().dialect.name, …)`; None for another node."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Dict(values=[ast.Constant(value=str(on_sqlite))])),
            args=[_, ast.Constant(value=str(on_postgresql))],
        ):
            return Conditions(on_sqlite.replace("\\:", ":"), on_postgresql.replace("\\:", ":"))
    return None
