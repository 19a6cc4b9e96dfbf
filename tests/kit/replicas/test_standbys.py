"""Standbys that are down, lagging, promoted or busy are not used for reads until they recover."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator

import asyncpg
import pytest

from kit import Service
from kit.database.servers import standby_urls
from kit.replicas.router import Router
from kit.replicas.servers import LAGGING, OK, PRIMARY, UNREACHABLE, Standby
from tests.engines import Client
from tests.kit.probes import new_book, read, until
from tests.kit.replicas.bookshops import bookshop_on, counted_reads, create_library, router_of
from tests.kit.replicas.test_own_writes import paused
from tests.kit.service import client_of
from tests.replication import Cluster, Server, replication

RESUME = "SELECT pg_wal_replay_resume()"


async def until_state(service: Service, number: int, *states: str) -> None:
    await until(lambda: router_of(service).standbys[number].state in states)


async def read_often(client: Client, path: str, times: int = 20) -> None:
    for _ in range(times):
        await read(client, path)


async def test_a_killed_standby_fails_no_read_and_comes_back(
    service: Service, client: Client, cluster: Cluster
) -> None:
    book = await new_book(client)
    path, killed = f"/books/{book['id']}", cluster.standbys[0]
    reading = asyncio.gather(*(read_often(client, path, 60) for _ in range(4)))
    await asyncio.sleep(0.05)
    os.kill(killed.process, signal.SIGQUIT)  # an immediate shutdown
    await reading
    await until_state(service, 0, UNREACHABLE)
    ready = await client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["checks"][f"standby {killed.host}"] == UNREACHABLE
    with counted_reads() as count:
        await read_often(client, path)
    assert count(killed.host) == 0
    killed.start()
    await until_state(service, 0, OK)
    assert (await client.get("/health/ready")).json()["checks"][f"standby {killed.host}"] == OK


@pytest.fixture
async def abandoned_attempts() -> AsyncIterator[None]:
    """Ignore what asyncpg leaves of connections that were not made in time: a future that nobody awaits."""
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda *_: None)
    yield
    await asyncio.sleep(0.1)
    gc.collect()
    loop.set_exception_handler(handler)


@pytest.mark.usefixtures("abandoned_attempts")
async def test_a_frozen_standby_fails_no_read(service: Service, client: Client, cluster: Cluster) -> None:
    book = await new_book(client)
    frozen = [cluster.standbys[0].process, *await backends(cluster.standbys[0].host)]
    await read_often(client, f"/books/{book['id']}")
    for process in frozen:
        os.kill(process, signal.SIGSTOP)
    try:
        async with asyncio.timeout(8):
            await asyncio.gather(*(read_often(client, f"/books/{book['id']}", 5) for _ in range(10)))
    finally:
        for process in frozen:
            os.kill(process, signal.SIGCONT)
    await until_state(service, 0, OK)


async def backends(host: str) -> list[int]:
    """Return the processes of a server that serve connections."""
    connection = await asyncpg.connect(f"postgresql://postgres@{host}/postgres")
    own = connection.get_server_pid()
    rows = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
    await connection.close()
    return [row["pid"] for row in rows if row["pid"] != own]


async def test_a_lagging_standby_is_left_out(cluster: Cluster) -> None:
    async with bookshop_on(cluster, max_lag=0.6) as service, client_of(service) as client:
        slow = cluster.standbys[0]
        async with paused(slow):
            book = await new_book(client)
            await until_state(service, 0, LAGGING)
            assert router_of(service).standbys[0].lag > 0.6
            client.cookies.clear()
            with counted_reads() as count:
                await read_often(client, f"/books/{book['id']}")
            assert count(slow.host) == 0
        await until_state(service, 0, OK)


async def test_with_all_standbys_down_the_primary_answers(service: Service, client: Client, cluster: Cluster) -> None:
    book = await new_book(client)
    for standby in cluster.standbys:
        standby.stop("immediate")
    await read_often(client, f"/books/{book['id']}")
    assert await read(client, "/health/ready")
    for standby in cluster.standbys:
        standby.start()
    await until_state(service, 1, OK)


@pytest.mark.usefixtures("patience")
async def test_a_promoted_standby_is_left_out_and_the_service_finds_it_as_the_primary() -> None:
    with replication() as cluster:
        await create_library(cluster)
        first, second = cluster.standbys
        primary = f"postgresql://postgres@{cluster.primary.host},{first.host}/postgres"
        async with bookshop_on(cluster, primary=primary) as service, client_of(service) as client:
            book = await new_book(client)
            await read_often(client, "/books/")
            router = router_of(service)
            await until(lambda: all(standby.has(router.primary.position) for standby in router.standbys))
            cluster.primary.stop("immediate")
            await until(lambda: has_all_of(first, second))
            first.promote()
            await until_state(service, 0, PRIMARY)
            await read_often(client, "/books/")
            other = await new_book(client)
            assert [each["id"] for each in await read(client, "/books/")] == [book["id"], other["id"]]
            source = f"host=127.0.0.1 port={first.port} user=postgres"
            await second.ask(f"ALTER SYSTEM SET primary_conninfo = '{source}'")
            await second.ask("SELECT pg_reload_conf()")
            await until(lambda: router.primary.timeline == router.standbys[1].timeline == 2)
            await until_state(service, 1, OK)
            with counted_reads() as count:
                third = await new_book(client)
                assert await read(client, f"/books/{third['id']}") == third
            assert count(second.host) == 1


async def has_all_of(first: Server, second: Server) -> bool:
    """Return whether a standby has replayed no more than the one that is promoted."""
    mine, other = [await server.ask("SELECT pg_last_wal_replay_lsn() - '0/0'") for server in (first, second)]
    return bool(mine >= other)  # type: ignore[operator]  # numbers


async def test_a_query_that_is_in_the_way_of_the_replay_is_repeated_elsewhere(service: Service) -> None:
    standby = router_of(service).standbys[0]
    standby.suspend()
    assert not standby.is_usable
    await until(lambda: standby.is_usable)


@pytest.mark.parametrize("state", [OK, LAGGING])
async def test_the_standby_with_less_to_do_is_chosen(service: Service, state: str) -> None:
    router: Router = router_of(service)
    first, second = router.standbys
    first.response_seconds, second.response_seconds = 0.5, 0.001
    assert {choice(router).name for _ in range(5)} == {second.name}
    second.state = state
    assert {choice(router).name for _ in range(5)} == {second.name if state == OK else first.name}


def choice(router: Router) -> Standby:
    return min(router.standbys_with(), key=lambda standby: standby.load)


@pytest.mark.each_engine
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sqlite:///a.db", "must start with postgresql://"),
        ("postgresql://a/d?pgbouncer=true", "not to PgBouncer"),
        ("postgresql://a/d?target_session_attrs=primary", "'target_session_attrs', which must be any, standby"),
        ("postgresql://a,b,a/d", "names a standby twice"),
        ("postgresql://a/d?colour=red", "has the option 'colour'"),
        ("a,b", "is not a database URL"),
    ],
)
def test_a_url_of_standbys_that_cannot_be_used_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        standby_urls(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("postgresql://u:p@a,b:1/d?sslmode=require", ["a:5432", "b:1"]),
        ("postgresql://a/d postgres://b/d", ["a:5432", "b:5432"]),
        ("postgresql://a/d, postgresql://b,c/d", ["a:5432", "b:5432", "c:5432"]),
    ],
)
def test_standbys_are_hosts_of_one_url_or_several_urls(text: str, names: list[str]) -> None:
    urls = standby_urls(text)
    assert [f"{url.host}:{url.port or 5432}" for url in urls] == names
    assert all(url.database == "d" for url in urls)
