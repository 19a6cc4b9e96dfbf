"""Everybody reads their own writes, and never an older state than before, whichever server answers."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from kit import Service
from tests.engines import Client
from tests.kit.probes import new_book, read
from tests.kit.replicas.bookshops import PRIMARY, counted_reads, router_of
from tests.kit.service import client_of
from tests.replication import Cluster, Server
from tests.waiting import until

PAUSE, RESUME = "SELECT pg_wal_replay_pause()", "SELECT pg_wal_replay_resume()"
IS_PAUSED = "SELECT pg_get_wal_replay_pause_state() = 'paused'"


@asynccontextmanager
async def paused(*standbys: Server) -> AsyncIterator[None]:
    for standby in standbys:
        await standby.ask(PAUSE)
        await until(partial(standby.ask, IS_PAUSED))  # `PAUSE` only requests it
    try:
        yield
    finally:
        for standby in standbys:
            await standby.ask(RESUME)


@asynccontextmanager
async def paused_at_random(cluster: Cluster) -> AsyncIterator[None]:
    """Pause one of the standbys after the other, for a random time each."""

    is_over = asyncio.Event()

    async def pause() -> None:
        while not is_over.is_set():
            async with paused(random.choice(cluster.standbys)):
                await asyncio.sleep(random.uniform(0, 0.1))

    task = asyncio.create_task(pause())
    try:
        yield
    finally:
        is_over.set()
        await task


async def change_and_read(service: Service, times: int) -> int:
    """Change a book and read it at once, as one client. Returns the number of stale answers."""
    stale = 0
    async with client_of(service) as client:
        book = await new_book(client)
        path = f"/books/{book['id']}"
        for number in range(times):
            await client.patch(path, json={"title": f"Emma {number}"})
            found = [await read(client, path), (await read(client, "/books/", id=book["id"]))[0]]
            stale += sum(each["title"] != f"Emma {number}" for each in found)
    return stale


@pytest.mark.untraced
async def test_own_writes_are_read_while_standbys_pause(service: Service, cluster: Cluster) -> None:
    async with paused_at_random(cluster):
        stale = await asyncio.gather(*(change_and_read(service, 30) for _ in range(5)))
    assert sum(stale) == 0


@pytest.mark.untraced
async def test_no_reader_goes_back_in_time_while_standbys_pause(service: Service, cluster: Cluster) -> None:
    async with client_of(service) as writer, paused_at_random(cluster):
        book = await new_book(writer, title="0")
        path, is_writing = f"/books/{book['id']}", True

        async def numbers(where: str, **parameters: int) -> list[int]:
            found = []
            async with client_of(service) as reader:
                reader.cookies.update(writer.cookies)
                while is_writing:
                    answer = await read(reader, where, **parameters)
                    found.append(int((answer[0] if isinstance(answer, list) else answer)["title"]))
            return found

        readers = [asyncio.create_task(numbers(path)) for _ in range(3)]
        readers.append(asyncio.create_task(numbers("/books/", id=book["id"])))
        for number in range(1, 60):
            await writer.patch(path, json={"title": str(number)})
        is_writing = False
        for seen in await asyncio.gather(*readers):
            assert len(seen) > 5
            assert seen == sorted(seen)


@pytest.mark.usefixtures("patience")
async def test_most_reads_are_answered_by_standbys(service: Service) -> None:
    with counted_reads() as count:
        assert sum(await asyncio.gather(*(change_and_read(service, 15) for _ in range(4)))) == 0
    assert count() >= 0.8 * 120
    assert count(PRIMARY) <= 0.2 * 120


async def test_the_primary_answers_if_all_standbys_are_behind(
    service: Service, client: Client, cluster: Cluster
) -> None:
    async with paused(*cluster.standbys):
        book = await new_book(client)
        with counted_reads() as count:
            assert await read(client, f"/books/{book['id']}") == book
        assert (count(), count(PRIMARY)) == (0, 1)


@pytest.mark.usefixtures("patience")
async def test_the_standby_that_is_not_behind_answers(service: Service, client: Client, cluster: Cluster) -> None:
    slow, other = cluster.standbys
    async with paused(slow):
        with counted_reads() as count:
            for _ in range(10):
                book = await new_book(client)
                assert await read(client, f"/books/{book['id']}") == book
        assert count(slow.host) == 0
        assert count(other.host) == 10


async def test_without_a_token_any_standby_answers(service: Service, client: Client, cluster: Cluster) -> None:
    async with paused(*cluster.standbys):
        book = await new_book(client)
        client.cookies.clear()
        with counted_reads() as count:
            assert (await client.get(f"/books/{book['id']}")).status_code == 404
        assert (count(), count(PRIMARY)) == (1, 0)


async def test_what_was_seen_on_one_server_is_seen_on_the_next(
    service: Service, client: Client, cluster: Cluster
) -> None:
    """A reader gets a token too: what it has seen on the primary is seen on a standby, or not read there."""
    async with paused(*cluster.standbys), client_of(service) as reader:
        book = await new_book(client)
        found = await reader.get(f"/books/{book['id']}", headers={"Read-After": "forged"})
        assert found.status_code == 200
        assert await read(reader, f"/books/{book['id']}") == book


async def test_a_deletion_that_was_seen_stays_seen(service: Service, client: Client, cluster: Cluster) -> None:
    book = await new_book(client)
    await read(client, f"/books/{book['id']}")
    slow = cluster.standbys[0]
    async with paused(slow), client_of(service) as other:
        await client.delete(f"/books/{book['id']}")
        await asyncio.sleep(0.1)
        router_of(service).standbys[1].response_seconds = 0  # it is chosen first
        assert (await other.get(f"/books/{book['id']}")).status_code == 404
        router_of(service).standbys[1].response_seconds = 1
        assert (await other.get(f"/books/{book['id']}")).status_code == 404
