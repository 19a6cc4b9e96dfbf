"""Turns of the CI run: with `TURN=N`, half of the cases of each test function run, each on one engine.

Four consecutive turns run all cases on both engines.
"""

import os
from collections.abc import Iterable, Sequence
from itertools import groupby
from zlib import crc32

import pytest

from tests.engines import ENGINES


def deselect_other_turns(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of other turns, if the environment variable `TURN` is set."""
    if turn := os.environ.get("TURN"):
        chosen = of_turn(items, int(turn))
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = [item for item in items if item in chosen]


def of_turn(items: Iterable[pytest.Item], turn: int) -> set[pytest.Item]:
    """Return the tests of a turn: for each function half of its cases, at least one, and each case on one engine.

    A turn chooses engines by its last bit, and halves by the bit before. Apart from that, the choice depends only on
    the names of the tests. It does not follow their order, in which the last parameter alternates.
    """
    chosen: set[pytest.Item] = set()
    for _, group in groupby(sorted(items, key=function_of), key=function_of):
        cases: dict[str, dict[str, pytest.Item]] = {}
        for item in group:
            engine = engine_of(item)
            cases.setdefault(item.nodeid.replace(engine, "engine") if engine else item.nodeid, {})[engine] = item
        names = sorted(cases, key=lambda name: (crc32(name.encode()), name))
        chosen.update(on_one_engine(name, cases[name], turn) for name in half(names, turn >> 1))
    return chosen


def function_of(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def engine_of(item: pytest.Item) -> str:
    """Return the engine that the fixture `engine` provides to a test; an empty string if the test does not use it."""
    engine = item.callspec.params.get("engine") if hasattr(item, "callspec") else None
    return engine if engine in ENGINES else ""


def half(names: Sequence[str], turn: int) -> Sequence[str]:
    """Return every second name: in even turns from the first one, in odd turns from the second; or the only name."""
    return names[turn % 2 :: 2] or names


def on_one_engine(case: str, by_engine: dict[str, pytest.Item], turn: int) -> pytest.Item:
    """Return the test of a case on the engine of this turn, or on its only engine."""
    engine = ENGINES[(crc32(case.encode()) + turn) % 2]
    return by_engine.get(engine) or next(iter(by_engine.values()))
