"""`app.dependency_overrides`: every dependency can be replaced in a test, including those of the kit."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, Header, HTTPException
from sqlmodel import select

from kit import Caller, Database, Principal, ReadSession, Session, found, get_caller, get_read_session, get_session
from tests.kit.habits.conftest import MEMBER, OTHER, SUPERUSER_ID, bearer, client_of
from tests.kit.habits.items import HabitItem, HabitItemRead


async def colour() -> str:
    return "red"


async def test_any_dependency_is_overridden(router: APIRouter, new_service: Any) -> None:
    @router.get("/colour")
    async def read(value: Annotated[str, Depends(colour)]) -> str:
        return value

    service = new_service(router)
    service.dependency_overrides[colour] = lambda: "blue"
    async with client_of(service) as client:
        assert (await client.get("/colour")).json() == "blue"
        service.dependency_overrides.clear()
        assert (await client.get("/colour")).json() == "red"


async def test_get_session_is_overridden(router: APIRouter, new_service: Any, database: Database, names: Any) -> None:
    @router.post("/items", response_model=HabitItemRead)
    async def create(session: Session) -> HabitItem:
        item = HabitItem(name="cup")
        session.add(item)
        await session.flush()
        return item

    async def undone() -> AsyncIterator[Any]:
        async with database.write() as session:
            yield session
            await session.rollback()

    service = new_service(router)
    service.dependency_overrides[get_session] = undone
    async with client_of(service) as client:
        assert (await client.post("/items")).json()["id"] == 1
    assert await names() == []


async def test_get_read_session_is_overridden(router: APIRouter, new_service: Any, database: Database) -> None:
    @router.get("/items")
    async def read(session: ReadSession) -> list[str]:
        return list(await session.exec(select(HabitItem.name)))

    async def pending() -> AsyncIterator[Any]:
        async with database.write() as session:
            session.add(HabitItem(name="unsaved"))
            yield session

    service = new_service(router)
    service.dependency_overrides[get_read_session] = pending
    async with client_of(service) as client:
        assert (await client.get("/items")).json() == ["unsaved"]


async def test_get_caller_is_overridden_for_permissions_and_for_the_caller(router: APIRouter, new_service: Any) -> None:
    @router.get("/me")
    async def read(caller: Caller) -> int | None:
        return None if caller is None else caller.id

    service = new_service(router, auth=True)
    async with client_of(service) as client:
        assert (await client.get("/me")).status_code == 401
        service.dependency_overrides[get_caller] = lambda: Principal(SUPERUSER_ID, frozenset({"superuser"}))
        assert (await client.get("/me")).json() == SUPERUSER_ID
        service.dependency_overrides[get_caller] = lambda: None
        assert (await client.get("/me")).status_code == 401


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_get_caller_is_overridden_for_ownership_and_privacy(router: APIRouter, new_service: Any) -> None:
    @router.post("/items", response_model=HabitItemRead)
    async def create(session: Session, caller: Caller) -> HabitItem:
        assert caller is not None
        item = HabitItem(name="cup", owner_id=caller.id)
        session.add(item)
        return item

    @router.patch("/items/{item_id}", response_model=HabitItemRead)
    async def update(item_id: int, session: Session) -> HabitItem:
        item = found(await session.get(HabitItem, item_id))
        item.size = 5
        return item

    service = new_service(router, auth=True)
    async with client_of(service) as client:
        assert "diary" in (await client.post("/items", headers=bearer(MEMBER))).json()
        service.dependency_overrides[get_caller] = lambda: Principal(OTHER)
        assert (await client.patch("/items/1")).status_code == 403
        service.dependency_overrides[get_caller] = lambda: Principal(MEMBER)
        assert (await client.patch("/items/1")).json()["diary"] == "hush"


async def test_an_override_may_take_the_session(router: APIRouter, new_service: Any) -> None:
    @router.get("/colour")
    async def read(value: Annotated[str, Depends(colour)]) -> str:
        return value

    async def stored(session: Session) -> str:
        session.add(HabitItem(name="green"))
        await session.flush()
        return str((await session.exec(select(HabitItem.name))).one())

    service = new_service(router)
    service.dependency_overrides[colour] = stored
    async with client_of(service) as client:
        assert (await client.get("/colour")).json() == "green"


async def caller_of_header(x_user: Annotated[int, Header()]) -> Principal:
    """Return an override with a parameter."""
    if x_user == 0:
        raise HTTPException(401, "Who?")
    return Principal(x_user, frozenset({"superuser"}))


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("auth", [True, False])
async def test_keys_of_different_overriding_callers_are_separate(
    router: APIRouter, new_service: Any, names: Any, auth: bool
) -> None:
    @router.post("/items")
    async def create(session: Session, caller: Caller) -> int:
        session.add(HabitItem(name="cup"))
        return 0 if caller is None else caller.id or 0

    service = new_service(router, auth=auth)
    service.dependency_overrides[get_caller] = caller_of_header
    async with client_of(service) as client:
        for user in (MEMBER, OTHER, MEMBER):
            answer = await client.post("/items", headers={"Idempotency-Key": "k", "X-User": str(user)})
            assert answer.json() == user
        assert answer.headers["Idempotency-Replayed"] == "true"
        assert await names() == ["cup", "cup"]
        assert (await client.post("/items", headers={"Idempotency-Key": "k", "X-User": "0"})).status_code == 401
        assert (await client.post("/items", headers={"Idempotency-Key": "k"})).status_code == 422
