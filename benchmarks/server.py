"""The servers: one worker on one core each, with the same pool and without an access log."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.machine import PROJECT, SERVER_CORE, cpu_seconds, resident
from benchmarks.rounds import OURS

PEERS = ("seed", "limit", "litestar", "ninja", "template", "fastcrud", "fastify")
ON_SQLITE = ("seed",)
FASTIFY = PROJECT / "benchmarks/peers/fastify"
POOL = {"POOL_SIZE": "20", "POOL_OVERFLOW": "10"}
"""The pool of every server: 20 connections, 10 more under load; 30 where there is no such distinction."""
SETTINGS = {
    "ENVIRONMENT": "production",
    "REQUIRE_AUTH": "false",
    "SECRET_KEY": "0123456789abcdef" * 2,
    "LOG_LEVEL": "WARNING",
    "MAX_IN_FLIGHT": "1000",
    "ADDRESS_RATE": "1000000000",
    "SHUTDOWN_DELAY": "0",
    "NODE_ENV": "production",
}
UVICORN = ["--workers", "1", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
PORTS = iter(range(18_000, 32_000))
IDLE = 0.06
"""Seconds. A server counts as idle if it has used no CPU time in this interval."""
SETTLING = 10
"""The longest wait for an idle server, in seconds."""
TIMEOUT_SECONDS = 30
"""The longest wait for a server to start, in seconds."""


def command_for(name: str, port: int) -> list[str]:
    pinned = ["taskset", "-c", str(SERVER_CORE)]
    if name == "fastify":
        return [*pinned, "node", str(FASTIFY / "server.js"), str(port)]
    app = "main:app" if name == OURS else f"benchmarks.peers.{name}:app"
    return [*pinned, sys.executable, "-m", "uvicorn", app, "--port", str(port), *UVICORN]


def left_out(peers: list[str]) -> list[str]:
    """Return the peers that cannot run on this machine."""
    ready = shutil.which("node") and (FASTIFY / "node_modules").is_dir()
    return [] if ready or "fastify" not in peers else ["fastify"]


def free_port() -> int:
    """Return a port below those for outgoing connections, never the same twice."""
    for port in PORTS:
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise SystemExit("No port is free.")


@dataclass
class Server:
    """A running server."""

    name: str
    database_url: str
    log_file: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes]" = field(init=False, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = {**os.environ, **SETTINGS, **POOL, "DATABASE_URL": self.database_url}
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603  a command from a table
                command_for(self.name, self.port), cwd=PROJECT, env=environment, stdout=log, stderr=log
            )

    def wait_until_alive(self) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with suppress(httpx.TransportError):
                httpx.get(f"{self.url}/heroes/1", timeout=TIMEOUT_SECONDS)
                return
            time.sleep(0.1)
        raise SystemExit(f"{self.name} does not answer; it printed:\n{self.log_file.read_text()[-3000:]}")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def memory(self) -> float:
        return resident(self.process.pid)

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    def settle(self) -> None:
        """Wait until the server is idle: wrk ends while its last requests are still running."""
        deadline, before = time.monotonic() + SETTLING, -1.0
        while self.cpu() != before and time.monotonic() < deadline:
            before = self.cpu()
            time.sleep(IDLE)
