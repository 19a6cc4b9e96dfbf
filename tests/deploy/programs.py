"""Programs of the tests of `deploy/`: where they are, and how they are run."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live import PROJECT
from tests.waiting import TIMEOUT_SECONDS

DEPLOY = PROJECT / "deploy"
PATH = f"{PROJECT / '.venv-deploy/bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"

START_SECONDS = 60
"""The longest time for a server to start."""


def program(name: str, package: str) -> str:
    """Return the path of a program. Skips the test if it is not installed; in the CI it has to be."""
    path = shutil.which(name, path=PATH)
    if path is None and "CI" in os.environ:
        pytest.fail(f"{name} is missing: {package}")
    if path is None:
        pytest.skip(f"{name} is not installed: {package}")
    return path


def run(*command: str | Path, **environment: str) -> str:
    """Run a command, and return its output. Raises an AssertionError with the output if the command fails."""
    ended = subprocess.run(
        [*map(str, command)], env=os.environ | environment, capture_output=True, text=True, timeout=900, cwd=PROJECT
    )
    assert ended.returncode == 0, f"{command}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout + ended.stderr


@contextmanager
def running(port: int, log: Path, *command: str | Path, **environment: str) -> Iterator[None]:
    """Run a server until the block ends. The block begins when the server listens on this port."""
    with log.open("w") as output:
        process = subprocess.Popen([*map(str, command)], env=os.environ | environment, stdout=output, stderr=output)
    try:
        end = time.monotonic() + START_SECONDS
        while process.poll() is None and not listens(port) and time.monotonic() < end:
            time.sleep(0.05)
        assert listens(port), log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port
