"""A server: a process with one worker, pinned to one core."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.contestants import CONTESTANTS, Contestant
from benchmarks.machine import PROJECT, cpu_seconds, resident

PORTS = iter(range(18_000, 32_000))
IDLE = 0.06
"""The interval of the check whether a server is idle (uses hardly any CPU time), in seconds."""
IDLE_SHARE = 0.05
SETTLING = 10
"""The longest wait for an idle server, in seconds."""
START_SECONDS, TIMEOUT_SECONDS = 240, 30
"""The longest waits for a server to start, which shares its core with others that start, and to answer or stop."""


class NotAliveError(SystemExit):
    """A server does not start."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def free_port() -> int:
    """Return a port below those for outgoing connections, never the same twice."""
    for port in PORTS:
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise SystemExit("No port is free.")


@contextmanager
def started(servers: Iterable["Server"]) -> Iterator[None]:
    """Start servers concurrently, and stop them concurrently when the block ends."""
    chosen = list(servers)
    with ExitStack() as stack:
        for server in chosen:
            server.start()
            stack.callback(server.stop)
        for server in chosen:
            server.wait_until_alive()
        try:
            yield
        finally:
            for server in chosen:
                server.begin_to_stop()


@dataclass
class Server:
    """A running server. `kind` and `folder` are other ones where two versions of the project are compared."""

    name: str
    database_url: str
    log_file: Path
    folder: Path = PROJECT
    kind: Contestant | None = None
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes]" = field(init=False, repr=False)

    @property
    def contestant(self) -> Contestant:
        return self.kind or CONTESTANTS[self.name]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def start(self) -> None:
        environment = self.contestant.environment(self.database_url)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  a command from a table
                self.contestant.started_on(self.port), cwd=self.folder, env=environment, stdout=log, stderr=log
            )

    def wait_until_alive(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(httpx.TransportError):
                httpx.get(f"{self.url}/heroes/1", timeout=TIMEOUT_SECONDS)
                return
            time.sleep(0.1)
        raise NotAliveError(self.name, f"{self.name} does not answer; it printed:\n{self.log_file.read_text()[-3000:]}")

    def begin_to_stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        self.begin_to_stop()
        try:
            self.process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        """Restart a server that has stalled, so that it can serve the next loads."""
        self.process.kill()
        self.process.wait()
        self.start()
        self.wait_until_alive()

    def memory(self) -> float:
        return resident(self.process.pid)

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    def settle(self) -> None:
        """Wait until the server is idle: wrk ends while its last requests are still running."""
        deadline = time.monotonic() + SETTLING
        while time.monotonic() < deadline:
            before = self.cpu()
            time.sleep(IDLE)
            if self.cpu() - before < IDLE * IDLE_SHARE:
                return
