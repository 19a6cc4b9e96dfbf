"""The house: which way the arrows point, and how large its rooms are."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import main

PROJECT = Path(__file__).parents[1]
RESOURCES = sorted(path for path in (PROJECT / "heroes").glob("*.py") if path.stem != "__init__")
KIT = sorted(path for path in (PROJECT / "kit").glob("*/*.py") if path.stem != "__init__")
HOUSE = [*RESOURCES, *KIT, *(PROJECT / f"{name}.py" for name in ("main", "settings", "demo", "superuser"))]
MAKES = {"stock_transfer": {"heroes.stock_movement"}}
"""Whose rows a resource makes beside its own."""
FORBIDDEN = {"utils", "services", "repositories", "schemas", "crud", "models", "helpers", "common"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts)


def imported(path: Path) -> Iterator[str]:
    """The modules that a module imports, by their full names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            ours = [name for name in inside if (PROJECT / f"{name.replace('.', '/')}.py").exists()]
            yield from ours or [str(node.module)]


def ours(path: Path) -> set[str]:
    names = {module_name(house) for house in HOUSE}
    return {name for name in imported(path) if name in names}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize("path", KIT, ids=module_name)
def test_the_kit_knows_no_resource_no_settings_and_no_application(path: Path) -> None:
    assert all(name.startswith("kit.") for name in ours(path))


@pytest.mark.parametrize("path", RESOURCES, ids=module_name)
def test_a_resource_imports_the_kit_and_the_resources_its_foreign_keys_point_to(path: Path) -> None:
    siblings = {name for name in ours(path) if not name.startswith("kit.")} - MAKES.get(path.stem, set())
    assert not siblings & {"settings", "main", "demo"}
    source = path.read_text()
    for sibling in siblings if "table=True" in source else ():  # what has no table shows those of others
        tables = {line.split('"')[1] for line in source.splitlines() if "foreign_key=" in line and '"' in line}
        assert any(table.startswith(sibling.removeprefix("heroes.")) for table in tables), f"{path.stem} → {sibling}"


def test_no_module_imports_itself_round_a_corner() -> None:
    graph = {module_name(path): ours(path) for path in HOUSE}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", HOUSE, ids=module_name)
def test_imports_stand_at_the_top(path: Path) -> None:
    nested = [node for function in functions(path) for node in ast.walk(function)]
    assert not [node for node in nested if isinstance(node, ast.Import | ast.ImportFrom)]


def test_the_packages_are_empty_and_no_module_is_called_after_a_layer() -> None:
    assert all((PROJECT / package / "__init__.py").read_text() == "" for package in ("heroes", "kit"))
    assert not FORBIDDEN & {path.stem for path in HOUSE}


@pytest.mark.parametrize("path", HOUSE, ids=module_name)
def test_a_module_is_read_in_one_sitting(path: Path) -> None:
    assert lines_of(path) <= (90 if path.stem == "main" else 150)


@pytest.mark.parametrize("path", RESOURCES, ids=module_name)
def test_a_handler_is_the_happy_path_only(path: Path) -> None:
    for handler in functions(path):
        assert (handler.end_lineno or 0) - handler.lineno < 12, handler.name
        assert not [node for node in ast.walk(handler) if isinstance(node, ast.Try)], handler.name
        calls = [node.func for node in ast.walk(handler) if isinstance(node, ast.Call)]
        assert not [call for call in calls if isinstance(call, ast.Attribute) and call.attr in ("commit", "rollback")]


@pytest.mark.parametrize("path", HOUSE, ids=module_name)
def test_a_module_says_what_it_is_and_its_functions_are_short(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert all((function.end_lineno or 0) - function.lineno < 40 for function in functions(path))


def test_every_resource_is_listed_in_main() -> None:
    assert {sys.modules[module_name(path)] for path in RESOURCES} == set(main.RESOURCES)
