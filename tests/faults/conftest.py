"""Fixtures of the fault tests: databases that may crash, the service as a process, and a table of results."""

import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engines import MEMORY
from tests.faults.figures import FIGURES
from tests.faults.postgres import Postgres, running_postgres
from tests.live import Server, serving

PROBE = "tests.faults.probe:app"
Serve = Callable[..., Server]
"""Serves the database of the test until the test ends: `serve("--workers", "2", MAX_IN_FLIGHT="16")`."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the results of a process of xdist to the one that prints them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = FIGURES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    FIGURES.extend(tuple(figure) for figure in getattr(node, "workeroutput", {}).get("figures", ()))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not FIGURES:
        return
    terminalreporter.section("What was seen")
    width = max(len(what) for what, _ in FIGURES)
    for what, figures in FIGURES:
        terminalreporter.write_line(f"{what:<{width}}  {figures}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        yield postgres


@contextmanager
def new_url(engine: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Provide the URL of an empty database."""
    if engine == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        yield postgres.new_database()
        return
    with tempfile.TemporaryDirectory(prefix="service-", dir=MEMORY) as folder:
        yield f"sqlite:///{folder}/{secrets.token_hex(6)}.db"


@pytest.fixture
def database_url(engine: str, request: pytest.FixtureRequest) -> Iterator[str]:
    with new_url(engine, request) as url:
        yield url


@pytest.fixture
def serve(database_url: str, log_file: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(*options: str, app: str = PROBE, **settings: str) -> Server:
            return stack.enter_context(serving(database_url, log_file, *options, app=app, **settings))

        yield start


@pytest.fixture(scope="session")
def server(engine: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Provide a server for all tests that do not change its state."""
    log_file = tmp_path_factory.mktemp("faults") / "service.log"
    with new_url(engine, request) as url, serving(url, log_file, app=PROBE) as server:
        yield server
