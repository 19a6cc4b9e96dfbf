"""The spans of statements and COMMITs: of a request, of several that share them, and of those that fail."""

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from sqlalchemy import text

from kit import Database
from kit.http import traces
from kit.tracing import current
from tests.engines import on_sqlite
from tests.kit.service import FAST_PATH
from tests.kit.tracing.conftest import Reader

SHELF = {"name": "Maps", "room": "Reading room"}
BEGINS = ("BEGIN", "SET")


def names(statements: list[Any]) -> list[str]:
    return [span.name for span in statements if span.name not in BEGINS]


async def test_a_read_has_the_span_of_its_statement(reader: Reader, database: Database) -> None:
    await reader.client.get("/shelves/77")
    (span,) = await reader.statements()
    (request,) = await reader.requests()
    assert (span.scope, span.name, span.parent, span.trace) == ("kit", "SELECT kit_shelf", request.id, request.trace)
    assert span.attributes["db.system.name"] == database.url.get_backend_name()
    assert span.attributes["db.operation.name"] == "SELECT"
    assert 0 < span.seconds <= request.seconds


async def test_a_write_has_those_of_its_statement_and_its_commit(reader: Reader) -> None:
    assert (await reader.client.post("/shelves/", json=SHELF)).status_code == 201
    assert names(await reader.statements()) == ["INSERT kit_shelf", "COMMIT"]


async def test_a_change_has_those_of_its_statements_and_its_commit(reader: Reader) -> None:
    shelf = (await reader.client.post("/shelves/", json=SHELF)).json()
    await reader.flush()
    reader.collector.received.clear()
    assert (await reader.client.patch(f"/shelves/{shelf['id']}", json={"room": "Cellar"})).status_code == 200
    assert names(await reader.statements()) == ["SELECT kit_shelf", "UPDATE kit_shelf", "COMMIT"]


async def test_no_span_has_the_values_of_a_statement(reader: Reader) -> None:
    await reader.client.post("/shelves/", json={**SHELF, "name": "Sesame"})
    await reader.client.get("/shelves/?name=Sesame")
    statements = await reader.statements()
    assert len(statements) > 2
    assert not any("Sesame" in str(span) for span in statements)


async def test_values_in_the_text_of_a_handler_are_replaced(reader: Reader) -> None:
    @reader.service.get("/own")
    async def own() -> str:
        async with reader.service.runtime.database.read() as session:
            await session.execute(text("SELECT 'Sesame', 12345"))
        return "done"

    reader.service.public |= {"GET /own"}
    assert (await reader.client.get("/own")).status_code == 200
    (span,) = await reader.statements()
    assert span.attributes["db.query.text"] == "SELECT ?, ?"
    assert span.name == "SELECT"


async def test_a_statement_that_fails_is_shown_as_failed(reader: Reader) -> None:
    first = (await reader.client.post("/shelves/", json=SHELF)).json()
    assert (await reader.client.post("/shelves/", json=SHELF)).status_code == 409, first
    failed = [span for span in await reader.statements() if span.failed]
    assert [span.name for span in failed] == ["INSERT kit_shelf"]
    code = failed[0].attributes["db.response.status_code"]
    assert code in ("23505", "SQLITE_CONSTRAINT_UNIQUE")
    assert failed[0].attributes["error.type"] == code


@pytest.mark.usefixtures("deferred_foreign_keys")
async def test_a_commit_that_fails_is_shown_as_failed(reader: Reader) -> None:
    answer = await reader.client.post("/books/", json={"title": "Lost", "author": "A", "shelf_id": 777})
    assert answer.status_code == 409
    failed = [span.name for span in await reader.statements() if span.failed]
    assert failed == ["COMMIT"]


async def test_requests_that_share_a_transaction_have_links_to_its_statements(reader: Reader) -> None:
    shelves = [{**SHELF, "name": f"Shelf {number}"} for number in range(8)]
    answers = await asyncio.gather(*(reader.client.post("/shelves/", json=shelf) for shelf in shelves))
    assert {answer.status_code for answer in answers} == {201}
    statements = [span for span in await reader.statements() if span.name not in BEGINS]
    shared = [span for span in statements if "kit.shared_by" in span.attributes]
    assert bool(shared) is FAST_PATH
    if not shared:
        return
    assert {span.name for span in shared} == {"INSERT kit_shelf", "COMMIT"}
    requests = {span.id: span for span in await reader.requests()}
    for span in shared:
        assert len(span.links) == span.attributes["kit.shared_by"]
        assert span.parent == span.links[0]
        assert all(span.id in requests[sharer].links for sharer in span.links)


async def test_reads_that_share_a_query_have_links(reader: Reader) -> None:
    await asyncio.gather(*(reader.client.get("/shelves/77") for _ in range(6)))
    statements, requests = await reader.statements(), await reader.requests()
    assert len(requests) == 6
    shared = [span for span in statements if "kit.shared_by" in span.attributes]
    assert bool(shared) is FAST_PATH
    links = {span.id: span.links for span in requests}
    assert all(span.id in links[sharer] for span in shared for sharer in span.links)


async def test_requests_that_are_not_recorded_only_count_among_those_that_share(reader: Reader) -> None:
    async def shared() -> None:
        traces.share([None, None])
        traces.TRACERS[0].record("select", "SELECT 1", 0.001, None)

    await asyncio.create_task(shared())
    assert await reader.statements() == []


async def test_a_request_that_has_ended_gets_no_link(reader: Reader) -> None:
    spans: list[Any] = []
    for _ in range(2):
        with trace.get_tracer("own").start_as_current_span("own") as span:
            spans.append(span)

    async def shared() -> None:
        traces.share(spans)
        traces.TRACERS[0].record("select", "SELECT 1", 0.001, None)

    await asyncio.create_task(shared())
    (statement,) = await reader.statements()
    assert len(statement.links) == 2
    assert all(span.links == () for span in spans)


async def test_a_request_with_many_statements_has_some_spans_and_the_number_of_others(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current, "MAX_STATEMENTS", 2)
    shelves = [{**SHELF, "name": f"Shelf {number}"} for number in range(4)]
    answer = await reader.client.post("/shelves/bulk?on_error=skip", json=shelves)
    assert answer.status_code == 207
    assert len(await reader.statements()) == 2
    (request,) = await reader.requests()
    assert request.attributes[current.LEFT_OUT] > 2


@on_sqlite
async def test_statements_outside_of_requests_have_no_span(reader: Reader, database: Database) -> None:
    async with database.read() as session:
        await session.execute(text("SELECT 1"))
    assert await reader.statements() == []


async def test_a_failure_without_a_code_is_named_by_its_type(reader: Reader) -> None:
    @reader.service.get("/own")
    async def own() -> str:
        traces.TRACERS[0].record("other", "VACUUM", 0.01, TimeoutError())
        return "done"

    reader.service.public |= {"GET /own"}
    assert (await reader.client.get("/own")).status_code == 200
    (span,) = await reader.statements()
    assert (span.name, span.attributes["error.type"], span.failed) == ("VACUUM", "TimeoutError", True)
