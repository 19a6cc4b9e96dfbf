"""`make test RESOURCE=…` chooses the tests of a resource."""

from pathlib import Path

import pytest

from kit.scaffolding import selection
from kit.scaffolding.project import Project
from kit.scaffolding.selection import options
from tests.live import PROJECT


def test_the_tests_of_a_resource_are_its_own_and_those_of_the_contract() -> None:
    *folders, option, expression = options(Project(PROJECT), "stock_movement")
    assert folders == ["tests/contract", "tests/test_every_resource.py", "tests/heroes"]
    assert (option, expression) == ("-k", "(test_stock_movement.py)or(stock-movements)")


def test_the_command_prints_the_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(PROJECT)
    assert [selection.main(), selection.main("team")] == [None, None]
    assert capsys.readouterr().out.split()[-1] == "(test_team.py)or(teams)"
    assert str(selection.main("villain")).startswith("RESOURCE=villain is no resource: the resources are category,")


def test_the_tests_of_the_contract_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "main.py").write_text("from shop import item\n\nRESOURCES = (item,)\n")
    (tmp_path / "shop/item.py").write_text('router = APIRouter(prefix="/items")\n')
    assert options(Project(tmp_path), "item") == ["tests/shop", "-k", "(items)"]
