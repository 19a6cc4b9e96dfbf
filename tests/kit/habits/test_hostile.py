"""Hostile input: no request gets a 500, and none is executed twice or in part."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
import sqlalchemy
from fastapi import APIRouter, BackgroundTasks, Cookie, Depends, Form, Header, Query
from fastapi.responses import PlainTextResponse, StreamingResponse
from sqlmodel import col, select

from kit import Batch, Id, IfMatch, Many, OnError, Page, ReadSession, Session, create_many, found, page
from tests.kit.exchanges import exchange
from tests.kit.habits.conftest import MEMBER, OTHER, bearer, client_of
from tests.kit.habits.items import (
    NO_BOX,
    HabitItem,
    HabitItemCreate,
    HabitItemQuery,
    HabitItemRead,
    HabitItemUpdate,
)
from tests.kit.probes import TIMEOUT_SECONDS

KEY = {"Idempotency-Key": "k"}
JSON = {"Content-Type": "application/json"}
VALUES: list[Any] = [None, "", " ", "x" * 10_000, "a\0b", "\ud800", True, 1.5, -1, 10**30, [], {}, [None], {"a": 1}]


@pytest.fixture
def resource(router: APIRouter) -> APIRouter:
    @router.get("/items", response_model=list[HabitItemRead])
    async def read_list(query: Annotated[HabitItemQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, select(HabitItem))

    @router.post("/items", response_model=HabitItemRead, status_code=201)
    async def create(new: HabitItemCreate, session: Session) -> HabitItem:
        item = HabitItem.model_validate(new)
        session.add(item)
        return item

    @router.post("/items/bulk", response_model=list[HabitItemRead], status_code=201)
    async def bulk(new: Batch[HabitItemCreate], session: Session, on_error: OnError = "abort") -> Many:
        return await create_many(session, new, on_error, HabitItem)

    @router.patch("/items/{item_id}", response_model=HabitItemRead)
    async def update(item_id: Id, changes: HabitItemUpdate, session: Session, matching: IfMatch) -> HabitItem:
        item = matching(found(await session.get(HabitItem, item_id)))
        item.sqlmodel_update(changes.model_dump(exclude_unset=True))
        return item

    @router.post("/parameters")
    async def parameters(
        session: Session,
        n: Annotated[int, Query()] = 0,
        text: Annotated[str, Query(max_length=20)] = "a",
        x_number: Annotated[int, Header()] = 0,
        cookie: Annotated[int, Cookie()] = 0,
    ) -> None: ...

    @router.post("/forms")
    async def forms(session: Session, n: Annotated[int, Form()], text: Annotated[str, Form(max_length=20)]) -> None: ...

    return router


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_no_value_of_a_field_gets_a_500(resource: APIRouter, serve: Any) -> None:
    client = await serve(resource)
    await client.post("/items", json={"name": "cup"})
    for field in ("name", "size", "diary", "owner_id", "box_id", "unknown", "id"):
        for value in VALUES:
            body = {"name": "cup", field: value}
            for method, path, sent in (
                ("POST", "/items", body),
                ("PATCH", "/items/1", {field: value}),
                ("POST", "/items/bulk", [body]),
                ("POST", "/items/bulk?on_error=skip", [body]),
            ):
                answer = await client.request(method, path, content=json.dumps(sent), headers=JSON)
                assert answer.status_code in (200, 201, 207, 409, 422), (method, path, field, value, answer.text)
                assert "x" * 100 not in answer.text


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_no_body_gets_a_500(resource: APIRouter, serve: Any) -> None:
    client = await serve(resource)
    bodies = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"1",
        b'"a"',
        b"{",
        b"[" * 100_000,
        b'{"a":1,"a":2}',
        b"\xff",
        b"NaN",
        b"{\0}",
    ]
    for body in bodies:
        for method, path in (("POST", "/items"), ("POST", "/items/bulk"), ("PATCH", "/items/1")):
            answer = await client.request(method, path, content=body, headers=JSON | KEY)
            assert 400 <= answer.status_code < 500, (path, body[:20], answer.text)


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_no_parameter_gets_a_500(resource: APIRouter, serve: Any) -> None:
    client = await serve(resource)
    for name in ("n", "text", "limit", "cursor", "sort", "q", "fields", "name__in", "size__gte", "id"):
        for value in ("", "a", "x" * 5000, "\0", "\udcff".encode("utf-8", "surrogateescape"), "-1", "1e400", "9" * 40):
            for method, path in (("POST", "/parameters"), ("GET", "/items")):
                answer = await client.request(method, path, params={name: value})
                assert answer.status_code in (200, 422), (path, name, value, answer.text)
                answer = await client.request(method, path, params=[(name, value), (name, value)])
                assert answer.status_code in (200, 422), (path, name, value, answer.text)


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_no_header_cookie_or_form_gets_a_500(resource: APIRouter, serve: Any) -> None:
    client = await serve(resource)
    for value in ("", "a", "9" * 40, "\xff", "1, 2"):
        for name in ("X-Number", "Cookie", "If-Match", "If-None-Match", "Idempotency-Key", "Authorization", "Range"):
            headers = {name: value.encode("latin-1")}
            for method, path in (("POST", "/parameters"), ("GET", "/items"), ("PATCH", "/items/1")):
                answer = await client.request(method, path, headers=headers, json={} if method == "PATCH" else None)
                assert answer.status_code < 500, (path, name, value, answer.text)
    for fields in ({}, {"n": "a"}, {"n": "1", "text": "x" * 5000}, {"n": "1", "text": "\0"}, {"n": ["1", "2"]}):
        assert (await client.post("/forms", data=fields)).status_code in (200, 422), fields
    for kind in ("multipart/form-data", "multipart/form-data; boundary=a", "application/x-www-form-urlencoded"):
        answer = await client.post("/forms", content=b"\xff--a\r\n\r\n", headers={"Content-Type": kind} | KEY)
        assert 400 <= answer.status_code < 500, (kind, answer.text)


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_concurrent_writes_with_one_key_are_executed_once(resource: APIRouter, serve: Any, names: Any) -> None:
    client = await serve(resource)
    answers = await asyncio.gather(*(client.post("/items", json={"name": "cup"}, headers=KEY) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert 201 in {answer.status_code for answer in answers}
    assert await names() == ["cup"]


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_concurrent_writes_with_own_commits_are_executed_once(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/items")
    async def create(session: Session) -> str:
        session.add(HabitItem(name="cup"))
        await session.commit()
        await asyncio.sleep(0.05)
        session.add(HabitItem(name="plate"))
        return "done"

    client = await serve(router)
    answers = await asyncio.gather(*(client.post("/items", headers=KEY) for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert await names() == ["cup", "plate"]


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_a_key_belongs_to_one_caller(resource: APIRouter, serve: Any, names: Any) -> None:
    client = await serve(resource, auth=True)
    for caller in (MEMBER, OTHER):
        body = {"name": f"cup {caller}", "owner_id": caller}
        answer = await client.post("/items", json=body, headers=KEY | bearer(caller))
        assert answer.json()["name"] == f"cup {caller}"
    assert await names() == [f"cup {MEMBER}", f"cup {OTHER}"]


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_a_key_without_a_caller_is_refused_with_authentication(
    resource: APIRouter, serve: Any, names: Any
) -> None:
    client = await serve(resource, auth=True, public=("POST /items",))
    answer = await client.post("/items", json={"name": "cup"}, headers=KEY)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "Idempotency-Key"
    assert await names() == []


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_a_failing_commit_releases_the_key(router: APIRouter, serve: Any, names: Any) -> None:
    tasks_run: list[int] = []
    boxes: list[int | None] = [NO_BOX, None]

    @router.post("/items")
    async def create(session: Session, tasks: BackgroundTasks) -> str:
        session.add(HabitItem(name="cup", box_id=boxes.pop(0)))
        tasks.add_task(tasks_run.append, 1)
        return "done"

    client = await serve(router)
    assert (await client.post("/items", headers=KEY)).status_code == 409
    assert tasks_run == []
    assert (await client.post("/items", headers=KEY)).json() == "done"
    assert tasks_run == [1]
    assert await names() == ["cup"]


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_a_stream_refuses_a_key(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/items")
    async def create(session: Session) -> StreamingResponse:
        session.add(HabitItem(name="cup"))
        return StreamingResponse(iter("abc"))

    client = await serve(router)
    assert (await client.post("/items", headers=KEY)).status_code == 422
    assert await names() == []


async def test_a_disconnected_client_leaves_nothing_open(
    router: APIRouter, new_service: Any, database: Any, names: Any
) -> None:
    entered, held = asyncio.Event(), asyncio.Event()

    @router.get("/slow")
    async def slow(session: ReadSession) -> int:
        await session.exec(select(HabitItem))
        entered.set()
        await held.wait()
        return 1

    @router.post("/slow")
    async def write(session: Session) -> int:
        session.add(HabitItem(name="cup"))
        await session.flush()
        entered.set()
        await held.wait()
        return 1

    service = new_service(router)
    for method in ("GET", "POST"):
        entered.clear()
        task = asyncio.create_task(exchange(service, method, "/slow", leave_after=0))
        await asyncio.wait_for(entered.wait(), TIMEOUT_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert database.reader.pool.checkedout() == database.writer.pool.checkedout() == 0
    assert await names() == []
    held.set()
    async with client_of(service) as client:
        assert (await client.post("/slow")).json() == 1


async def test_body_limits_apply(new_router: Any, serve: Any) -> None:
    one: APIRouter = new_router()
    two: APIRouter = new_router(max_body_size=10)
    three: APIRouter = new_router()

    @one.post("/route", max_body_size=10)
    async def route(changes: dict[str, Any]) -> int:
        return 1

    @two.post("/router")
    async def router(changes: dict[str, Any]) -> int:
        return 1

    @three.post("/large", max_body_size=3 * 2**20)
    async def large(changes: dict[str, Any]) -> int:
        return len(changes["a"])

    client = await serve(one, two, three)
    for path in ("/route", "/router"):
        assert (await client.post(path, json={})).json() == 1
        answer = await client.post(path, json={"a": "x" * 100})
        assert answer.status_code == 413, (path, answer.text)
    assert (await client.post("/large", json={"a": "x" * 2**21})).json() == 2**21


@pytest.mark.parametrize("level", ["application", "inclusion"])
async def test_body_limits_apply_wherever_they_are_declared(router: APIRouter, serve: Any, level: str) -> None:
    @router.post("/items")
    async def create(changes: dict[str, Any]) -> int:
        return 1

    outer = APIRouter()
    outer.include_router(router, max_body_size=10 if level == "inclusion" else None)
    client = await serve(outer, max_body_size=10 if level == "application" else None)
    assert (await client.post("/items", json={})).json() == 1
    for content in (b'{"a": 1, "b": 2}', chunks()):  # with a length, and without one
        answer = await client.post("/items", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")
        assert answer.json()["type"] == "urn:problem:body-too-large"
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


async def chunks() -> AsyncIterator[bytes]:
    for chunk in (b'{"a":', b' "xxxxxxxxxx"}'):
        yield chunk


async def test_another_413_in_text_is_sent_as_it_is(router: APIRouter, serve: Any) -> None:
    @router.get("/items")
    async def read() -> PlainTextResponse:
        return PlainTextResponse("Content Too Big !", 413)

    answer = await (await serve(router)).get("/items")
    assert (answer.status_code, answer.text) == (413, "Content Too Big !")


async def test_an_answer_without_content_has_no_type(router: APIRouter, serve: Any) -> None:
    @router.delete("/items", status_code=204)
    async def delete(session: Session) -> None:
        pass

    answer = await (await serve(router)).delete("/items")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers.keys().isdisjoint({"content-type", "content-length"})


@pytest.mark.parametrize("way", ["plain"], indirect=True)
async def test_a_list_query_on_a_plain_route_is_refused(resource: APIRouter, serve: Any) -> None:
    with pytest.raises(ValueError, match=r"takes HabitItemQuery: give its router `route_class=allowing"):
        await serve(resource)


async def execute_on(session: Session, statement: Any, rows: list[Any]) -> None:
    connection = await session.connection()
    await connection.execute(statement, rows)


@pytest.mark.parametrize("value", ["a\0b", "\0", "a\ud800b"])
@pytest.mark.parametrize("statement", ["find", "add", "add_all", "change", "change_all", "change_each", "text"])
async def test_a_text_that_one_database_refuses_is_a_422_on_both(
    router: APIRouter, serve: Any, names: Any, statement: str, value: str
) -> None:
    """Plain types of FastAPI let such texts through to statements."""
    found = select(HabitItem.name).where(HabitItem.name == value)
    insert = sqlalchemy.insert(HabitItem)
    update = sqlalchemy.update(HabitItem).values(name=value)
    each = update.where(col(HabitItem.size) == sqlalchemy.bindparam("s")).values(name=sqlalchemy.bindparam("n"))
    raw = "SELECT name FROM habit_item WHERE size = :size OR name = :name"
    made: dict[str, Any] = {
        "find": lambda session: session.exec(found),
        "add": lambda session: session.run_sync(lambda sync: sync.add(HabitItem(name=value, size=1))),
        "add_all": lambda session: session.execute(insert, [{"name": name, "size": 1} for name in ("a", value)]),
        "change": lambda session: session.exec(update.where(col(HabitItem.size) == 1)),
        "change_all": lambda session: session.exec(update),
        "change_each": lambda session: execute_on(session, each, [{"s": 1, "n": "a"}, {"s": 2, "n": value}]),
        "text": lambda session: session.execute(sqlalchemy.text(raw), {"size": 1, "name": value}),
    }

    @router.post("/texts")
    async def execute(session: Session) -> None:
        await made[statement](session)

    response = await (await serve(router)).post("/texts")
    (error,) = response.json()["errors"]
    pointer = "#" if statement in ("find", "text") else "#/name"
    assert (response.status_code, error["pointer"], error["type"]) == (422, pointer, "constraint")
    assert await names() == []
