"""Health: whether the service is ready, and what it lacks."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from kit import Database, LoginLimits
from kit.database import migrations
from kit.database.migrations import State
from kit.server import health
from tests.engines import Client, url_for
from tests.kit.server.test_servers import free_port
from tests.kit.service import client_of, create_runtime, create_service, join
from tests.kit.test_login_limits import redis

NOWHERE = "postgresql://nobody@127.0.0.1:{port}/nothing"


async def ready(database: Database, url: str = "memory://") -> tuple[int, dict[str, Any]]:
    """Request `/health/ready` of a service with this database and Redis. Returns the status and the JSON."""
    limits = LoginLimits(url, per_account=10, per_address=100, window=300)
    async with client_of(create_service(create_runtime(database, limits=limits))) as client:
        answer = await client.get("/health/ready")
    await limits.close()
    return answer.status_code, answer.json()


async def test_what_is_there_is_ok(database: Database) -> None:
    assert await ready(database) == (200, {"status": "ready", "checks": {"database": "ok", "schema": "ok"}})


async def test_a_database_that_cannot_be_reached_is_named(database: Database) -> None:
    status, answer = await ready(Database(url_for(NOWHERE.format(port=free_port()))))
    assert (status, answer["type"]) == (503, "urn:problem:unready")
    assert answer["checks"] == {"database": "unreachable", "schema": "unknown"}


async def test_a_schema_that_lacks_migrations_is_named(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def behind(_: Database) -> State:
        return State(missing=("0007_invoices",))

    monkeypatch.setattr(migrations, "read_state", behind)
    status, answer = await ready(database)
    assert (status, answer["missing"]) == (503, ["0007_invoices"])
    assert answer["checks"] == {"database": "ok", "schema": "incomplete"}


async def test_a_redis_that_answers_is_ok(database: Database, tmp_path: Path) -> None:
    async with redis(tmp_path) as (url, _):
        assert (await ready(database, url))[1]["checks"]["redis"] == "ok"


async def test_without_its_redis_the_service_is_ready_and_says_so(database: Database) -> None:
    status, answer = await ready(database, f"redis://127.0.0.1:{free_port()}")
    assert (status, answer["checks"]["redis"]) == (200, "unreachable")


async def test_a_redis_that_does_not_answer_is_unreachable(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.auth.counters.CHECK_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", port := free_port())):  # it accepts no connection
        status, answer = await ready(database, f"redis://127.0.0.1:{port}")
    assert (status, answer["checks"]["redis"]) == (200, "unreachable")


async def test_what_is_missing_is_named_together(database: Database) -> None:
    nowhere = Database(url_for(NOWHERE.format(port=free_port())))
    _, answer = await ready(nowhere, f"redis://127.0.0.1:{free_port()}")
    assert answer["checks"] == {"database": "unreachable", "schema": "unknown", "redis": "unreachable"}


async def test_the_process_is_alive_in_any_case(client: Client) -> None:
    assert (await client.get("/health/live")).json() == {"status": "alive"}


async def test_probes_share_the_check_of_a_database_that_does_not_answer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, answered = list[int](), asyncio.Event()

    async def read_slowly(_: Database) -> State:
        started.append(1)
        await answered.wait()
        raise ConnectionResetError

    monkeypatch.setattr(migrations, "read_state", read_slowly)
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.05)
    for _ in range(3):
        status, answer = await ready(database)
        assert (status, answer["detail"]) == (503, "The database has not answered within 0.05 s.")
        assert answer["checks"] == {"database": "unreachable", "schema": "unknown"}
    assert len(started) == 1
    answered.set()
    await asyncio.wait([health.checks[database]])
    assert (await ready(database))[1]["detail"] == "The database cannot be reached."
    assert len(started) == 2


async def test_a_check_that_takes_too_long_is_given_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "read_state", lambda _: asyncio.sleep(60))
    monkeypatch.setattr(health, "GIVE_UP_SECONDS", 0.01)
    assert (await ready(database))[1]["detail"] == "The database cannot be reached."


@pytest.mark.parametrize("auth", [True, False])
async def test_with_a_token_health_and_docs_respond_as_without(database: Database, auth: bool) -> None:
    service = create_service(create_runtime(database, auth=auth))
    member = await join(service)
    async with client_of(service, member.token) as client, client_of(service) as anonymous:
        for path in ("/health/ready", "/openapi.json?ids=newest", "/docs"):
            answer = await client.get(path)
            assert (answer.status_code, answer.text) == (200, (await anonymous.get(path)).text), path
