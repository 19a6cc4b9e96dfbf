"""What is measured: requests, refusals, statements, transactions, retries, pools and the event loop."""

import asyncio
import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import select

from kit import Database, Service
from kit.http.events import COUNTS
from kit.metrics import measurements
from kit.metrics.measurements import Measurements, admission_of
from kit.operations.idempotency import StoredResponse
from tests.engines import Client
from tests.kit.bookshop import Shelf
from tests.kit.service import FAST_PATH, client_of
from tests.samples import read
from tests.waiting import until

SHELF = {"name": "Maps", "room": "Reading room"}
DURATION = "http_request_duration_seconds_count"
WITH_FAST_PATH = pytest.mark.skipif(not FAST_PATH, reason="only the fast path does this")


async def test_a_request_is_counted_by_its_method_route_and_class_of_status(reader: Client) -> None:
    await reader.post("/shelves/", json=SHELF)
    await reader.get("/shelves/1?fields=id")
    await reader.get("/shelves/777")
    await reader.get("/shelves/778")
    seen = await read(reader)
    assert seen.sum(DURATION, method="POST", route="/shelves/", status="2xx") == 1
    assert seen.sum(DURATION, method="GET", route="/shelves/{shelf_id}", status="4xx") == 2
    assert seen.sum("http_response_bytes_total") > 100


async def test_a_head_is_counted_by_its_own_method(reader: Client) -> None:
    await reader.head("/shelves/")
    assert (await read(reader)).sum(DURATION, method="HEAD", route="/shelves/", status="2xx") == 1


async def test_a_flood_of_unknown_paths_and_methods_adds_two_time_series(reader: Client) -> None:
    before = (await read(reader)).number(DURATION)
    for number in range(50):
        await reader.get(f"/nowhere-{number}")
        await reader.request(f"BREW{number}", "/shelves/")
    seen = await read(reader)
    assert seen.number(DURATION) == before + 1 + 2  # and that of the first /metrics
    assert seen.sum(DURATION, method="GET", route="-", status="4xx") == 50
    assert seen.sum(DURATION, method="other", status="4xx") == 50


async def test_routes_without_end_share_a_time_series(
    measured: Service, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "MAX_ROUTES", 1)
    await reader.get("/shelves/")
    await reader.get("/books/")
    seen = await read(reader)
    assert seen.sum(DURATION, route="/shelves/") == 1
    assert seen.sum(DURATION, route="-") == 1


async def test_a_request_whose_response_has_not_begun_has_no_status(measured: Service, database: Database) -> None:
    measure = Measurements(measured)
    measure.pending.append((0.0, "GET", "/shelves/", 0, 0.1, 0, None, "id", None))
    measure.update()
    assert measure.registry.get_sample_value(DURATION, {"method": "GET", "route": "/shelves/", "status": "none"}) == 1


async def test_statements_are_counted_by_kind_on_either_path(reader: Client) -> None:
    before = await read(reader)
    await reader.post("/shelves/", json=SHELF)
    await reader.get("/shelves/1")
    await reader.get("/shelves/")
    await reader.patch("/shelves/1", json={"room": "Attic"})
    await reader.delete("/shelves/1")
    after = await read(reader)
    kinds = ("insert", "update", "delete", "select")
    added = [int(difference("db_statements_total", before, after, kind=kind)) for kind in kinds]
    assert added[:3] == [1, 2, 1]  # deleting a shelf renews its books
    assert added[3] >= 2
    assert difference("db_statement_seconds_total", before, after) > 0


def difference(name: str, before: object, after: object, **labels: str) -> float:
    return after.sum(name, **labels) - before.sum(name, **labels)  # type: ignore[attr-defined, no-any-return]


@WITH_FAST_PATH
async def test_inserts_that_share_a_transaction_are_seen_by_the_size_of_their_group(reader: Client) -> None:
    before = await read(reader)
    await asyncio.gather(*(reader.post("/shelves/", json={**SHELF, "name": f"{number}"}) for number in range(20)))
    after = await read(reader)
    assert difference("db_group_rows_sum", before, after) == 20
    assert difference("db_group_rows_count", before, after) < 20


@WITH_FAST_PATH
async def test_reads_that_share_a_query_are_seen(reader: Client) -> None:
    await reader.post("/shelves/", json=SHELF)
    before = await read(reader)
    await asyncio.gather(*(reader.get("/shelves/1") for _ in range(20)))
    after = await read(reader)
    assert difference("db_coalesced_total", before, after, what="reads") == 20
    assert difference("db_coalesced_total", before, after, what="queries") < 10
    await reader.get("/shelves/")
    await reader.get("/shelves/")
    assert difference("db_compiled_statements_total", after, await read(reader), result="hit") >= 1


async def test_an_answer_that_is_repeated_for_a_key_is_counted(reader: Client, database: Database) -> None:
    headers = {"Idempotency-Key": "a-key"}
    before = await read(reader)
    for _ in range(3):
        assert (await reader.post("/shelves/", json=SHELF, headers=headers)).status_code == 201
    assert difference("idempotency_replays_total", before, await read(reader)) == 2
    async with database.read() as session:
        assert len((await session.exec(select(Shelf))).all()) == 1
        assert len((await session.exec(select(StoredResponse))).all()) == 1


@pytest.mark.parametrize("reason", ["busy", "share", "streams", "rate", "body", "head", "login", "pool"])
async def test_each_reason_of_a_refusal_has_a_time_series_from_the_start(reader: Client, reason: str) -> None:
    assert reason in (await read(reader)).labels("http_requests_refused_total", "reason")


async def test_a_body_that_is_too_large_is_counted_once(reader: Client) -> None:
    before = await read(reader)
    assert (await reader.post("/shelves/", content=b" " * 2**20 + b"{}  ")).status_code in (413, 415)
    large = {"Content-Type": "application/json"}
    assert (await reader.post("/shelves/", content=b" " * 2**20 + b"{}  ", headers=large)).status_code == 413
    assert 1 <= difference("http_requests_refused_total", before, await read(reader), reason="body") <= 2


async def test_requests_in_flight_and_waiting_are_read_from_the_slots(measured: Service, reader: Client) -> None:
    slots = admission_of(measured).slots
    slots.requests.take("somebody")
    slots.enter_stream("somebody")
    seen = await read(reader)
    assert seen.sum("http_requests_in_flight") == 1
    assert seen.sum("http_streams_open") == 1
    assert seen.sum("http_requests_waiting") == 0
    slots.requests.release("somebody")
    slots.leave_stream("somebody")
    assert (await read(reader)).sum("http_requests_in_flight") == 0


async def test_the_pools_are_read(reader: Client, database: Database) -> None:
    async with database.reader.connect():
        seen = await read(reader)
    assert seen.sum("db_pool_connections", state="in_use") == 1
    assert seen.labels("db_pool_limit", "pool") == ({"writer", "reader"} if database.is_sqlite else {"shared"})
    assert seen.sum("db_pool_waiting") == seen.sum("db_pool_overflow") == 0


async def test_the_lag_of_the_event_loop_is_measured_while_the_service_runs(reader: Client) -> None:
    before = await read(reader)

    async def has_been_measured() -> bool:
        return difference("event_loop_lag_seconds_count", before, await read(reader)) >= 1

    await until(has_been_measured)


@pytest.fixture
def events_of_others() -> Iterator[None]:
    """Count events that no metric shows."""
    COUNTS["other", "label"] += 1
    COUNTS["group", 0] += 1
    yield
    del COUNTS["other", "label"], COUNTS["group", 0]


@pytest.mark.usefixtures("events_of_others")
async def test_events_that_no_metric_shows_are_left_out(measured: Service) -> None:
    measure = Measurements(measured)
    measure.seen = {}
    measure.update()
    assert measure.registry.get_sample_value("db_group_rows_bucket", {"le": "1.0"}) is not None


async def test_the_reads_the_lag_and_the_state_of_standbys_are_shown(reader: Client, standby: str) -> None:
    seen = await read(reader)
    assert seen.sum("db_replica_reads_total", server=standby) == 3
    assert seen.sum("db_replica_lag_seconds", server=standby) == 0.25
    assert seen.sum("db_replica_ok", server=standby) == 1


@WITH_FAST_PATH
async def test_the_fast_path_is_used_while_requests_are_measured(
    reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = importlib.import_module("kit.fast.driver")
    calls, read_on = [], driver.read_on

    def read(*values: Any) -> Any:
        calls.append(values)
        return read_on(*values)

    monkeypatch.setattr(driver, "read_on", read)
    await reader.get("/shelves/1")
    assert len(calls) == 1


async def test_a_service_without_metrics_counts_in_a_dictionary_alone(client: Client) -> None:
    assert (await client.get("/metrics")).status_code == 404
    before = COUNTS["statements", "select"]
    await client.get("/shelves/1")
    assert COUNTS["statements", "select"] > before


async def test_metrics_of_the_application_itself_are_shown(reader: Client) -> None:
    assert (await read(reader)).sum("python_info") == 1
    async with client_of(reader._transport.app) as other:  # type: ignore[attr-defined]
        assert (await read(other)).sum("process_resident_memory_bytes") > 0
