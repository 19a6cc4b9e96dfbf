"""The project to which a resource is added: parses its `main.py` and its package of resources."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from kit.scaffolding.errors import NotWrittenError

LIST = "RESOURCES"
NO_RESOURCES = frozenset({"kit", "tests", "migrations", "benchmarks"})
"""The packages next to `main.py` that contain no resources."""


@dataclass(frozen=True)
class KnownResource:
    """An existing resource: the names of its module, table, class and read variant.

    `owner` is its `belongs_to`: the foreign key to the owner, or `id` for users. `is_private`: only owners read it.
    """

    module: str
    table: str
    class_name: str
    read_variant: str
    has_uuid: bool
    owner: str | None
    is_private: bool

    @classmethod
    def new(cls, name: str, class_name: str) -> Self:
        """Return the resource that is being written, to which its own foreign keys may refer."""
        return cls(name, name, class_name, f"{class_name}Read", has_uuid=False, owner=None, is_private=False)

    @property
    def is_user(self) -> bool:
        return self.owner == "id"


class Project:
    """A project, whose files are parsed and not imported. Raises a NotWrittenError without a `main.py`."""

    def __init__(self, folder: Path) -> None:
        self.main = folder / "main.py"
        if not self.main.is_file():
            raise NotWrittenError(f"There is no {self.main}: run this where main.py is.")
        self.folder, self.source = folder, self.main.read_text()
        self.tree = parsed(self.main)

    @cached_property
    def resource_list(self) -> ast.Tuple | ast.List:
        """The tuple or list of resources in `main.py`. Raises a NotWrittenError if there is none."""
        for node in self.tree.body:
            value = value_of(node, LIST)
            if isinstance(value, ast.Tuple | ast.List):
                return value
        raise NotWrittenError(f"main.py has no tuple {LIST} of resources: write one, as in `{LIST} = (user, invoice)`.")

    @cached_property
    def imports(self) -> ast.ImportFrom | None:
        """The import of the resources in `main.py`, such as `from shop import user, invoice`, if any."""
        names = {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)}
        imports = [
            node
            for node in self.tree.body
            if isinstance(node, ast.ImportFrom) and self.may_contain_resources(node.module)
        ]
        return next((node for node in imports if names & {alias.asname or alias.name for alias in node.names}), None)

    @cached_property
    def names_in_main(self) -> set[str]:
        """The names that `main.py` binds, except those of resources."""
        bound: set[str] = set()
        for node in self.tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom) and node is not self.imports:
                bound |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                bound.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                bound |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and is_target(part)}
        return bound

    def may_contain_resources(self, module: str | None) -> bool:
        return module is not None and module not in NO_RESOURCES and (self.folder / module).is_dir()

    @cached_property
    def package(self) -> str:
        if self.imports is not None:
            return str(self.imports.module)
        found = [path.parent.name for path in self.folder.glob("*/__init__.py")]
        found = [name for name in found if name not in NO_RESOURCES]
        if len(found) != 1:
            raise NotWrittenError("main.py imports no resource: write `from shop import invoice`, with your package.")
        return found[0]

    @cached_property
    def known(self) -> dict[str, KnownResource]:
        """The resources with a table, by the name of the module."""
        return {resource.module: resource for path in sorted(self.modules()) for resource in resources_in(path)}

    def modules(self) -> Iterator[Path]:
        yield from (self.folder / self.package).glob("[!_]*.py")

    @cached_property
    def paths(self) -> dict[str, str]:
        """The file that declares a path, by its first segment, such as `invoices` for `/invoices/…`."""
        found = dict.fromkeys(("docs", "health", "metrics"), "the kit")
        for path in self.modules():
            found |= dict.fromkeys(re.findall(r'prefix="/([^/"{]+)', path.read_text()), str(path.name))
        return found

    def main_with(self, name: str) -> str:
        """Return the source of `main.py` with a resource added."""
        ends = [(self.resource_list.elts[-1], f", {name}")] if self.resource_list.elts else []
        inserts = [(end_of(node), text) for node, text in ends] or [(start_inside(self.resource_list), f"{name},")]
        if self.imports is not None:
            inserts.append((end_of(self.imports.names[-1]), f", {name}"))
        else:
            first = next(node for node in self.tree.body if not is_docstring(node))
            inserts.append(((first.lineno, 0), f"from {self.package} import {name}\n"))
        return inserted(self.source, inserts)


def is_target(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


SourcePosition = tuple[int, int]
"""A position in source code: the line, from 1, and the offset in this line, in bytes."""


def end_of(node: ast.expr | ast.alias) -> SourcePosition:
    assert node.end_lineno is not None and node.end_col_offset is not None  # noqa: PT018  the parser sets both
    return node.end_lineno, node.end_col_offset


def start_inside(empty: ast.expr) -> SourcePosition:
    return empty.lineno, empty.col_offset + 1


def inserted(source: str, inserts: list[tuple[SourcePosition, str]]) -> str:
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    for (line, column), text in sorted(inserts, reverse=True):
        whole = lines[line - 1]
        lines[line - 1] = whole[:column] + text.encode() + whole[column:]
    return b"".join(lines).decode()


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def value_of(node: ast.stmt, name: str) -> ast.expr | None:
    """Return the expression that a statement assigns to this name; None for other statements."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return None
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return node.value if any(isinstance(target, ast.Name) and target.id == name for target in targets) else None


def parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text())
    except SyntaxError as error:
        raise NotWrittenError(f"{path.name} cannot be read, line {error.lineno}: {error.msg}. Fix it first.") from None


def resources_in(path: Path) -> Iterator[KnownResource]:
    """Yield the resource of a file, if its table has the name of the file."""
    classes = [node for node in parsed(path).body if isinstance(node, ast.ClassDef)]
    names = {node.name for node in classes}
    for node in classes:
        if not any(word.arg == "table" for word in node.keywords):
            continue
        table = next((value for value in texts_of([node], "__tablename__")), node.name.lower())
        if table.replace("_", "") == path.stem.replace("_", ""):
            brief = f"{node.name}Brief"
            yield KnownResource(
                module=path.stem,
                table=table,
                class_name=node.name,
                read_variant=brief if brief in names else f"{node.name}Read",
                has_uuid=any(ast.unparse(base) == "UUIDEntity" for base in node.bases),
                owner=next((value for value in texts_of(classes, "belongs_to")), None),
                is_private="read=Who.OWNERS" in path.read_text(),
            )


def texts_of(classes: list[ast.ClassDef], name: str) -> Iterator[str]:
    for node in classes:
        for statement in node.body:
            value = value_of(statement, name)
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value
