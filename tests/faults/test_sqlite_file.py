"""Files of SQLite that are deleted, moved, replaced or damaged under a running service: no write is lost in them."""

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.faults.client import Answer, Client
from tests.faults.conftest import Serve
from tests.faults.figures import seen
from tests.live import Server

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True, scope="session")
HERO = {"name": "Deadpond", "secret_name": "Dive Wilson"}
SOON = 0.6
"""The pause before reads are checked again, in seconds."""


@pytest.fixture
def file(database_url: str) -> Path:
    return Path(make_url(database_url).database or "")


async def send(server: Server, method: str, path: str, body: object = None) -> Answer:
    async with Client(server.port) as client:
        return await client.send(method, path, body)


async def write(server: Server) -> Answer:
    return await send(server, "POST", "/heroes/", HERO)


def is_refused(answer: Answer) -> bool:
    return answer.status == 503 and answer.json()["outcome"] == "not_applied"


def stored_in(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        count: int = connection.execute("SELECT count(*) FROM hero").fetchone()[0]
    return count


def move(file: Path, target: Path) -> None:
    file.rename(target)


def exists(file: Path) -> bool:
    return file.exists()


def delete(file: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        Path(f"{file}{suffix}").unlink()


def replace_by_text(file: Path) -> None:
    text = file.with_suffix(".txt")
    text.write_text("no database " * 1000)
    text.rename(file)


async def write_in_loops(server: Server, statuses: Counter[int], until: asyncio.Event) -> None:
    async with Client(server.port) as client:
        while not until.is_set():
            answer = await client.send("POST", "/heroes/", HERO)
            assert answer.status == 201 or is_refused(answer), answer
            statuses[answer.status] += 1
            await asyncio.sleep(0 if answer.status == 201 else 0.01)


async def test_a_file_that_is_moved_during_writes_loses_no_acknowledged_write(serve: Serve, file: Path) -> None:
    server, statuses, is_over = serve(), Counter[int](), asyncio.Event()
    writing = [asyncio.create_task(write_in_loops(server, statuses, is_over)) for _ in range(8)]
    await asyncio.sleep(0.5)
    move(file, moved := file.with_suffix(".moved"))
    await asyncio.sleep(SOON)
    refused = [await write(server), await send(server, "PATCH", "/heroes/1", {"age": 1})]
    read = await send(server, "GET", "/heroes/")
    ready = await send(server, "GET", "/health/ready")
    assert [answer.status for answer in (*refused, read, ready)] == [503] * 4
    assert all(map(is_refused, refused))
    assert not exists(file)
    move(moved, file)
    await asyncio.sleep(SOON)
    is_over.set()
    await asyncio.gather(*writing)
    assert (await write(server)).status == 201
    assert stored_in(file) == statuses[201] + 1
    assert server.log.count("The database failed") <= 2
    seen("a SQLite file that is moved away and back", f"{statuses[201]} × 201, all stored, {statuses[503]} × 503")


async def test_a_file_that_is_deleted_is_a_503_and_is_not_created_again(serve: Serve, file: Path) -> None:
    server = serve()
    assert (await write(server)).status == 201
    delete(file, "", "-wal", "-shm")
    assert all(is_refused(answer) for answer in [await write(server) for _ in range(30)])
    await asyncio.sleep(SOON)
    assert (await send(server, "GET", "/heroes/")).status == 503
    assert not exists(file)


async def test_a_backup_that_replaces_the_file_is_used(serve: Serve, file: Path) -> None:
    server = serve()
    assert (await write(server)).status == 201
    backup = file.with_suffix(".backup")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    assert (await write(server)).status == 201
    move(backup, file)
    await write(server)
    await asyncio.sleep(SOON)
    assert [(await write(server)).status for _ in range(3)][-1] == 201
    heroes = await send(server, "GET", "/heroes/")
    assert heroes.status == 200
    assert len(heroes.json()) == stored_in(file)


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_deleted_log_loses_no_acknowledged_write(serve: Serve, file: Path, suffix: str) -> None:
    server, statuses, is_over = serve(), Counter[int](), asyncio.Event()
    writing = [asyncio.create_task(write_in_loops(server, statuses, is_over)) for _ in range(4)]
    await asyncio.sleep(0.5)
    delete(file, suffix)
    await asyncio.sleep(1)
    is_over.set()
    await asyncio.gather(*writing)
    assert (await write(server)).status == 201
    assert stored_in(file) == statuses[201] + 1
    server.stop()
    assert stored_in(file) == statuses[201] + 1
    seen(f"{suffix} of a SQLite file deleted", f"{statuses[201]} × 201, all stored, {statuses[503]} × 503")


async def test_a_file_that_is_no_database_is_a_503_with_one_log_line(serve: Serve, file: Path) -> None:
    server = serve()
    assert (await write(server)).status == 201
    delete(file, "-wal", "-shm")
    replace_by_text(file)
    answers = [await write(server) for _ in range(30)]
    assert all(map(is_refused, answers))
    await asyncio.sleep(SOON)
    assert [(await send(server, "GET", "/heroes/")).status for _ in range(10)] == [503] * 10
    assert server.log.count("The database failed") <= 3
