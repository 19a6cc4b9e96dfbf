"""Fixtures of all tests: databases of both engines. They import no application, so `tests/kit` runs without one."""

from collections.abc import Iterator

import pytest

from kit.database.error_responses import logged
from tests import engines
from tests.watchdog import WATCHDOG

anyio_backend, engine, log_file = engines.anyio_backend, engines.engine, engines.log_file
new_database, new_postgres = engines.new_database, engines.new_postgres
postgres_entrance, postgres_server = engines.postgres_entrance, engines.postgres_server


@pytest.fixture(autouse=True)
def nothing_logged() -> None:
    """Let each test see the log lines that are written once in some seconds."""
    logged.clear()


def pytest_configure() -> None:
    WATCHDOG.install()


@pytest.fixture(autouse=True)
def no_request_occupies_the_event_loop() -> Iterator[None]:
    """Fail a test one of whose requests takes too much processor time between two turns of the event loop."""
    WATCHDOG.slow.clear()
    yield
    assert not WATCHDOG.slow
