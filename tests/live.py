"""The service as a process of its own, for what only a real server shows."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

PROJECT = Path(__file__).parents[1]
PATIENCE = 20
"""Seconds to wait for a server to start or to stop."""


@dataclass
class Server:
    """A running service: where it is, and what it has printed."""

    process: subprocess.Popen[str]
    url: str
    log_file: Path
    environment: dict[str, str] = field(repr=False)

    @property
    def log(self) -> str:
        return self.log_file.read_text()


@contextmanager
def serving(
    database_url: str,
    log_file: Path,
    *,
    app: Sequence[str] = ("main:app",),
    project: Path = PROJECT,
    **settings: str,
) -> Iterator[Server]:
    """Serve this database on a free port until the block ends; `settings` are environment variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url, "DEMO_DATA": "false", **settings}
    command = [sys.executable, "-m", "uvicorn", *app, "--port", str(port)]
    with log_file.open("w") as log:
        process = subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log, text=True)
    try:
        wait_until_alive(process, f"http://127.0.0.1:{port}", log_file)
        yield Server(process, f"http://127.0.0.1:{port}", log_file, environment)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait_until_alive(process: subprocess.Popen[str], url: str, log_file: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    with httpx.Client(base_url=url, verify=False) as client:  # noqa: S501  no TLS here; certificates are slow to load
        while time.monotonic() < deadline:
            assert process.poll() is None, f"The service ended at once:\n{log_file.read_text()}"
            try:
                client.get("/health/live").raise_for_status()
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
    raise AssertionError(f"No answer after {PATIENCE} s:\n{log_file.read_text()}")
