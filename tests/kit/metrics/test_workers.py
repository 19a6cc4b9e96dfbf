"""Several workers: their metrics are added up, whichever of them answers, and those of dead ones are kept."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.values import MultiProcessValue

from kit.metrics.exposition import Exposition, Workers, exists
from kit.metrics.workers import CLIENT, VARIABLE, is_worker, run_of, share
from tests.engines import on_sqlite
from tests.kit.metrics.samples import Samples, read
from tests.kit.server.test_servers import COMMANDS, PROJECT, Server, free_port

APP = "tests.kit.metrics.served:app"
DURATION = "http_request_duration_seconds_count"
UNUSED_PID = 2**22 - 7
OWN_RUN = f"run-{os.getppid()}-"


@asynccontextmanager
async def serving(name: str, log_file: Path, **settings: str) -> AsyncIterator[Server]:
    """Serve the application by several workers."""
    port = free_port()
    module, *arguments = [part.format(port=port) for part in COMMANDS[name]]
    arguments[0] = APP
    environment = {"PATH": os.environ["PATH"], **settings}
    with log_file.open("wb") as log:
        command = [sys.executable, "-m", module, *arguments]
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log)  # noqa: ASYNC220
    try:
        yield Server(name, f"http://127.0.0.1:{port}", process, log_file)
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 20)


@pytest.fixture(params=["uvicorn with workers", "gunicorn"])
async def server(
    request: pytest.FixtureRequest, new_database: Any, log_file: Path, tmp_path: Path
) -> AsyncIterator[Server]:
    folder = {"METRICS_DIR": str(tmp_path / "metrics")} if request.param == "gunicorn" else {"TMPDIR": str(tmp_path)}
    async with serving(request.param, log_file, DATABASE_URL=await new_database(), **folder) as server:
        yield server


@on_sqlite
async def test_one_worker_serves_the_port_of_the_metrics_and_another_one_after_it(
    new_database: Any, log_file: Path, tmp_path: Path
) -> None:
    port = free_port()
    settings = {"DATABASE_URL": await new_database(), "METRICS_PORT": f"{port}", "TMPDIR": f"{tmp_path}"}
    async with serving("uvicorn with workers", log_file, **settings) as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            await server.wait_until_ready(client)
            assert (await client.get("/metrics")).status_code == 404
        for _ in range(2):
            seen = await seen_without_failure(f"http://127.0.0.1:{port}")
            for worker in seen.labels("process_resident_memory_bytes", "pid"):
                os.kill(int(worker), signal.SIGKILL)
                await seen_without_failure(f"http://127.0.0.1:{port}")


@on_sqlite
async def test_whichever_worker_answers_shows_what_all_have_done(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        await server.wait_until_ready(client)
    visits: Counter[int] = Counter()
    async with asyncio.timeout(30):
        while len(visits) < 2 or visits.total() < 40:
            visits[await visit(server.url)] += 1
    await asyncio.sleep(0.5)
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        seen = await read(client)
    assert seen.sum(DURATION, route="/pid", status="2xx") == visits.total()
    assert seen.sum("own_visits_total") == visits.total()
    assert seen.labels("process_resident_memory_bytes", "pid") == set(map(str, visits))
    os.kill(next(iter(visits)), signal.SIGKILL)
    async with asyncio.timeout(30):
        while (await seen_without_failure(server.url)).number("process_resident_memory_bytes") != 2:
            pass
    assert (await seen_without_failure(server.url)).sum(DURATION, route="/pid") == visits.total()


async def visit(url: str) -> int:
    """Return the id of the worker that serves a new connection."""
    async with httpx.AsyncClient() as client:
        return int((await client.get(f"{url}/pid")).text)


async def seen_without_failure(url: str) -> Samples:
    """Return the metrics. While a worker is replaced, its connections are reset."""
    while True:
        try:
            async with httpx.AsyncClient(base_url=url, timeout=20) as client:
                return await read(client)
        except httpx.TransportError:
            await asyncio.sleep(0.1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a folder for the metrics of workers, and restore the environment at the end."""
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delitem(sys.modules, CLIENT, raising=False)
    return tmp_path / "metrics"


def test_the_workers_of_a_run_share_a_folder(folder: Path) -> None:
    share(str(folder))
    assert os.environ[VARIABLE].startswith(f"{folder}/{OWN_RUN}")
    assert Path(os.environ[VARIABLE]).is_dir()


def test_the_folders_of_runs_that_have_ended_are_removed(folder: Path) -> None:
    (folder / f"run-{UNUSED_PID}-123").mkdir(parents=True)
    running = folder / run_of(os.getpid())
    running.mkdir()
    share(str(folder))
    assert {path.name for path in folder.iterdir()} == {run_of(os.getppid()), running.name}


def test_a_single_process_shares_nothing(folder: Path) -> None:
    share("")
    assert os.environ[VARIABLE] == ""


def test_workers_are_found_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/27.0")
    assert is_worker()
    folder.mkdir()
    share("")
    assert os.environ[VARIABLE].startswith(str(folder))


def test_a_folder_that_the_operator_has_set_is_used_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/elsewhere")
    share(str(folder))
    assert os.environ[VARIABLE] == "/elsewhere"
    assert not folder.exists()


def test_it_is_refused_to_share_what_was_imported_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, CLIENT, ModuleType(CLIENT))
    with pytest.raises(RuntimeError, match=f"set the environment variable {VARIABLE} to an empty folder"):
        share(str(folder))


def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(RuntimeError, match="belongs to another user: set METRICS_DIR"):
        share(str(folder))


def test_the_gauges_of_dead_workers_are_removed_and_their_counters_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for worker in (os.getpid(), UNUSED_PID):
        value = MultiProcessValue(lambda worker=worker: worker)  # type: ignore[no-untyped-call]
        value("gauge", "busy", "busy", (), (), "", "livesum").set(1)
        value("counter", "done", "done_total", (), (), "").inc(2)
    for _ in range(2):
        _, text = Exposition(CollectorRegistry()).text("")
    samples = Samples(text.decode())
    assert samples.sum("busy") == 1
    assert samples.sum("done_total") == 4
    assert Workers(str(tmp_path)).alive() == [os.getpid()]


def test_a_process_of_another_user_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert exists(1)


def test_without_proc_a_run_is_known_by_its_parent() -> None:
    assert run_of(UNUSED_PID) == f"run-{UNUSED_PID}-0"
