"""Pruning: removes the code of a module that depends on removed modules.

A name that is imported from a removed module is *lost*. A `Pruner` removes the code that uses lost names. Thereby
further names may be lost, so it is repeated until there are no more. Then the definitions that only the removed code
used are removed too.
"""

import ast
import re
from collections.abc import Collection

from kit.scaffolding.pruner import Definition, Pruner, bound
from kit.scaffolding.source_edits import Source


def pruned(
    text: str, removed_modules: Collection[str], paths: Collection[str] = (), exported: Collection[str] = ()
) -> str:
    """Return the source of a module without the code that depends on removed modules, such as `shop.order`.

    A text that begins with one of the URL paths, such as `/orders/1` with `/orders`, counts as a use too. A removed
    module may be a name in a module, as `shop.order.Order`. Other modules use the `exported` names of this one.
    """
    source, lost = Source(text), set[str]()
    pattern = re.compile(rf"(?:{'|'.join(map(re.escape, paths))})(?![\w-])") if paths else None
    while True:
        pruner = Pruner(source, removed_modules, set(lost), pattern)
        pruner.block(source.tree.body)
        if pruner.lost == lost:
            break
        lost = pruner.lost
    return without_unused(source.edited(pruner.edits), used(source.tree).difference(exported)) if pruner.edits else text


def used(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def without_unused(text: str, before: set[str]) -> str:
    """Return the source without definitions whose names are all in `before`, and not used in the module any more."""
    while True:
        source = Source(text)
        idle = before - used(source.tree)
        found = [node for node in source.tree.body if (names := defined(node)) and idle.issuperset(names)]
        if not found:
            return text
        text = source.edited(map(source.of_statement, found))


def defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement at the top level of a module defines, except imports."""
    if isinstance(node, Definition):
        return [node.name]
    return list(bound(node)) if isinstance(node, ast.Assign | ast.AnnAssign) else []
