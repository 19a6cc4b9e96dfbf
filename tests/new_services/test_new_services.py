"""A service that `make new` made: its tests and checks pass at once, and it serves a POST on both engines."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live import PROJECT, make_run
from tests.test_new_service import PERSON, copied
from tests.waiting import TIMEOUT_SECONDS

KEPT = {"orders": "", "stock-desk": "review,stock_transfer"}
"""The names of the services, and the resources that each keeps."""


@pytest.fixture(scope="module", params=KEPT)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a service by the command, with the environment of this project."""
    folder = tmp_path_factory.mktemp("new")
    source = copied(folder / "source")
    (source / ".venv").symlink_to(Path(sys.prefix))
    done = make(source, "new", NAME=request.param, WITH=KEPT[request.param], **PERSON)
    assert f"Made, with one commit: {folder / request.param}" in done
    (folder / request.param / ".venv").symlink_to(Path(sys.prefix))
    return Path(folder, request.param)


def make(folder: Path, target: str, *arguments: str, **variables: str) -> str:
    """Run a target of make, and return its output. It must not fail."""
    command = ["make", target, "--assume-old=.venv/dev", "--assume-old=.venv/run", *arguments]
    names = ("PATH", "HOME", "TEST_POSTGRES_URL", "PYTEST", "PYTEST_XDIST_AUTO_NUM_WORKERS", "FAILED_AT_FIRST")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    done = subprocess.run(command, cwd=folder, env={**kept, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


def test_all_tests_of_a_new_service_pass(made: Path, postgres_server: str) -> None:
    # The checks of "orders" run its other tests. The resources of the other service are tested on PostgreSQL here.
    faster = ["test", "ARGS=-m 'not slow' -k 'not postgresql'"]
    command = ["test-unchecked"] if made.name == "orders" else faster
    turn = {name: os.environ[name] for name in ("TURN",) if name in os.environ}
    assert " passed" in make(made, *command, TEST_POSTGRES_URL=postgres_server, **turn)


def test_a_new_service_passes_its_checks(made: Path, postgres_server: str) -> None:
    if made.name == "orders":  # the other keeps resources whose tests need those that are left out
        assert "100" in make(made, "check", TEST_POSTGRES_URL=postgres_server)
    else:
        make(made, "format")


def test_the_kit_and_its_tests_are_those_of_the_project(made: Path) -> None:
    for folder in ("kit", "tests/kit"):
        for path in (PROJECT / folder).rglob("*.py"):
            assert (made / path.relative_to(PROJECT)).read_bytes() == path.read_bytes()
    assert " tests collected" in make(made, "test-kit", "ARGS=--collect-only -q")


async def test_a_new_service_serves(made: Path, new_database: Any, log_file: Path) -> None:
    path = {"orders": "/orders/", "stock-desk": "/notes/"}[made.name]
    with make_run(made, await new_database(), log_file) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT_SECONDS) as client:
            answer = await client.post(path, json={"name": "The first"})
        assert (answer.status_code, answer.json()["id"]) == (201, 1), answer.text
