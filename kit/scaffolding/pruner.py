"""Pruner: a pass over the syntax tree of a module, which removes the code that uses lost names.

A name is *lost* if its definition was removed. An element of a tuple, list, set or dict that uses a lost name is
removed. A statement that uses one elsewhere, or has no elements left, is removed as a whole; then the names that it
assigns are lost too.
"""

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from kit.scaffolding.source_edits import (
    EMPTY,
    Edit,
    Outside,
    Source,
    displays,
    expression,
    is_target,
    parts_of,
    written,
)

Block = ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass
class Pruner:
    """One pass over a module. It adds to `lost` the names that removed statements define, and collects `edits`.

    A text that matches `paths` counts as a use of a lost name.
    """

    source: Source
    removed_modules: Collection[str]
    lost: set[str]
    paths: re.Pattern[str] | None = None
    edits: list[Edit] = field(default_factory=list)

    def block(self, body: list[ast.stmt]) -> bool:
        """Prune the statements of a block. Returns whether any are left besides docstrings and pauses."""
        was_removed, is_left = False, False
        for node in body:
            if is_text(node):
                if was_removed:  # the docstring of a removed variable
                    self.edits.append(self.source.of_statement(node))
                continue
            was_removed = self.statement(node)
            is_left = is_left or not (was_removed or is_pause(node))
        return is_left

    def statement(self, node: ast.stmt) -> bool:
        """Prune a statement. Returns whether it is removed."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            return self.imports(node)
        if not self.uses(node) and not has_import(node):
            return False
        if isinstance(node, Definition):
            return self.definition(node)
        if isinstance(node, Block):
            return self.compound(node)
        return self.simple(node)

    def imports(self, node: ast.Import | ast.ImportFrom) -> bool:
        kept = [alias for alias in node.names if not self.is_removed(node, alias)]
        self.lost.update(alias.asname or alias.name for alias in node.names if alias not in kept)
        if not kept:
            return self.remove(node)
        if len(kept) < len(node.names):
            removed = self.source.of_statement(node)
            left = ast.Import(kept) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, kept, node.level)
            text = f"{ast.unparse(left)}\n"
            self.edits.append(Edit(removed.start, removed.end, " " * node.col_offset + text))
        return False

    def is_removed(self, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> bool:
        if isinstance(node, ast.Import):
            return alias.name in self.removed_modules
        return node.module in self.removed_modules or f"{node.module}.{alias.name}" in self.removed_modules

    def definition(self, node: Definition) -> bool:
        outside: list[ast.AST] = [*node.decorator_list]
        outside += node.bases if isinstance(node, ast.ClassDef) else [node.args, *filter(None, [node.returns])]
        before, edits = set(self.lost), len(self.edits)
        is_lost = any(map(self.uses, outside))
        self.lost -= self.own_names(node)
        if is_lost or not self.block(node.body) or self.returns_lost(node) or self.has_lost_yields(node):
            del self.edits[edits:]
            self.lost = {*before, f"self.{node.name}" if is_method(node) else node.name}
            return self.remove(node)
        if not isinstance(node, ast.ClassDef):
            self.lost = before  # names that are lost inside are not lost outside
        return False

    def returns_lost(self, node: Definition) -> bool:
        """Return whether a `return` statement of a function uses a lost name outside of tuples, lists, sets, dicts."""
        return any(isinstance(part, ast.Return) and self.uses(self.without_elements(part)) for part in ast.walk(node))

    def has_lost_yields(self, node: Definition | Block) -> bool:
        """Return whether a generator, or a block of it, has `yield`s, and all of them are removed."""
        yields = [one for one in ast.walk(node) if isinstance(one, ast.Yield | ast.YieldFrom)]
        return bool(yields) and all(map(self.is_removed_part, yields))

    def is_removed_part(self, node: ast.expr) -> bool:
        start = self.source.of_node(node, "").start
        return any(not edit.text and edit.start <= start < edit.end for edit in self.edits)

    def compound(self, node: Block) -> bool:
        header = [getattr(node, name) for name in ("test", "iter") if hasattr(node, name)]
        header += [item.context_expr for item in getattr(node, "items", ())]
        edits = [edit for part in header for edit in self.elements(part)]
        is_empty = any(edit.text in EMPTY for edit in edits)
        if is_empty or any(map(self.uses, [*map(self.without_elements, header), *getattr(node, "handlers", ())])):
            return self.remove_block(node)
        before = len(self.edits)
        if not self.block(node.body) or self.has_lost_yields(node):
            del self.edits[before:]
            return self.remove_block(node)
        self.edits += edits
        for name in ("orelse", "finalbody"):
            self.branch(getattr(node, name, []))
        return False

    def branch(self, body: list[ast.stmt]) -> None:
        """Prune an `else` or `finally` branch. If nothing is left, it becomes `pass`; an `elif` is removed."""
        before = len(self.edits)
        if not body or self.block(body):
            return
        whole = Edit(self.source.of_statement(body[0]).start, self.source.of_statement(body[-1]).end)
        if not self.source.text.encode()[whole.start :].lstrip().startswith(b"elif"):
            self.edits[before:] = [Edit(whole.start, whole.end, f"{' ' * body[0].col_offset}pass\n")]

    def simple(self, node: ast.stmt) -> bool:
        edits, outside = list(self.elements(node)), self.without_elements(node)
        if is_unpacking(node):
            edits, outside = [], node
        if self.uses(outside) or any(edit.text in EMPTY for edit in edits):
            self.lost.update(bound(node))
            return self.remove(node)
        self.edits += edits
        return False

    def remove_block(self, node: Block) -> bool:
        if isinstance(node, ast.With | ast.AsyncWith):
            self.lost.update(bound(node))  # names of other blocks may also have a value without them
        return self.remove(node)

    def remove(self, node: ast.stmt) -> bool:
        self.edits.append(self.source.of_statement(node))
        return True

    def uses(self, node: ast.AST) -> bool:
        """Return whether a node uses a lost name, or a path of a removed resource."""
        return any(self.is_lost(part) for part in self.visible(node, frozenset()))

    def visible(self, node: ast.AST, hidden: frozenset[str]) -> Iterator[ast.AST]:
        """Yield a node and the nodes below it, except names that a function or comprehension has itself."""
        hidden |= self.own_names(node)
        if not (isinstance(node, ast.Name) and node.id in hidden):
            yield node
        for child in ast.iter_child_nodes(node):
            yield from self.visible(child, hidden)

    def own_names(self, node: ast.AST) -> set[str]:
        """Return the names that a function or comprehension assigns; of parameters, those that are not fixtures."""
        if isinstance(node, Comprehension):
            return {name for part in node.generators for name in bound(part.target)}
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return set()
        fixtures = {definition.name for definition in self.source.tree.body if isinstance(definition, Definition)}
        parameters = {parameter.arg for parameter in ast.walk(node.args) if isinstance(parameter, ast.arg)} - fixtures
        return parameters | {name for part in node.body for name in bound(part)}

    def is_lost(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Name | ast.Attribute):
            return ast.unparse(node) in self.lost
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        return is_text and self.paths is not None and self.paths.match(str(node.value)) is not None  # type: ignore[attr-defined]  # it is a text

    def elements(self, node: ast.AST) -> Iterator[Edit]:
        """Yield the edits that remove the lost elements of the displays below a node."""
        for display in displays(node):
            if is_target(display):
                continue
            kept = [part for part in parts_of(display) if not any(map(self.uses, part))]
            if len(kept) < len(parts_of(display)):
                texts = [": ".join(map(self.source.segment, part)) for part in kept]
                yield self.source.of_node(display, written(display, texts))

    def without_elements(self, node: ast.AST) -> ast.AST:
        """Return a copy of a node without its displays, to find the names that are used outside of them."""
        outside = Outside()
        return outside.visit(ast.parse(ast.unparse(node)) if not isinstance(node, ast.expr) else expression(node))  # type: ignore[no-any-return]  # a node


def is_method(node: Definition) -> bool:
    """Return whether a definition is a method, which is lost as `self.name`."""
    return not isinstance(node, ast.ClassDef) and [argument.arg for argument in node.args.args[:1]] == ["self"]


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def is_pause(node: ast.stmt) -> bool:
    """Return whether a statement only waits, as `await asyncio.sleep(1)`."""
    call = node.value.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Await) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "sleep"


def is_unpacking(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(target, ast.Tuple | ast.List) for target in node.targets)


def has_import(node: ast.stmt) -> bool:
    return any(isinstance(part, ast.Import | ast.ImportFrom) for part in ast.walk(node))


def bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement or target assigns."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id
