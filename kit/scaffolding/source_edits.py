"""Edits of source code by its syntax tree: replaces statements and expressions by their positions.

A *display* is the literal of a tuple, list, set or dict.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Display = ast.Tuple | ast.List | ast.Set | ast.Dict
EMPTY = ("()", "[]", "{}", "set()")


@dataclass(frozen=True)
class Edit:
    """The replacement of a part of the source by a text. `start` and `end` are offsets in bytes."""

    start: int
    end: int
    text: str = ""


@dataclass
class Source:
    """The source of a module, its syntax tree, and the offset of each line in bytes."""

    text: str
    tree: ast.Module = field(init=False)
    starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.tree, self.starts = ast.parse(self.text), [0]
        for line in self.text.encode().splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def of_statement(self, node: ast.stmt) -> Edit:
        """Return the edit that deletes the lines of a statement, with its decorators."""
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
        return Edit(self.starts[first - 1], self.starts[node.end_lineno or node.lineno])

    def of_node(self, node: ast.expr, text: str) -> Edit:
        assert node.end_lineno is not None and node.end_col_offset is not None  # noqa: PT018  the parser sets both
        start = self.starts[node.lineno - 1] + node.col_offset
        return Edit(start, self.starts[node.end_lineno - 1] + node.end_col_offset, text)

    def segment(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.text, node) or ""

    def edited(self, edits: Iterable[Edit]) -> str:
        """Return the source with these edits, which must not overlap."""
        whole = self.text.encode()
        for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
            whole = whole[: edit.start] + edit.text.encode() + whole[edit.end :]
        return whole.decode()


class Outside(ast.NodeTransformer):
    """Replaces displays by a constant, except those to which values are assigned."""

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        return self.generic_visit(node) if isinstance(node.ctx, ast.Store) else ast.Constant(None)

    def visit_List(self, node: ast.List) -> ast.AST:
        return self.generic_visit(node) if isinstance(node.ctx, ast.Store) else ast.Constant(None)

    def visit_Set(self, _: ast.Set) -> ast.AST:
        return ast.Constant(None)

    def visit_Dict(self, _: ast.Dict) -> ast.AST:
        return ast.Constant(None)


def expression(node: ast.expr) -> ast.Expression:
    return ast.parse(ast.unparse(node), mode="eval")


def displays(node: ast.AST) -> Iterator[Display]:
    """Yield the outermost displays in a node."""
    if isinstance(node, Display):
        yield node
        return
    for child in ast.iter_child_nodes(node):
        yield from displays(child)


def is_target(display: Display) -> bool:
    """Return whether a display is the target of an assignment, as in `a, b = …`."""
    return isinstance(display, ast.Tuple | ast.List) and isinstance(display.ctx, ast.Store)


def parts_of(display: Display) -> list[list[ast.expr]]:
    if isinstance(display, ast.Dict):
        return [[*filter(None, [key]), value] for key, value in zip(display.keys, display.values, strict=True)]
    return [[element] for element in display.elts]


def written(display: Display, texts: list[str]) -> str:
    if isinstance(display, ast.Tuple):
        return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"
    if isinstance(display, ast.List):
        return f"[{', '.join(texts)}]"
    return f"{{{', '.join(texts)}}}" if texts or isinstance(display, ast.Dict) else "set()"
