"""A start while the database is down: the service prepares the database as soon as it is there."""

import asyncio

from tests.engines import on_postgresql
from tests.faults.client import Answer, Client
from tests.faults.conftest import Serve
from tests.faults.figures import seen
from tests.faults.postgres import Postgres
from tests.faults.waiting import until


async def read(port: int, path: str) -> Answer:
    async with Client(port) as client:
        return await client.send("GET", path)


@on_postgresql
async def test_a_start_while_postgresql_is_down_migrates_later(serve: Serve, postgres: Postgres) -> None:
    await asyncio.to_thread(postgres.control, "-m", "fast", "stop")
    try:
        server = await asyncio.to_thread(serve, DEMO_DATA="true")
        down = [await read(server.port, path) for path in ("/health/ready", "/health/live")]
        assert [answer.status for answer in down] == [503, 200]
    finally:
        await asyncio.to_thread(postgres.start)

    async def has_demo_data() -> bool:
        answer = await read(server.port, "/heroes/")
        assert answer.status in (200, 503), answer
        return answer.status == 200 and bool(answer.json())

    seconds = await until(has_demo_data)
    assert (await read(server.port, "/health/ready")).status == 200
    assert server.log.count("cannot be prepared") == 1
    seen("a start while PostgreSQL is down", f"migrated and filled {seconds:.1f} s after the start of PostgreSQL")
