"""Pruning: removes from a module the code that depends on removed modules.

A name that is imported from a removed module is *lost*. What uses it is removed by a `Pruner`, by which other names may
be lost: this is repeated until no other name is. Then what only the removed code used is removed too.
"""

import ast
import re
from collections.abc import Collection

from kit.scaffolding.pruner import Definition, Pruner, bound
from kit.scaffolding.source_edits import Source


def pruned(text: str, removed_modules: Collection[str], paths: Collection[str] = ()) -> str:
    """Return the source of a module without the code that depends on removed modules, such as `shop.order`.

    Texts that begin with one of the paths, such as `/orders/1` with `/orders`, count as uses of them.
    """
    source, lost = Source(text), set[str]()
    pattern = re.compile(rf"(?:{'|'.join(map(re.escape, paths))})(?![\w-])") if paths else None
    while True:
        pruner = Pruner(source, removed_modules, set(lost), pattern)
        pruner.block(source.tree.body)
        if pruner.lost == lost:
            break
        lost = pruner.lost
    return without_unused(source.edited(pruner.edits), used(source.tree)) if pruner.edits else text


def used(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def without_unused(text: str, before: set[str]) -> str:
    """Return the source without functions and variables that were used in the module before, and are not any more."""
    while True:
        source = Source(text)
        idle = before - used(source.tree)
        found = [node for node in source.tree.body if idle.intersection(defined(node))]
        if not found:
            return text
        text = source.edited(map(source.of_statement, found))


def defined(node: ast.stmt) -> list[str]:
    """Return the names of a function, a class or an assignment at the top of a module."""
    if isinstance(node, Definition):
        return [node.name]
    return list(bound(node)) if isinstance(node, ast.Assign | ast.AnnAssign) else []
