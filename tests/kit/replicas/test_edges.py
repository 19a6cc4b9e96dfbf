"""Edges of reading on standbys: conflicts with the replay, roles with few rights, poolers, WebSockets, lost servers."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from fastapi import APIRouter
from sqlalchemy import text

from kit import ReadSession, Service, allowing
from kit.database.servers import standby_urls
from kit.database.urls import parsed
from kit.replicas import connections, servers
from kit.replicas.connections import with_state
from kit.replicas.contexts import READ_CONTEXT, ReadContext
from kit.replicas.engines import Listeners
from kit.replicas.positions import UNKNOWN_POSITION, Position
from kit.replicas.servers import INDIRECT, OK, OTHER_TIMELINE, UNREACHABLE, Primary, Standby
from tests.engines import Client
from tests.kit.bookshop import Book
from tests.kit.exchanges import websocket_exchange
from tests.kit.probes import new_book, read, until
from tests.kit.replicas.bookshops import PRIMARY, bookshop_on, counted_reads, router_of
from tests.kit.replicas.test_over_http import plain
from tests.kit.replicas.test_own_writes import change_and_read, paused, paused_at_random
from tests.kit.service import client_of
from tests.pgbouncer import MISSING, PROGRAM, PgBouncer
from tests.replication import Cluster

router = APIRouter(route_class=allowing())
SLOW = text("SELECT count(*) FROM kit_book, pg_sleep(2)")
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


@router.get("/slow")
async def slow(session: ReadSession) -> int:
    return int((await session.execute(SLOW)).scalar_one())


async def is_reading(cluster: Cluster) -> bool:
    return any([await standby.ask(SLEEPING) for standby in cluster.standbys])


async def test_a_query_in_the_way_of_the_replay_is_repeated_elsewhere(cluster: Cluster) -> None:
    async with bookshop_on(cluster, router) as service, client_of(service) as client:
        book = await new_book(client)
        await read(client, f"/books/{book['id']}")
        reading = asyncio.create_task(client.get("/slow"))
        await until(lambda: is_reading(cluster))
        await cluster.primary.ask("DELETE FROM kit_book")
        await cluster.primary.ask("VACUUM kit_book")
        assert (await reading).status_code == 200
        assert any(standby.suspended_until for standby in router_of(service).standbys)


async def test_what_is_read_after_the_answer_is_read_from_the_primary(cluster: Cluster) -> None:
    async with bookshop_on(cluster) as service, client_of(service):
        context = ReadContext(None, is_writing=False)
        assert router_of(service).server_for(context) is not router_of(service).primary
        context.has_response_started = True
        assert router_of(service).server_for(context) is router_of(service).primary


async def test_all_reads_of_a_request_go_to_the_same_standby(cluster: Cluster) -> None:
    async with bookshop_on(cluster) as service, client_of(service):
        context, router = ReadContext(None, is_writing=False), router_of(service)
        assert len(router.standbys) > 1
        for standby in router.standbys:
            context.server = standby
            assert router.server_for(context) is standby


async def test_a_primary_that_does_not_answer_is_asked_again(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async def status() -> None:
        raise OSError

    async with bookshop_on(cluster) as service:
        before = router_of(service).primary.position
        monkeypatch.setattr(router_of(service).primary.probe, "status", status)
        await router_of(service).watch_primary()
        assert router_of(service).primary.position >= before


async def test_a_websocket_reads_what_it_has_written(cluster: Cluster) -> None:
    async with bookshop_on(cluster, plain) as service, paused(*cluster.standbys):
        assert await websocket_exchange(service, "/socket") == ["websocket.accept", 0, 1, "websocket.close"]


async def test_a_role_without_plpgsql_costs_a_question_and_sees_its_writes(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "NOTICE", "SELECT denied")
    async with bookshop_on(cluster) as service, paused_at_random(cluster):
        assert await change_and_read(service, 20) == 0


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
async def test_the_primary_may_be_behind_pgbouncer(cluster: Cluster) -> None:
    with PgBouncer(parsed(cluster.primary.url())) as pooler:
        url = pooler.url.set(database="postgres").render_as_string(hide_password=False)
        async with bookshop_on(cluster, primary=url) as service, paused_at_random(cluster):
            assert await change_and_read(service, 20) == 0


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
async def test_a_standby_behind_a_pooler_is_left_out(cluster: Cluster) -> None:
    with PgBouncer(parsed(cluster.standbys[0].url())) as pooler:
        url = f"postgresql://postgres@127.0.0.1:{pooler.port}/postgres"
        async with bookshop_on(cluster, standbys=url) as service, client_of(service) as client:
            await until(lambda: router_of(service).standbys[0].state == INDIRECT)
            with counted_reads() as counted:
                await read(client, "/books/")
            assert (counted(), counted(PRIMARY)) == (0, 1)


async def test_a_connection_to_another_server_than_before_is_refused(
    service: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Standby, "identify", lambda *_: None)  # the next question would set it right
    for standby in router_of(service).standbys:
        standby.identity = "another"
    with counted_reads() as counted:
        await read(client, "/books/")
    assert counted(PRIMARY) == 1


async def test_a_standby_that_is_not_there_is_left_out(cluster: Cluster) -> None:
    url = f"postgresql://postgres@127.0.0.1:1,{cluster.standbys[0].host}/postgres"
    async with bookshop_on(cluster, standbys=url) as service, client_of(service) as client:
        assert router_of(service).standbys[0].state == UNREACHABLE
        with counted_reads() as counted:
            await read(client, "/books/")
        assert counted(cluster.standbys[0].host) == 1


async def test_reads_go_on_while_the_primary_is_down(service: Service, client: Client, cluster: Cluster) -> None:
    book = await new_book(client)
    await read(client, f"/books/{book['id']}")
    cluster.primary.stop("immediate")
    try:
        for _ in range(5):
            assert await read(client, f"/books/{book['id']}") == book
    finally:
        cluster.primary.start()


async def test_a_primary_that_became_a_standby_has_no_position(cluster: Cluster) -> None:
    standby = cluster.standbys[0]
    async with bookshop_on(cluster) as service:
        router = router_of(service)
        router.primary.probe.url = parsed(standby.url())
        router.primary.probe.close()
        before = router.primary.position
        await router.watch_primary()
        await router.primary.probe.query_position()
        assert router.primary.position == before


async def test_an_unknown_position_leads_to_the_primary(service: Service) -> None:
    router, context = router_of(service), ReadContext(None, is_writing=False)
    context.used.add(router.primary)
    assert (await router.position_of(context)).timeline == 1
    router.primary.unknown_at = time.monotonic() + 100
    assert await router.position_of(context) == UNKNOWN_POSITION
    context.has_response_started, token = True, READ_CONTEXT.set(context)
    assert router.choose() is router.primary.engine
    READ_CONTEXT.reset(token)
    router.primary.unknown_at = 0


async def test_another_event_loop_reads_from_the_primary(service: Service) -> None:
    token = READ_CONTEXT.set(ReadContext(None, is_writing=False))
    database = service.runtime.database

    async def choose() -> bool:
        return router_of(service).choose() is database.reader

    assert await asyncio.to_thread(asyncio.run, choose())
    READ_CONTEXT.reset(token)


async def test_concurrent_position_queries_are_sent_once(service: Service) -> None:
    probe = router_of(service).standbys[0].probe
    queries = [probe.query_position() for _ in range(5)]
    assert len(set(queries)) == 2  # the first, and a later one that begins afterwards
    await asyncio.wait(queries)


async def test_a_question_to_a_lost_server_leaves_it_out(service: Service) -> None:
    standby = router_of(service).standbys[0]
    standby.probe.close()
    standby.probe.url = parsed("postgresql://postgres@127.0.0.1:1/postgres")
    await standby.probe.query_position()
    assert standby.state == UNREACHABLE


def test_the_lag_is_the_time_since_the_primary_was_further(monkeypatch: pytest.MonkeyPatch) -> None:
    primary = primary_of("!0/100 00000001")
    primary.sample()
    assert primary.lag_of(0x100) == 0.0
    assert primary.lag_of(0x50) > 0.0
    monkeypatch.setattr(servers, "MAX_SAMPLES", 4)
    for number in range(10):
        primary.parse(f"!0/{0x200 + number:X} 00000001")
        primary.sample()
    assert len(primary.samples) <= 4
    assert primary.samples[-1] == 0x209


def test_a_new_timeline_begins_anew() -> None:
    primary = primary_of("!0/500 00000001")
    primary.parse("!0/300 00000002")
    assert primary.position == Position(2, 0x300)


def test_a_standby_of_another_timeline_is_left_out() -> None:
    primary, standby = primary_of("!0/500 00000002"), standby_of("0/500 0/600")
    assert standby.current_state(primary, 10) == OTHER_TIMELINE
    assert not standby.has(Position(2, 1))
    assert standby.has(Position(1, 0x500))
    assert standby.covered == 0x600


def test_a_standby_that_was_promoted_has_no_comparable_position() -> None:
    standby = standby_of("0/500 ")
    standby.parse("!0/700 00000002")
    assert standby.current_state(primary_of("!0/700 00000002"), 10) == servers.PRIMARY
    assert not standby.has(Position(1, 1))


def primary_of(state: str) -> Primary:
    primary = Primary("primary", parsed("postgresql://h/d"), None)  # type: ignore[arg-type]  # it needs no engine here
    primary.parse(state)
    return primary


def standby_of(state: str) -> Standby:
    standby = Standby("h", parsed("postgresql://h/d"), None)  # type: ignore[arg-type]  # the same
    standby.timeline = 1
    standby.parse(state)
    return standby


@pytest.mark.parametrize("query", ["SELECT DISTINCT a", "SELECT 1 UNION ALL SELECT 2", "INSERT INTO b"])
def test_statements_that_are_not_plain_selects_stay_as_they_are(query: str) -> None:
    assert with_state(query) is None


async def test_a_statement_without_a_position_is_followed_by_a_question(service: Service) -> None:
    primary = router_of(service).primary
    async with service.runtime.database.connect() as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
        primary.known_at = 0.0
        assert [tuple(row) for row in await driver.fetch_values("SELECT 1 UNION ALL SELECT 2")] == [(1,), (2,)]
        assert primary.known_at > 0
        primary.known_at = 0.0
        assert await driver.fetch_values("SELECT 1 WHERE $1::int = 2", 1) == []
        assert primary.known_at > 0
        primary.known_at = 0.0
        assert await driver.fetch_values("SELECT 1, $1::int", 2) == [(1, 2)]
        assert primary.known_at > 0


def test_names_of_standbys_are_hosts_and_ports() -> None:
    assert [url.query["connect_timeout"] for url in standby_urls("postgresql://a,b/d")] == ["1", "1"]
    assert [url.query["connect_timeout"] for url in standby_urls("postgresql://a/d?connect_timeout=5")] == ["5"]


@pytest.mark.parametrize(("is_disconnect", "code"), [(True, None), (False, "40001"), (False, "42601")])
def test_a_standby_is_left_out_after_some_failures(is_disconnect: bool, code: str | None) -> None:
    standby = standby_of("0/500 0/500")
    standby.state = OK
    failure = SimpleNamespace(is_disconnect=is_disconnect, original_exception=SimpleNamespace(sqlstate=code))
    Listeners(standby).failed(failure)
    assert standby.is_usable is (code == "42601")


async def test_a_write_outside_of_requests_is_not_noted(service: Service, client: Client) -> None:
    book = await new_book(client)
    async with service.runtime.database.write() as session:
        assert await session.get(Book, book["id"]) is not None
