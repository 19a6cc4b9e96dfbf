"""Fixtures of all tests: databases of both engines. They import no application, so `tests/kit` runs without one."""

import json
import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from coverage import Coverage

from kit.database.error_responses import logged
from kit.http.principals import CURRENT_PRINCIPAL, UNRESTRICTED
from tests import engines, traced_greenlets
from tests.turns import deselect_other_turns
from tests.watchdog import WATCHDOG

CURRENT_PRINCIPAL.set(UNRESTRICTED)  # tests without a request may see private fields

anyio_backend, engine, log_file = engines.anyio_backend, engines.engine, engines.log_file
new_database, new_postgres = engines.new_database, engines.new_postgres
postgres_entrance, postgres_server = engines.postgres_entrance, engines.postgres_server


@pytest.fixture(autouse=True)
def nothing_logged() -> None:
    """Reset the limits of log lines that are written once in some seconds, so that each test sees them."""
    logged.clear()


MARKS = (
    "slow: takes seconds, mostly in other processes, so `make test` leaves it out",
    "untraced: covers no line that others do not, so `make check` leaves it out",
    "exhaustive: tests all combinations, also without the fast path: `make check` and `make test-plain` leave it out",
    "no_fast_path: the fast path makes no difference to it, so `make test-plain` leaves it out",
    "each_engine: covers lines of PostgreSQL too: `make check` runs it on both engines, and other tests on SQLite only",
)
"""Here and not in `pyproject.toml`, because `make upgrade-kit` brings this file together with the marked tests."""


def listed_tests() -> dict[str, list[str]]:
    """Return the list in `tests/tracing`: the test functions with untraced cases, each with its traced cases.

    Nothing is returned, so that all tests are traced, if a module of the list was removed, with a resource for example.
    """
    path = Path(__file__).parent / "tracing/untraced.json"
    tests: dict[str, list[str]] = json.loads(path.read_text()) if path.exists() else {}
    modules = {test.partition("::")[0] for test in tests}
    is_current = all((path.parents[2] / module).exists() for module in modules)
    return tests if is_current and "ALL_TRACED" not in os.environ else {}


UNTRACED = listed_tests()


def pytest_configure(config: pytest.Config) -> None:
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    WATCHDOG.install()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Measure the coverage of imports only, and in the first process of xdist only: all processes import the same."""
    measurement = Coverage.current()
    if measurement is None:
        return (yield)
    traced_greenlets.install()
    measurement.stop()
    if getattr(session.config, "workerinput", {"workerid": "gw0"})["workerid"] == "gw0":
        session.config.pluginmanager.register(MeasuredImports(measurement))
        measurement.start()
        return (yield)
    try:
        return (yield)
    finally:
        measurement.start()


class MeasuredImports:
    """A plugin that measures the import of each module of tests, but not the collection of its tests."""

    def __init__(self, measurement: Coverage) -> None:
        self.measurement = measurement

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        if not isinstance(collector, pytest.Module):
            return (yield)
        with suppress(collector.CollectError):  # the collection raises it again
            collector.obj  # noqa: B018  imports it
        self.measurement.stop()
        try:
            return (yield)
        finally:
            self.measurement.start()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Add the mark `untraced` to a test that is in the list of untraced tests."""
    function, _, case = item.nodeid.partition("[")
    if case.removesuffix("]") not in UNTRACED.get(function, (case.removesuffix("]"),)):
        item.add_marker("untraced")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of other turns, and put slow tests first, so that all processes end at about the same time."""
    deselect_other_turns(config, items)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def no_request_occupies_the_event_loop() -> Iterator[None]:
    """Fail a test one of whose requests takes too much processor time between two turns of the event loop."""
    WATCHDOG.slow.clear()
    yield
    assert not WATCHDOG.slow
