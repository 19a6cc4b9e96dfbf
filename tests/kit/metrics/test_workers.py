"""Several workers: their metrics are added up, whichever of them answers, and those of dead ones are kept."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.values import MultiProcessValue

from kit.metrics.exposition import Exposition, Workers, exists, is_zombie
from kit.metrics.workers import CLIENT, VARIABLE, is_worker, run_of, share
from tests.engines import on_sqlite
from tests.kit.probes import TIMEOUT_SECONDS, until
from tests.kit.server.test_servers import COMMANDS, PROJECT, Server, free_port
from tests.samples import Samples, read

pytestmark = pytest.mark.no_fast_path

APP = "tests.kit.metrics.served:app"
DURATION = "http_request_duration_seconds_count"
UNUSED_PID = 2**22 - 7
OWN_RUN = f"metrics-of-{os.getppid()}-"


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
        await asyncio.to_thread(process.wait, TIMEOUT_SECONDS)


@pytest.fixture(params=["uvicorn with workers", "gunicorn"])
async def server(
    request: pytest.FixtureRequest, new_database: Any, log_file: Path, tmp_path: Path
) -> AsyncIterator[Server]:
    folder = {"METRICS_DIR": str(tmp_path / "metrics")} if request.param == "gunicorn" else {"TMPDIR": str(tmp_path)}
    async with serving(request.param, log_file, DATABASE_URL=await new_database(), **folder) as server:
        yield server


@pytest.mark.untraced
@on_sqlite
async def test_one_worker_serves_the_port_of_the_metrics_and_another_one_after_it(
    new_database: Any, log_file: Path, tmp_path: Path
) -> None:
    port = free_port()
    settings = {"DATABASE_URL": await new_database(), "METRICS_PORT": f"{port}", "TMPDIR": f"{tmp_path}"}
    async with serving("uvicorn with workers", log_file, **settings) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT_SECONDS) as client:
            await server.wait_until_ready(client)
            assert (await client.get("/metrics")).status_code == 404
        seen = await seen_without_failure(f"http://127.0.0.1:{port}")
        for worker in seen.labels("process_resident_memory_bytes", "pid"):
            with suppress(ProcessLookupError):  # on a busy machine uvicorn replaces a worker that answers too late
                os.kill(int(worker), signal.SIGKILL)
            await seen_without_failure(f"http://127.0.0.1:{port}")


@pytest.mark.untraced
@on_sqlite
async def test_whichever_worker_answers_shows_what_all_have_done(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT_SECONDS) as client:
        await server.wait_until_ready(client)
    visits: Counter[int] = Counter()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while len(visits) < 2 or visits.total() < 40:
            visits[await visit(server.url)] += 1
    seen = await seen_when(server.url, lambda samples: samples.sum(DURATION, route="/pid") == visits.total())
    assert seen.sum(DURATION, route="/pid", status="2xx") == visits.total()
    assert seen.sum("own_visits_total") == visits.total()
    assert seen.labels("process_resident_memory_bytes", "pid") == set(map(str, visits))
    os.kill(next(iter(visits)), signal.SIGKILL)
    seen = await seen_when(server.url, lambda samples: samples.number("process_resident_memory_bytes") == 2)
    assert seen.sum(DURATION, route="/pid") == visits.total()


async def seen_when(url: str, holds: Callable[[Samples], bool]) -> Samples:
    """Return the metrics when a condition holds for them: workers update theirs from time to time."""
    seen: list[Samples] = []

    async def they_hold() -> bool:
        seen.append(await seen_without_failure(url))
        return holds(seen[-1])

    await until(they_hold)
    return seen[-1]


async def visit(url: str) -> int:
    """Return the id of the worker that serves a new connection."""
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
        return int((await client.get(f"{url}/pid")).text)


async def seen_without_failure(url: str) -> Samples:
    """Return the metrics. While a worker is replaced, its connections are reset."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            try:
                async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS) as client:
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


def test_the_folders_of_runs_that_have_ended_are_removed_and_no_others(folder: Path) -> None:
    (folder / f"metrics-of-{UNUSED_PID}-123").mkdir(parents=True)
    (folder / "run-2026-01").mkdir()
    running = folder / run_of(os.getpid())
    running.mkdir()
    share(str(folder))
    assert {path.name for path in folder.iterdir()} == {run_of(os.getppid()), running.name, "run-2026-01"}


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
    monkeypatch.setenv(VARIABLE, str(folder.parent))
    share(str(folder))
    assert os.environ[VARIABLE] == str(folder.parent)
    assert not folder.exists()


def test_what_the_operator_has_set_must_be_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(folder))
    with pytest.raises(SystemExit, match=f"^{VARIABLE}={folder} is not a folder into which this process can write"):
        share("")


def test_it_is_refused_to_share_what_was_imported_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, CLIENT, ModuleType(CLIENT))
    with pytest.raises(RuntimeError, match=f"set the environment variable {VARIABLE} to an empty folder"):
        share(str(folder))


def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(SystemExit, match="belongs to another user: set METRICS_DIR"):
        share(str(folder))


@pytest.mark.parametrize(
    ("name", "reason"), [("file", "is not a folder"), ("file/x", "is not a folder"), ("x" * 300, "cannot")]
)
def test_what_is_no_folder_is_refused_with_a_sentence(folder: Path, name: str, reason: str) -> None:
    folder.mkdir()
    (folder / "file").touch()
    with pytest.raises(SystemExit, match=f"{reason}.*: set METRICS_DIR to another folder"):
        share(str(folder / name))


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


def test_a_process_that_has_ended_does_not_exist_even_before_its_parent_has_noticed() -> None:
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert exists(ended.pid)
    ended.kill()
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert not exists(ended.pid)
    ended.communicate()


def test_a_process_of_another_user_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert exists(1)


def test_without_proc_a_run_is_known_by_its_parent() -> None:
    assert run_of(UNUSED_PID) == f"metrics-of-{UNUSED_PID}-0"


def test_a_process_that_does_not_exist_is_no_zombie() -> None:
    assert not is_zombie(UNUSED_PID)
