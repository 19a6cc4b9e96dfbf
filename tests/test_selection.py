"""`make test RESOURCE=…` chooses the tests of a resource."""

from pathlib import Path

import pytest

from kit.scaffolding import selection
from kit.scaffolding.project import Project
from kit.scaffolding.relations import Relations
from kit.scaffolding.selection import options
from tests.live import PROJECT


def test_the_tests_of_a_resource_are_its_own_and_those_of_the_contract() -> None:
    *folders, option, expression = options(Project(PROJECT), "stock_movement")
    assert folders == ["tests/contract", "tests/test_every_resource.py", "tests/heroes"]
    assert (option, expression) == ("-k", "(test_stock_movement.py)or(stock-movements)")


def test_a_resource_needs_what_it_imports_in_each_way(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "main.py").write_text("from shop import a, b, c, d\n\nRESOURCES = (a, b, c, d)\n")
    sources = {"a": "", "b": "from shop import a\n", "c": "from shop.b import B\n", "d": 'ForeignKey("a.id")\n'}
    for name, source in sources.items():
        table = f"\n\nclass {name.upper()}(SQLModel, table=True):\n    pass\n"
        (tmp_path / f"shop/{name}.py").write_text(source + table)
    relations = Relations(Project(tmp_path))
    assert relations.needs == {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"a"}}
    assert relations.with_needs(["c"]) == {"a", "b", "c"}
    assert relations.dependents("a") == {"b", "d"}


def test_the_command_prints_the_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(PROJECT)
    assert [selection.main(), selection.main("team")] == [None, None]
    assert capsys.readouterr().out.split()[-1] == "(test_team.py)or(teams)"
    assert str(selection.main("villain")).startswith("RESOURCE=villain is not a resource: the resources are category,")


def test_the_tests_of_the_contract_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "main.py").write_text("from shop import item\n\nRESOURCES = (item,)\n")
    (tmp_path / "shop/item.py").write_text('router = APIRouter(prefix="/items")\n')
    assert options(Project(tmp_path), "item") == ["tests/shop", "-k", "(items)"]
