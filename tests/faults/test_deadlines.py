"""Work past its deadline, and reads whose client disconnected, are ended; writes whose client disconnected are not."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import make_url

from tests.engines import on_postgresql
from tests.faults.client import Client
from tests.faults.conftest import PROBE, Serve, new_url
from tests.faults.figures import seen
from tests.faults.ledger import everything
from tests.faults.postgres import Postgres
from tests.faults.waiting import until, until_idle, until_used
from tests.live import Server, serving

MAX_DELAY = 4
"""The longest time between a deadline and its response, in seconds; on a quiet machine it is some milliseconds."""
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND state = 'active' AND query LIKE '%pg_sleep%'"


async def disconnect(port: int, method: str, path: str) -> None:
    """Disconnect as soon as the request uses a connection of the database."""
    async with Client(port) as client:
        sending = asyncio.create_task(client.send(method, path))
        await until_used(port, 1)
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending


@pytest.fixture(scope="module")
def impatient_server(
    engine: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Provide a service with a request timeout of 1 s and a statement timeout of 0.9 s."""
    log_file = tmp_path_factory.mktemp("impatient_server") / "service.log"
    with (
        new_url(engine, request) as url,
        serving(url, log_file, app=PROBE, REQUEST_TIMEOUT="1", STATEMENT_TIMEOUT="0.9") as server,
    ):
        yield server


async def test_a_request_past_its_deadline_is_a_504_and_stores_nothing(impatient_server: Server, engine: str) -> None:
    for method in ("GET", "POST"):
        async with Client(impatient_server.port) as client:
            answer = await client.send(method, f"/probes/sleep/1600{'?name=Late' if method == 'POST' else ''}")
        assert (answer.status, answer.headers["content-type"]) == (504, "application/problem+json")
        assert 1 <= answer.seconds < 1 + MAX_DELAY
        idle = await until_idle(impatient_server.port)
        seen(f"deadline of 1 s, {method}, {engine}", f"504 after {answer.seconds:.2f} s, idle after {idle:.2f} s more")
    assert await everything(impatient_server.port, "/teams/") == []
    assert "Unforeseen fault" not in impatient_server.log


async def test_writes_past_their_deadline_hold_no_connection(impatient_server: Server) -> None:
    async def write(number: int) -> int:
        async with Client(impatient_server.port) as client:
            return (await client.send("POST", f"/probes/sleep/1600?name=Late-{number}")).status

    assert {await write for write in asyncio.as_completed([write(number) for number in range(20)])} <= {503, 504}
    await until_idle(impatient_server.port)
    assert await everything(impatient_server.port, "/teams/") == []


@on_postgresql
async def test_a_read_of_a_disconnected_client_is_cancelled_in_the_database(
    serve: Serve, postgres: Postgres, database_url: str
) -> None:
    server, name = serve(), make_url(database_url).database
    sleeping = SLEEPING.format(name)

    async def is_sleeping() -> bool:
        return await asyncio.to_thread(postgres.sql, "postgres", sleeping) == "1"

    async def is_over() -> bool:
        return not await is_sleeping()

    async with Client(server.port) as client:
        sending = asyncio.create_task(client.send("GET", "/probes/sleep/60000"))
        await until(is_sleeping)
        sending.cancel()
    gone = await until(is_over, MAX_DELAY)
    seen("a read whose caller left", f"gone from pg_stat_activity after {gone:.2f} s")


async def test_a_read_of_a_disconnected_client_holds_no_connection(server: Server) -> None:
    await disconnect(server.port, "GET", "/probes/sleep/60000")
    await until_idle(server.port, MAX_DELAY)


async def test_a_write_of_a_disconnected_client_is_executed(server: Server) -> None:
    await disconnect(server.port, "POST", "/probes/sleep/800?name=Kept")
    await until_idle(server.port)
    assert [team["name"] for team in await everything(server.port, "/teams/?name=Kept")] == ["Kept"]

    async def is_logged() -> bool:  # a thread writes the log
        return re.search(r"POST /probes/sleep/\{milliseconds\} 201", server.log) is not None

    await until(is_logged)
