"""The origin of failures: exceptions of the database are a 503; the same exceptions of a handler are a 500."""

import socket
import sqlite3
from importlib import import_module
from typing import Any

import asyncpg
import pytest
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from sqlalchemy import text
from sqlmodel import select

from kit import Database, ReadSession, Service, Session
from kit.operations import unit_of_work
from tests.engines import url_for
from tests.kit.habits.conftest import client_of, runtime_on
from tests.kit.habits.items import HabitItem

pytestmark = pytest.mark.exhaustive

OF_A_HANDLER: dict[str, Exception] = {
    "file": FileNotFoundError(2, "No such file", "prices.csv"),
    "permission": PermissionError(13, "Permission denied"),
    "host": socket.gaierror(-2, "Name or service not known"),
    "refused": ConnectionRefusedError(111, "Connection refused"),
    "reset": ConnectionResetError(104, "Connection reset"),
    "timeout": TimeoutError(),
    "any": OSError("away"),
    "number": OverflowError("math range error"),
    "another file": sqlite3.OperationalError("database is locked"),
    "a row of another file": sqlite3.IntegrityError("UNIQUE constraint failed: price.id"),
    "another server": asyncpg.UniqueViolationError("duplicate key"),
    "no other server": asyncpg.CannotConnectNowError("the database system is starting up"),
}
failing = pytest.mark.parametrize("failure", OF_A_HANDLER.values(), ids=OF_A_HANDLER)
KEY = {"Idempotency-Key": "k"}


@pytest.fixture
def calls(router: APIRouter) -> list[Exception]:
    """Provide the exceptions that two handlers raise; each call adds one."""
    raised: list[Exception] = []

    @router.get("/a")
    async def read(session: ReadSession) -> None:
        await session.exec(select(1))
        raised.append(raised[0])
        raise raised[0]

    @router.post("/a")
    async def write(session: Session) -> None:
        session.add(HabitItem(name="undone"))
        await session.flush()
        raised.append(raised[0])
        raise raised[0]

    return raised


@failing
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("headers", [{}, KEY])
async def test_an_exception_of_a_handler_is_a_500_without_a_retry(
    router: APIRouter, calls: list[Exception], serve: Any, names: Any, failure: Exception, method: str, headers: Any
) -> None:
    calls.append(failure)
    client = await serve(router)
    answer = await client.request(method, "/a", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:problem:internal")
    assert len(calls) == 2
    assert await names() == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_exception_handler_of_the_user_is_called_for_such_an_exception(
    router: APIRouter, calls: list[Exception], new_service: Any, method: str
) -> None:
    async def answer(_: Any, failure: OSError) -> PlainTextResponse:
        return PlainTextResponse(f"the shop: {failure.strerror}", 502)

    calls.append(OF_A_HANDLER["refused"])
    service = new_service(router)
    service.add_exception_handler(OSError, answer)
    async with client_of(service) as client:
        answered = await client.request(method, "/a")
    assert (answered.status_code, answered.text) == (502, "the shop: Connection refused")


@pytest.fixture
def lost(habits_url: str, way: str, router: APIRouter, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Provide a service without its database, with short retries."""
    monkeypatch.setattr(unit_of_work, "READ_SECONDS", 0.1)
    monkeypatch.setattr(unit_of_work, "WRITE_SECONDS", 0.1)
    url = url_for(habits_url)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
    is_sqlite = url.get_backend_name() == "sqlite"
    database = Database(url.set(database="/nowhere/file") if is_sqlite else url.set(host="127.0.0.1", port=port))
    service = Service(runtime_on(database), routers=[router], public=())
    if way == "fast":
        import_module("kit.fast").install(service)
    return service


async def test_without_its_database_every_operation_is_a_503(router: APIRouter, lost: Service) -> None:
    @router.get("/one")
    async def get(session: ReadSession) -> None:
        await session.get(HabitItem, 1)

    @router.get("/many")
    async def read(session: ReadSession) -> None:
        await session.exec(select(HabitItem))

    @router.get("/text")
    async def execute(session: ReadSession) -> None:
        await session.execute(text("SELECT 1"))

    @router.post("/one")
    async def write(session: Session) -> None:
        session.add(HabitItem(name="cup"))

    @router.post("/many")
    async def change(session: Session) -> None:
        await session.get(HabitItem, 1)

    async with client_of(lost) as client:
        for method, path in (("GET", "/one"), ("GET", "/many"), ("GET", "/text"), ("POST", "/one"), ("POST", "/many")):
            answer = await client.request(method, path)
            assert (method, path, answer.status_code) == (method, path, 503)
            assert answer.json()["outcome"] == "not_applied"
            assert answer.headers["Retry-After"]


async def test_a_number_that_the_database_cannot_store_is_a_422(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(session: Session) -> None:
        session.add(HabitItem(name="cup", owner_id=2**70))

    @router.get("/a")
    async def read(session: ReadSession) -> None:
        await session.get(HabitItem, 2**70)

    client = await serve(router)
    for method in ("GET", "POST"):
        assert (await client.request(method, "/a")).status_code == 422
