"""Streams: their session is open until they end, and their writes are committed before the client sees the end."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlmodel import col, func, select

from kit import ReadSession, Session
from tests.kit.exchanges import exchange
from tests.kit.habits.items import NO_BOX, HabitItem, HabitItemRead
from tests.kit.probes import until_collected

pytestmark = pytest.mark.exhaustive

COUNT = select(func.count()).select_from(HabitItem)


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


async def test_yield_makes_json_lines(router: APIRouter, serve: Any) -> None:
    @router.get("/numbers")
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    client = await serve(router)
    answer = await client.get("/numbers")
    assert answer.headers["content-type"].startswith("application/jsonl")
    assert lines(answer.text) == [0, 1, 2]


async def test_a_generator_that_is_not_async_makes_json_lines_too(router: APIRouter, serve: Any) -> None:
    @router.post("/numbers")
    def numbers() -> Iterator[dict[str, int]]:
        yield from ({"number": number} for number in range(2))

    client = await serve(router)
    assert lines((await client.post("/numbers")).text) == [{"number": 0}, {"number": 1}]


async def test_yield_makes_server_sent_events(router: APIRouter, serve: Any) -> None:
    @router.get("/events", response_class=EventSourceResponse)
    async def events(session: ReadSession) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(data=(await session.exec(COUNT)).one(), event="count", id="1")

    client = await serve(router)
    answer = await client.get("/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == "event: count\ndata: 0\nid: 1\n\n"


async def test_a_stream_reads_until_its_end(router: APIRouter, serve: Any) -> None:
    @router.post("/items", status_code=201)
    async def create(session: Session) -> None:
        session.add_all([HabitItem(name=name) for name in "abc"])

    @router.get("/items")
    async def read(session: ReadSession) -> AsyncIterator[HabitItemRead]:
        rows = await session.stream_scalars(select(HabitItem).order_by(col(HabitItem.id)))
        async for row in rows:
            yield HabitItemRead.model_validate(row)

    client = await serve(router)
    await client.post("/items")
    assert [line["name"] for line in lines((await client.get("/items")).text)] == ["a", "b", "c"]


async def test_a_returned_stream_reads_until_its_end(router: APIRouter, serve: Any) -> None:
    @router.get("/count")
    async def read(session: ReadSession) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            yield "count: "
            yield str((await session.exec(COUNT)).one())

        return StreamingResponse(body(), media_type="text/plain")

    client = await serve(router)
    assert (await client.get("/count")).text == "count: 0"


def writing(router: APIRouter, **fields: Any) -> None:
    """Add two routes whose responses write while they are sent."""

    @router.post("/yielded")
    async def write(session: Session) -> AsyncIterator[str]:
        yield "first"
        session.add(HabitItem(name="cup", **fields))
        yield "second"

    @router.post("/returned")
    async def returned(session: Session) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            yield "first"
            session.add(HabitItem(name="cup", **fields))
            yield "second"

        return StreamingResponse(body())


@pytest.mark.parametrize("path", ["/yielded", "/returned"])
async def test_writes_of_a_stream_are_committed(router: APIRouter, serve: Any, names: Any, path: str) -> None:
    writing(router)
    client = await serve(router)
    answer = await client.post(path)
    assert "second" in answer.text
    assert await names() == ["cup"]


@pytest.mark.parametrize("path", ["/yielded", "/returned"])
async def test_a_stream_whose_commit_fails_is_aborted(
    router: APIRouter, new_service: Any, names: Any, path: str
) -> None:
    writing(router, box_id=NO_BOX)
    result = await exchange(new_service(router), "POST", path)
    assert b"second" in result.body
    assert not result.is_complete
    assert result.failure is not None
    assert await names() == []


@pytest.mark.parametrize("path", ["/yielded", "/returned"])
async def test_writes_of_a_stream_are_rolled_back_if_the_client_disconnects(
    router: APIRouter, new_service: Any, names: Any, path: str
) -> None:
    writing(router)
    result = await exchange(new_service(router), "POST", path, leave_after=2)
    assert not result.is_complete
    assert await names() == []


async def test_writes_before_a_stream_are_committed_before_it(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/items")
    async def create(session: Session) -> StreamingResponse:
        session.add(HabitItem(name="cup"))

        async def body() -> AsyncIterator[str]:
            yield ",".join(await names())

        return StreamingResponse(body())

    client = await serve(router)
    assert (await client.post("/items")).text == "cup"


async def test_a_failing_stream_is_aborted_and_rolled_back(router: APIRouter, new_service: Any, names: Any) -> None:
    @router.post("/items")
    async def create(session: Session) -> AsyncIterator[int]:
        session.add(HabitItem(name="cup"))
        await session.flush()
        yield 1
        raise ZeroDivisionError

    result = await exchange(new_service(router), "POST", "/items")
    assert not result.is_complete
    assert await names() == []


async def test_many_streams_leave_no_connection_behind(router: APIRouter, new_service: Any, database: Any) -> None:
    @router.get("/items")
    async def read(session: ReadSession) -> AsyncIterator[int]:
        yield (await session.exec(COUNT)).one()
        yield (await session.exec(COUNT)).one()

    service = new_service(router)
    for leave_after in (None, 1, 2):
        await exchange(service, "GET", "/items", leave_after=leave_after)
    await until_collected(lambda: database.reader.pool.checkedout() == 0)


async def test_every_response_class_is_sent_unchanged(router: APIRouter, serve: Any, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("file")
    answers = {
        "text": PlainTextResponse("text", 203, {"X-A": "b"}),
        "html": HTMLResponse("<p>"),
        "redirect": RedirectResponse("/elsewhere", 303),
        "file": FileResponse(file),
    }

    @router.get("/{name}")
    async def read(name: str) -> Any:
        return answers[name]

    client = await serve(router)
    text = await client.get("/text")
    assert (text.status_code, text.text, text.headers["x-a"]) == (203, "text", "b")
    assert (await client.get("/html")).headers["content-type"] == "text/html; charset=utf-8"
    assert (await client.get("/redirect")).headers["location"] == "/elsewhere"
    assert (await client.get("/file")).text == "file"


async def test_a_returned_response_is_sent_after_the_commit(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/items")
    async def create(session: Session) -> PlainTextResponse:
        session.add(HabitItem(name="cup"))
        return PlainTextResponse("done")

    @router.post("/failing")
    async def fail(session: Session) -> PlainTextResponse:
        session.add(HabitItem(name="cup", box_id=NO_BOX))
        return PlainTextResponse("done")

    client = await serve(router)
    assert (await client.post("/items")).text == "done"
    assert (await client.post("/failing")).status_code == 409
    assert await names() == ["cup"]


async def test_writes_of_server_sent_events_are_committed(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/events", response_class=EventSourceResponse)
    async def events(session: Session) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(data=1)
        session.add(HabitItem(name="cup"))
        yield ServerSentEvent(data=2)

    client = await serve(router)
    assert (await client.post("/events")).text == "data: 1\n\ndata: 2\n\n"
    assert await names() == ["cup"]
