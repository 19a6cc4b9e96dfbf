"""Turns: each test function runs in every turn, and each of its cases on each engine in one of four turns."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engines import ENGINES
from tests.turns import of_turn

pytestmark = [pytest.mark.untraced, pytest.mark.no_fast_path]
TURNS = range(7, 11)


class Item(SimpleNamespace):
    __hash__ = object.__hash__  # type: ignore[assignment]  # as tests have it


def plain_item(name: str) -> Any:
    return Item(nodeid=f"file.py::{name}")


def item(case: str, engine: str = "") -> Any:
    """Return a test case, with the engine that its fixture `engine` provides, if any."""
    return Item(nodeid=f"file.py::one[{case}{engine}]", callspec=SimpleNamespace(params={"engine": engine or None}))


def test_each_case_on_each_engine_runs_in_one_of_four_turns() -> None:
    items = [item(f"{case}-", engine) for case in range(20) for engine in ENGINES]
    turns = [of_turn(items, turn) for turn in TURNS]
    assert Counter(test for turn in turns for test in turn) == Counter(items)
    assert [len(turn) for turn in turns] == [10, 10, 10, 10]


def test_the_next_turn_has_the_same_cases_on_the_other_engine_or_the_other_cases() -> None:
    items = [item(f"{case}-", engine) for case in range(20) for engine in ENGINES]
    cases = [{test.nodeid.partition("-")[0] for test in of_turn(items, turn)} for turn in range(4)]
    assert cases[0] == cases[1]
    assert cases[2] == cases[3] == {test.nodeid.partition("-")[0] for test in items} - cases[0]


def test_a_turn_has_cases_on_both_engines() -> None:
    items = [item(f"{case}-", engine) for case in range(20) for engine in ENGINES]
    names = [test.nodeid for test in of_turn(items, 0)]
    assert all(any(engine in name for name in names) for engine in ENGINES)


@pytest.mark.parametrize("turn", TURNS)
def test_a_function_with_one_case_runs_in_each_turn(turn: int) -> None:
    assert len(of_turn([item("", engine) for engine in ENGINES], turn)) == 1
    for only in (item("", "postgresql"), plain_item("other"), item("case")):
        assert of_turn([only], turn) == {only}
