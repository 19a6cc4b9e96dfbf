"""The service as a process, for tests that need a real server."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.waiting import TIMEOUT_SECONDS

PROJECT = Path(__file__).parents[1]


@dataclass
class Server:
    """A running server: its URL, and its log file."""

    command: list[str]
    url: str
    log_file: Path
    environment: dict[str, str] = field(repr=False)
    project: str | Path = PROJECT
    process: subprocess.Popen[str] = field(init=False, repr=False)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def start(self) -> None:
        with self.log_file.open("a") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.project, env=self.environment, stdout=log, stderr=log, text=True
            )
        wait_until_alive(self.process, self.url, self.log_file)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop the server. Returns its exit code."""
        self.process.send_signal(how)
        return self.process.wait(TIMEOUT_SECONDS)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        self.stop(signal.SIGKILL)

    def end(self) -> None:
        """Stop the server, if it runs, so that no process outlives a test."""
        if self.process.poll() is not None:
            return
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@contextmanager
def started(server: Server) -> Iterator[Server]:
    """Run a server until the block ends."""
    try:
        server.start()
        yield server
    finally:
        server.end()


@contextmanager
def serving(
    database_url: str,
    log_file: Path,
    *options: str,
    app: str = "main:app",
    project: str | Path = PROJECT,
    **settings: str,
) -> Iterator[Server]:
    """Serve this database on a free port until the block ends.

    `options` are for uvicorn's command line, `settings` are environment variables.
    """
    defaults = {"PATH": os.environ["PATH"], "FAST_PATH": os.environ.get("FAST_PATH", "true")}
    defaults |= {"DEMO_DATA": "false", "SHUTDOWN_DELAY": "0"}
    environment = {**defaults, "DATABASE_URL": database_url, **settings}
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), *options]
    with started(Server(command, f"http://127.0.0.1:{port}", log_file, environment, project)) as server:
        yield server


@contextmanager
def make_run(project: Path, url: str, log_file: Path, **variables: str) -> Iterator[Server]:
    """Run `make run` in a project, whose packages are installed, until the block ends."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": url,
        "DEMO_DATA": "false",
        "PORT": str(port),
        **variables,
    }
    command = ["make", "-s", "--assume-old=.venv/run", "run"]
    with started(Server(command, f"http://127.0.0.1:{port}", log_file, environment, project)) as server:
        yield server


def free_port() -> int:
    """Return a free port below the ephemeral range: in that range, a client of a closed port may connect to itself."""
    while True:
        port = random.randint(10_000, 32_000)
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until_alive(process: subprocess.Popen[str], url: str, log_file: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with httpx.Client() as client:  # one client for all attempts: each new client reads all certificates
        while time.monotonic() < deadline:
            assert process.poll() is None, f"The service ended at once:\n{log_file.read_text()}"
            try:
                client.get(f"{url}/health/live").raise_for_status()
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
    raise AssertionError(f"No answer after {TIMEOUT_SECONDS} s:\n{log_file.read_text()}")
