"""The architecture: which modules may import which others, without cycles."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import main

pytestmark = pytest.mark.untraced

PROJECT = Path(__file__).parents[1]
ORDER = (
    *(
        "importing",
        "applications",
        "deprecations",
        "refusals",
        "propagators",
        "http",
        "models",
        "auth",
        "database",
        "runtime",
        "query",
        "operations",
        "openapi",
        "server",
        "fast",
    ),
    *("metrics", "tracing", "replicas"),
    *("commands", "scaffolding"),
)
"""The packages of the kit, in order. A package may import the packages before it, and itself."""
OPTIONAL = ("fast", "metrics", "tracing", "replicas")
"""The packages that a service may delete, with the folder of their tests and their lines in `main.py`."""
PACKAGE = main.RESOURCES[0].__name__.partition(".")[0]
"""The package of the resources."""
RESOURCES = sorted(path for path in (PROJECT / PACKAGE).glob("**/*.py") if path.stem != "__init__")
KIT = sorted((PROJECT / "kit").glob("**/*.py"))
FACE = PROJECT / "kit/__init__.py"
APPLICATION = [PROJECT / f"{name}.py" for name in ("main", "settings", "commands", "demo", "serve", "superuser")]
MODULES = [*RESOURCES, *KIT, *APPLICATION]
SHARED_BY_TESTS = ("conftest", "engines", "clients", "people", "hashing", "captured_log", "live", "statements")
TESTS_OF_THE_KIT = [
    *(PROJECT / "tests/kit").glob("**/*.py"),
    *(PROJECT / f"tests/{name}.py" for name in SHARED_BY_TESTS),
]
"""The modules of the kit's tests, and those that they share with the tests of the domain."""
OF_THE_DOMAIN = ("contract", "application", "accounts", "rows", PACKAGE)
DOMAIN = (
    "main",
    "settings",
    "commands",
    "demo",
    "serve",
    "superuser",
    PACKAGE,
    *(f"tests.{name}" for name in OF_THE_DOMAIN),
)
LAYERS = {"utils", "services", "repositories", "schemas", "crud", "models", "helpers", "common"}
"""Module names for technical layers. A module is named after its subject instead."""


def name_of(path: Path) -> str:
    """Return the full name of a module or package."""
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imports(node: ast.AST) -> Iterator[str]:
    """Yield the modules of this project that an import statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"a relative import in line {node.lineno}"
        inside = [f"{node.module}.{alias.name}" for alias in node.names]
        modules = [name for name in inside if name in NAMES]
        yield from modules
        if len(modules) < len(inside):
            yield str(node.module)


def imported(path: Path, *, for_types: bool = True) -> set[str]:
    """Return the modules of this project that a module imports; with `for_types` also those under TYPE_CHECKING."""
    tree = ast.parse(path.read_text())
    checked = {id(node) for block in type_checking_blocks(tree) for node in ast.walk(block)}
    nodes = [node for node in ast.walk(tree) if for_types or id(node) not in checked]
    return {name for node in nodes for name in imports(node) if name in NAMES}


def type_checking_blocks(tree: ast.AST) -> Iterator[ast.If]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield node


def test_the_modules_are_found() -> None:
    assert RESOURCES
    assert KIT
    assert len(TESTS_OF_THE_KIT) > 6


def package_of(name: str) -> str:
    """Return the package of a module of the kit, or the module itself: `http` for `kit.http.problems`."""
    return name.split(".")[1]


@pytest.mark.parametrize("path", [path for path in KIT if path != FACE], ids=name_of)
def test_a_package_of_the_kit_imports_only_those_before_it(path: Path) -> None:
    place = ORDER.index(package_of(name_of(path)))
    for name in imported(path):
        assert name.startswith("kit."), f"{name_of(path)} imports {name}"
        assert ORDER.index(package_of(name)) <= place, f"{name_of(path)} imports {name}"


def test_every_package_of_the_kit_is_in_the_order() -> None:
    found = {package_of(name_of(path)) for path in KIT if path != FACE}
    assert set(ORDER) - found <= set(OPTIONAL)
    assert found <= set(ORDER)


def test_the_public_face_of_the_kit_is_without_the_fast_path() -> None:
    names = imported(FACE)
    assert len(names) > 1
    assert all(name.startswith("kit.") and package_of(name) != "fast" for name in names)


@pytest.mark.parametrize("path", [path for path in MODULES if path not in KIT], ids=name_of)
def test_the_fast_path_and_the_wings_are_imported_by_main_alone(path: Path) -> None:
    is_imported = any(name.startswith(tuple(f"kit.{name}" for name in OPTIONAL)) for name in imported(path))
    assert not is_imported or name_of(path) == "main"


@pytest.mark.parametrize("package", OPTIONAL)
def test_only_its_own_tests_import_a_package_that_may_be_deleted(package: str) -> None:
    own, names = PROJECT / f"tests/kit/{package}", (f"kit.{package}", f"tests.kit.{package}")
    others = [path for path in (PROJECT / "tests").glob("**/*.py") if not path.is_relative_to(own)]
    nodes = [(path, node) for path in others for node in ast.walk(ast.parse(path.read_text()))]
    assert not [
        name_of(path)
        for path, node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        if any(re.match(rf"({'|'.join(names)})(\.|$)", name) for name in all_imports(node))
    ]


def parents_of(path: Path) -> set[str]:
    """Return the tables that the foreign keys of a resource refer to."""
    return set(re.findall(r'foreign_key="(\w+)\.', path.read_text()))


@pytest.mark.parametrize("path", RESOURCES, ids=name_of)
def test_a_resource_imports_the_face_of_the_kit_and_the_resources_its_foreign_keys_point_to(path: Path) -> None:
    siblings = imported(path, for_types=False) - {"kit"}
    source, tables = path.read_text(), parents_of(path)
    for sibling in siblings:
        fault = f"{name_of(path)} imports {sibling}"
        assert sibling.startswith(f"{PACKAGE}."), f"{fault}: import it from kit, which is all that a resource needs."
        name = sibling.removeprefix(f"{PACKAGE}.")
        is_parent = name in tables
        is_made = not tables.isdisjoint(parents_of(path.with_name(f"{name}.py")))  # it makes rows of the same parent
        # Without a table it combines other resources.
        assert is_parent or is_made or "table=True" not in source, f"{fault}, to which none of its foreign keys points."


@pytest.mark.parametrize("path", TESTS_OF_THE_KIT, ids=name_of)
def test_the_tests_of_the_kit_know_no_domain(path: Path) -> None:
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name for node in nodes for name in all_imports(node)}
    assert not [name for name in names if name.startswith(DOMAIN)]


def all_imports(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the modules that an import statement may import, including those of the tests."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]


def test_imports_have_no_cycle() -> None:
    graph = {name_of(path): imported(path, for_types=False) - {name_of(path)} for path in MODULES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(NAMES)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_are_at_the_top(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = [node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
            assert not inside, f"{name_of(path)} imports in line {inside[0].lineno}"


def test_no_module_is_named_after_a_layer() -> None:
    assert not [name_of(path) for path in MODULES if path.stem in LAYERS]


@pytest.mark.parametrize("path", KIT, ids=name_of)
def test_a_module_of_the_kit_says_what_it_provides(path: Path) -> None:
    source = path.read_text()
    assert not source.strip() or ast.get_docstring(ast.parse(source))


def test_every_resource_is_listed_in_main() -> None:
    listed = {resource.__name__ for resource in main.RESOURCES}
    for name in map(name_of, RESOURCES):
        assert name in listed, f"{name} is not listed: import it in main.py, and add it to RESOURCES there."
