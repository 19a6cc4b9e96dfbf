"""The same behaviour under every server: start, garbage collection, exceptions, and a graceful stop."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from kit.importing import THRESHOLD
from tests.engines import on_sqlite
from tests.waiting import TIMEOUT_SECONDS, until

pytestmark = [pytest.mark.no_fast_path, pytest.mark.untraced]

PROJECT = Path(__file__).parents[3]
APP = "tests.kit.server.served:app"
COMMANDS = {
    "uvicorn": ["uvicorn", APP, "--port", "{port}"],
    "uvicorn with workers": ["uvicorn", APP, "--port", "{port}", "--workers", "2"],
    "gunicorn": ["gunicorn", APP, "-k", "uvicorn_worker.UvicornWorker", "-w", "2", "-b", "127.0.0.1:{port}"],
    "granian": ["granian", APP, "--interface", "asgi", "--port", "{port}"],
}
NEEDED = {"gunicorn": "uvicorn_worker", "granian": "granian"}


class Server:
    """A server that serves the application of the tests."""

    def __init__(self, name: str, url: str, process: subprocess.Popen[bytes], log_file: Path) -> None:
        self.name, self.url, self.process, self.log_file = name, url, process, log_file

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    async def wait_until_ready(self, client: httpx.AsyncClient) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                assert self.process.poll() is None, self.log
                try:
                    await client.get("/health/live")
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                else:
                    return

    async def end(self) -> int:
        """Stop the server. Returns its exit code."""
        return await asyncio.to_thread(self.process.wait, TIMEOUT_SECONDS)


@pytest.fixture(params=COMMANDS)
async def server(request: pytest.FixtureRequest, new_database: object, log_file: Path) -> AsyncIterator[Server]:
    name = str(request.param)
    if find_spec(NEEDED.get(name, "uvicorn")) is None:
        pytest.skip(f"{name} is not installed")
    port = free_port()
    module, *arguments = [part.format(port=port) for part in COMMANDS[name]]
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": await new_database()}  # type: ignore[operator]
    with log_file.open("wb") as log:
        command = [sys.executable, "-m", module, *arguments]
        process = subprocess.Popen(  # noqa: ASYNC220
            command, cwd=PROJECT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield Server(name, f"http://127.0.0.1:{port}", process, log_file)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    """Return a port below those for outgoing connections."""
    while True:
        port = random.randint(10_000, 32_000)
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@on_sqlite
async def test_a_server_tunes_serves_and_stops_when_the_last_request_has_ended(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT_SECONDS) as client:
        await server.wait_until_ready(client)
        process = (await client.get("/process")).json()
        assert process["threshold"] == THRESHOLD
        assert process["frozen"] > 10_000
        assert (await client.get("/broken")).status_code == 500
        assert (await client.get("/process")).status_code == 200
        slow = asyncio.create_task(client.get("/slow"))
        await until(lambda: "slow has begun" in server.log)
        server.process.send_signal(signal.SIGTERM)
        await until_unready(client)
        answer = await slow
        assert (answer.status_code, answer.json()) == (200, "done")
    assert await server.end() == 0, server.log
    assert server.log.count("Traceback") == 1, server.log
    assert "Unexpected exception" in server.log


@on_sqlite
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_all_processes_lets_running_requests_finish(server: Server, number: signal.Signals) -> None:
    """A terminal sends SIGINT to the parent and its workers, a service manager SIGTERM. The parent signals again."""
    async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT_SECONDS) as client:
        await server.wait_until_ready(client)
        slow = [asyncio.create_task(client.get("/slow")) for _ in range(4)]
        await until(lambda: server.log.count("slow has begun") == len(slow))
        os.killpg(server.process.pid, number)
        assert [(await answer).json() for answer in slow] == ["done"] * 4
    await server.end()
    assert "Traceback" not in server.log


async def until_unready(client: httpx.AsyncClient) -> None:
    """Wait until the server, or the worker that answers, has received the signal."""

    async def is_unready() -> bool:
        return await readiness(client) in (503, None)

    await until(is_unready)


async def readiness(client: httpx.AsyncClient) -> int | None:
    """Return the status of the health check; None if the server accepts no requests any more."""
    try:
        return (await client.get("/health/ready")).status_code
    except httpx.TransportError:
        return None
