"""`make run`: it reloads, starts workers, says which settings were changed, and refuses a port that is taken."""

import asyncio
import re
import runpy
import shutil
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

import serve
from serve import Server, address_refusal, refusal, remarks
from settings import Settings
from tests.application import KEY, settings_for
from tests.engines import on_sqlite
from tests.live import PROJECT, free_port, make_run
from tests.waiting import TIMEOUT_SECONDS, until

SECRETS = {"database_url": "postgresql://ann:hidden@db.example/x?ssl=require", "secret_key": f"hidden{KEY}"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Provide the options with which uvicorn would be started."""
    given: dict[str, Any] = {}
    monkeypatch.setattr("uvicorn.run", lambda app, **options: given.update(options, app=app))
    monkeypatch.chdir(tmp_path)
    for name in (*Settings.model_fields, *Server.model_fields, "web_concurrency"):
        monkeypatch.setenv(name.upper(), "")
        monkeypatch.delenv(name.upper())
    monkeypatch.setenv("PORT", str(free_port()))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/serve.db")
    monkeypatch.setenv("DEMO_DATA", "false")
    return given


def test_in_development_the_server_reloads(run: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main() is None
    assert (run["app"], run["reload"]) == ("main:app", True)
    assert str(PROJECT / "tests") in run["reload_excludes"]
    assert f"The docs will be at http://127.0.0.1:{run['port']}/docs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variables", "workers"),
    [({"RELOAD": "false"}, 1), ({"WORKERS": "4"}, 4), ({"WEB_CONCURRENCY": "3"}, 3)],
)
def test_without_reloading_the_server_has_workers(
    variables: dict[str, str], workers: int, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert serve.main() is None
    assert (run["workers"], "reload" in run) == (workers, False)


RAISING = 'raise TypeError("A route lacks this: write that.")'
LIFESPAN = f"""
from fastapi import FastAPI

async def lifespan(app):
    {RAISING}
    yield

app = FastAPI(lifespan=lifespan)
"""


@pytest.mark.parametrize("program", [RAISING, LIFESPAN], ids=["import", "lifespan"])
def test_workers_of_an_application_that_cannot_start_are_not_started(
    run: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    program: str,
) -> None:
    (tmp_path / "main.py").write_text(program)
    monkeypatch.setattr(serve, "HERE", tmp_path)
    monkeypatch.setenv("WORKERS", "2")
    assert serve.main() == "The application cannot start, for the reason above."
    assert (run, "A route lacks this: write that." in capfd.readouterr().err) == ({}, True)


@pytest.mark.parametrize("reload", ["true", "false"])
def test_the_settings_of_proxies_may_be_in_the_env_file(run: dict[str, Any], tmp_path: Path, reload: str) -> None:
    lines = f"UVICORN_ROOT_PATH=/api\nFORWARDED_ALLOW_IPS=203.0.113.9\nRELOAD={reload}\n"
    (tmp_path / ".env").write_text(lines, encoding="utf-8")
    assert serve.main() is None
    assert (run["root_path"], run["forwarded_allow_ips"]) == ("/api", "203.0.113.9")


def test_a_taken_port_is_refused_before_anything_is_said(
    run: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("PORT", str(port))
        assert serve.main() == f"Port {port} of 127.0.0.1 is taken: stop what uses it, or write PORT={port + 1}."
    assert (run, capsys.readouterr().out) == ({}, "")


def test_a_database_in_memory_is_refused_before_anything_is_said(
    run: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite://")
    with pytest.raises(SystemExit, match="is a database in memory"):
        serve.main()
    assert (run, capsys.readouterr().out) == ({}, "")


def test_a_host_that_is_not_here_is_refused() -> None:
    assert "Nothing can listen at 192.0.2.1, port 8000: " in str(address_refusal("192.0.2.1", 8000))


@pytest.mark.parametrize("host", [".a", "a..b", "é" * 70, "\udcff"])
def test_a_host_that_no_name_can_have_is_refused(host: str) -> None:
    said = (
        f"Nothing can listen at {host}, port 8000: it is not a host name. Write another METRICS_HOST= or METRICS_PORT=."
    )
    assert address_refusal(host, 8000, "METRICS_") == said


def test_instead_of_the_last_port_a_lower_one_is_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(serve, "MAX_PORT", port)
        assert str(address_refusal("127.0.0.1", port)).endswith(f"write PORT={port - 1}.")


def test_what_the_metrics_cannot_use_is_refused_before_the_start(tmp_path: Path) -> None:
    server = Server(port=free_port())
    wrong = settings_for("sqlite://", metrics_host="192.0.2.1", metrics_port=free_port())
    assert str(refusal(server, wrong)).endswith("Write another METRICS_HOST= or METRICS_PORT=.")
    (tmp_path / "file").touch()
    folder = settings_for("sqlite://", metrics_dir=str(tmp_path / "file"), metrics_port=free_port())
    assert re.search("/file .*: write another METRICS_DIR=, or leave it out", str(refusal(server, folder)))
    assert refusal(server, settings_for("sqlite://", metrics_dir=str(tmp_path / "folder"))) is None


def test_a_server_does_not_reload_with_workers_or_in_production() -> None:
    assert "has one worker" in str(refusal(Server(workers=2, reload=True), settings_for("sqlite://")))
    production = settings_for("sqlite://", environment="production", secret_key=KEY)
    assert "in development only" in str(refusal(Server(reload=True), production))


def test_the_metrics_do_not_get_the_port_of_the_service() -> None:
    settings = settings_for("sqlite://", metrics_port=8000)
    assert refusal(Server(port=8000), settings) == "METRICS_PORT=8000 is the port of the service: write another one."


def test_changed_settings_are_said_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAST_PATH", raising=False)
    settings = Settings.model_validate({**SECRETS, "pool_size": 7, "limits_url": "redis://:hidden@cache"})
    said, *_ = remarks(Server(), settings)
    assert said == (
        "Settings that differ from their defaults: DATABASE_URL=postgresql+asyncpg://ann:***@db.example/x, "
        "SECRET_KEY=…, LIMITS_URL=…, POOL_SIZE=7."
    )
    assert "hidden" not in said


def test_workers_that_count_by_themselves_are_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAST_PATH", raising=False)
    settings = Settings.model_validate({})
    assert [line for line in remarks(Server(workers=2), settings) if "LIMITS_URL=redis://…" in line]
    assert remarks(Server(host="::1", port=8001), settings) == ["The docs will be at http://[::1]:8001/docs"]


@pytest.mark.slow
@pytest.mark.untraced
async def test_several_workers_serve_one_database(new_database: Any, log_file: Path) -> None:
    with make_run(PROJECT, await new_database(), log_file, WORKERS="2", SHUTDOWN_DELAY="0") as server:
        statuses = []
        for number in range(6):  # each on a connection of its own
            async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT_SECONDS) as client:
                fields = {
                    "username": f"user{number}",
                    "email": f"user{number}@example.com",
                    "password": "correct horse",
                }
                statuses.append((await client.post("/users/", json=fields)).status_code)
        await until(lambda: server.log.count("Started server process") == 2)
    assert statuses == [201] * 6
    assert "INFO:  " not in server.log  # uvicorn's own format, also of the process that starts the workers


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.skipif(find_spec("watchfiles") is None, reason="watchfiles is not installed: run `make .venv/dev`.")
@on_sqlite
async def test_the_server_restarts_when_a_file_changes(new_database: Any, log_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "service"
    ignored = shutil.ignore_patterns(".venv*", ".git", ".*_cache", "__pycache__", "node_modules", "*.db*")
    await asyncio.to_thread(shutil.copytree, PROJECT, copy, ignore=ignored)
    (copy / ".venv").symlink_to(PROJECT / ".venv")
    with make_run(copy, await new_database(), log_file) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT_SECONDS) as client:
            assert await version_of(client) == "1.0.0"
            main = copy / "main.py"
            main.write_text(main.read_text().replace('version="1.0.0"', 'version="1.0.1"'))

            async def is_new() -> bool:
                return await version_of(client) == "1.0.1"

            await until(is_new, 0.1)


async def version_of(client: httpx.AsyncClient) -> str:
    """Return the version from the OpenAPI document, or an empty text while the server restarts."""
    try:
        return str((await client.get("/openapi.json")).json().get("info", {}).get("version", ""))
    except httpx.TransportError:
        return ""


def test_the_program_ends_with_the_message(run: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELOAD", "true")
    monkeypatch.setenv("WORKERS", "2")
    with pytest.raises(SystemExit, match="has one worker"):
        runpy.run_path(serve.__file__, run_name="__main__")
    assert run == {}
