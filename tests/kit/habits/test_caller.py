"""`Caller`: the user of a request, on resource routes and on plain ones, with and without authentication."""

from typing import Any

import pytest
from fastapi import APIRouter, Depends, WebSocket
from sqlmodel import select

from kit import Caller, ReadSession, Session
from tests.kit.exchanges import websocket_exchange
from tests.kit.habits.conftest import MEMBER, SUPERUSER_ID, bearer
from tests.kit.habits.items import HabitItem


def describe(caller: Caller) -> list[Any] | None:
    return None if caller is None else [caller.id, sorted(caller.roles)]


@pytest.fixture
def who(router: APIRouter) -> APIRouter:
    router.get("/who", response_model=None)(describe)
    router.post("/who", response_model=None)(describe)
    return router


async def test_without_a_token_the_caller_is_none(who: APIRouter, serve: Any) -> None:
    client = await serve(who)
    assert (await client.get("/who")).json() is None
    assert (await client.post("/who")).json() is None


async def test_the_caller_is_known_while_no_token_is_required(who: APIRouter, serve: Any) -> None:
    client = await serve(who)
    assert (await client.get("/who", headers=bearer(MEMBER))).json() == [MEMBER, []]
    for method in ("GET", "POST"):  # a token of another service
        assert (await client.request(method, "/who", headers={"Authorization": "Bearer wrong"})).json() is None


async def test_the_caller_is_known_where_a_token_is_required(who: APIRouter, serve: Any) -> None:
    client = await serve(who, auth=True)
    assert (await client.get("/who", headers=bearer(SUPERUSER_ID))).json() == [SUPERUSER_ID, ["superuser"]]
    assert (await client.get("/who")).status_code == 401
    assert (await client.get("/who", headers={"Authorization": "Bearer wrong"})).status_code == 401


async def test_the_caller_of_a_public_route_may_be_none(who: APIRouter, serve: Any) -> None:
    client = await serve(who, auth=True, public=("GET /who",))
    assert (await client.get("/who")).json() is None
    assert (await client.get("/who", headers={"Authorization": "Bearer wrong"})).json() is None
    assert (await client.get("/who", headers=bearer(MEMBER))).json() == [MEMBER, []]


async def test_members_may_use_their_routes_and_plain_routes_are_for_superusers(
    who: APIRouter, serve: Any, way: str
) -> None:
    client = await serve(who, auth=True)
    assert (await client.get("/who", headers=bearer(MEMBER))).status_code == (403 if way == "plain" else 200)


async def test_a_dependency_takes_the_caller(router: APIRouter, serve: Any) -> None:
    async def is_superuser(caller: Caller) -> bool:
        return caller is not None and caller.id == SUPERUSER_ID

    @router.get("/a")
    async def read(superuser: bool = Depends(is_superuser)) -> bool:
        return superuser

    client = await serve(router)
    assert (await client.get("/a")).json() is False
    assert (await client.get("/a", headers=bearer(SUPERUSER_ID))).json() is True


def websockets(router: APIRouter) -> None:
    @router.websocket("/read")
    async def read(websocket: WebSocket, session: ReadSession, caller: Caller) -> None:
        await websocket.accept()
        await websocket.send_json([caller and caller.id, list(await session.exec(select(HabitItem.name)))])
        await websocket.close()

    @router.websocket("/write/{name}")
    async def write(websocket: WebSocket, name: str, session: Session) -> None:
        await websocket.accept()
        session.add(HabitItem(name=name))
        await session.flush()
        await websocket.send_json((await session.exec(select(HabitItem.name))).one())
        await websocket.close()


async def test_websockets_read_and_write(router: APIRouter, new_service: Any) -> None:
    websockets(router)
    service = new_service(router)
    assert await websocket_exchange(service, "/write/cup") == ["websocket.accept", "cup", "websocket.close"]
    assert (await websocket_exchange(service, "/read", bearer(MEMBER)))[1] == [MEMBER, ["cup"]]


async def test_a_websocket_is_refused_without_permission(router: APIRouter, new_service: Any) -> None:
    websockets(router)
    service = new_service(router, auth=True)
    for headers in ({}, bearer(MEMBER)):
        assert (await websocket_exchange(service, "/read", headers))[0] == "websocket.close"
    assert (await websocket_exchange(service, "/read", bearer(SUPERUSER_ID)))[1] == [SUPERUSER_ID, []]


async def test_writes_of_a_failing_websocket_are_rolled_back(router: APIRouter, new_service: Any, names: Any) -> None:
    @router.websocket("/fail")
    async def fail(websocket: WebSocket, session: Session) -> None:
        await websocket.accept()
        session.add(HabitItem(name="cup"))
        await session.flush()
        raise ZeroDivisionError

    assert (await websocket_exchange(new_service(router), "/fail"))[0] == "websocket.accept"
    assert await names() == []
