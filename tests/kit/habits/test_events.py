"""SQLAlchemy's events and validators fire as documented, on the fast path too."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import APIRouter
from sqlalchemy import event
from sqlalchemy.orm import Session as SyncSession
from sqlmodel import Field, select

from kit import Body, Database, Name, Read, ReadSession, Session, found
from tests.kit.habits.items import HabitBox, HabitBoxCreate, HabitCup, HabitItem, HabitItemCreate, HabitItemRead


class HabitCupCreate(Body):
    name: Name = Field(max_length=20)
    colour: str = "white"


class HabitCupRead(Read):
    name: str
    colour: str


@contextmanager
def listening(target: Any, name: str, log: list[str]) -> Iterator[None]:
    def listen(*_: Any) -> None:
        log.append(name)

    event.listen(target, name, listen)
    try:
        yield
    finally:
        event.remove(target, name, listen)


@pytest.fixture
def resource(router: APIRouter) -> APIRouter:
    @router.post("/items", response_model=HabitItemRead, status_code=201)
    async def create(new: HabitItemCreate, session: Session) -> HabitItem:
        item = HabitItem.model_validate(new)
        session.add(item)
        await session.flush()
        return item

    @router.post("/unflushed")
    async def add(new: HabitItemCreate, session: Session) -> None:
        session.add(HabitItem.model_validate(new))

    @router.get("/items/{item_id}", response_model=HabitItemRead)
    async def read(item_id: int, session: ReadSession) -> HabitItem:
        return found(await session.get(HabitItem, item_id))

    @router.get("/items")
    async def read_many(session: ReadSession) -> list[HabitItemRead]:
        return list(await session.exec(select(HabitItem)))  # type: ignore[arg-type]

    @router.patch("/items/{item_id}", response_model=HabitItemRead)
    async def update(item_id: int, session: Session) -> HabitItem:
        item = found(await session.get(HabitItem, item_id))
        item.name = "changed"
        await session.flush()
        return item

    @router.delete("/items/{item_id}", status_code=204)
    async def delete(item_id: int, session: Session) -> None:
        await session.delete(found(await session.get(HabitItem, item_id)))

    return router


async def use(client: Any) -> None:
    assert (await client.post("/items", json={"name": "cup"})).status_code == 201
    assert (await client.post("/unflushed", json={"name": "plate"})).status_code == 200
    assert (await client.get("/items/1")).json()["name"] == "cup"
    assert len((await client.get("/items")).json()) == 2
    assert (await client.patch("/items/1")).json()["name"] == "changed"
    assert (await client.delete("/items/1")).status_code == 204


@pytest.mark.parametrize("name", ["before_insert", "after_insert", "before_update", "after_update", "before_delete"])
async def test_events_of_a_mapper_fire(resource: APIRouter, serve: Any, name: str) -> None:
    log: list[str] = []
    client = await serve(resource)
    with listening(HabitItem, name, log):
        await use(client)
    assert len(log) == (2 if name.endswith("insert") else 1)


@pytest.mark.parametrize("name", ["before_flush", "after_flush", "before_commit", "after_commit", "after_begin"])
async def test_events_of_a_session_fire(resource: APIRouter, serve: Any, name: str) -> None:
    log: list[str] = []
    client = await serve(resource)
    with listening(SyncSession, name, log):
        await use(client)
    assert len(log) >= 4


async def test_rows_that_are_loaded_fire_load(resource: APIRouter, serve: Any) -> None:
    log: list[str] = []
    client = await serve(resource)
    with listening(HabitItem, "load", log):
        await use(client)
    assert len(log) == 5


@pytest.mark.parametrize("name", ["before_cursor_execute", "begin", "commit", "before_execute"])
async def test_events_of_an_engine_fire(resource: APIRouter, serve: Any, database: Database, name: str) -> None:
    log: list[str] = []
    client = await serve(resource)
    with listening(database.writer.sync_engine, name, log):
        await use(client)
    assert len(log) >= 4


async def test_an_event_may_change_the_stored_row(resource: APIRouter, serve: Any, names: Any) -> None:
    def shout(mapper: Any, connection: Any, item: HabitItem) -> None:
        item.name = item.name.upper()

    client = await serve(resource)
    event.listen(HabitItem, "before_insert", shout)
    try:
        await use_two(client)
    finally:
        event.remove(HabitItem, "before_insert", shout)
    assert await names() == ["CUP", "PLATE"]


async def use_two(client: Any) -> None:
    assert (await client.post("/items", json={"name": "cup"})).json()["name"] == "CUP"
    assert (await client.post("/unflushed", json={"name": "plate"})).status_code == 200


async def test_an_event_may_refuse(resource: APIRouter, serve: Any, names: Any) -> None:
    def refuse(session: Any, *_: Any) -> None:
        if session.new:
            raise ZeroDivisionError

    client = await serve(resource)
    event.listen(SyncSession, "before_flush", refuse)
    try:
        assert (await client.post("/unflushed", json={"name": "cup"})).status_code == 500
    finally:
        event.remove(SyncSession, "before_flush", refuse)
    assert await names() == []


@pytest.mark.parametrize(("target", "name"), [(HabitBox, "init"), (HabitBox.name, "set")])
async def test_rows_made_of_bodies_fire_events(router: APIRouter, serve: Any, target: Any, name: str) -> None:
    @router.post("/boxes", status_code=201)
    async def create(new: HabitBoxCreate, session: Session) -> None:
        session.add(HabitBox.model_validate(new))

    log: list[str] = []
    client = await serve(router)
    with listening(target, name, log):
        assert (await client.post("/boxes", json={"name": "round"})).status_code == 201
    assert log == [name]
    assert (await client.post("/boxes", json={"name": "square"})).status_code == 201
    assert log == [name]


async def test_validators_of_the_table_run(router: APIRouter, serve: Any) -> None:
    @router.post("/cups", response_model=HabitCupRead)
    async def create(new: HabitCupCreate, session: Session) -> HabitCup:
        cup = HabitCup.model_validate(new)
        session.add(cup)
        await session.flush()
        return cup

    client = await serve(router)
    answer = await client.post("/cups", json={"name": " cup ", "colour": "RED"})
    assert answer.json() == {"id": 1, "name": "cup", "colour": "red"}
