"""Tests on one engine: `ONE_ENGINE=N` lets each test run on SQLite or on PostgreSQL, and N + 1 on the other one."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.engines import ENGINES, on_the_other_engine

pytestmark = [pytest.mark.untraced, pytest.mark.no_fast_path]


class Item(SimpleNamespace):
    __hash__ = object.__hash__  # type: ignore[assignment]  # as tests have it


def on(engine: str, test: str) -> Any:
    return Item(nodeid=f"{test}[{engine}]", callspec=SimpleNamespace(params={"engine": engine}))


def test_each_test_runs_on_one_engine_and_next_on_the_other() -> None:
    items = [on(engine, f"test_{number}") for number in range(20) for engine in ENGINES]
    first, second = on_the_other_engine(items, 7), on_the_other_engine(items, 8)
    assert first | second == set(items)
    assert not first & second
    assert 0 < sum("sqlite" in item.nodeid for item in first) < len(first)


def test_tests_of_one_engine_always_run() -> None:
    items = [on("postgresql", "test_1"), Item(nodeid="test_2"), Item(nodeid="3", callspec=SimpleNamespace(params={}))]
    assert on_the_other_engine(items, 0) == set()
