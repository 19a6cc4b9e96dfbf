"""Bodies: `model_validate` makes a row of a body as it does without the kit, whatever was done to either before."""

from typing import Any

import pytest
from fastapi import APIRouter
from sqlmodel import Field

from kit import Body, Name, Session
from tests.kit.habits.items import HabitItem, HabitItemCreate


class NamelessCreate(Body):
    """Lacks the name that an item needs."""

    size: int | None = Field(default=None, ge=0, le=100)


async def test_a_body_that_the_handler_has_changed_is_taken_as_it_is_now(
    router: APIRouter, serve: Any, names: Any
) -> None:
    @router.post("/items", status_code=201)
    async def create(new: HabitItemCreate, session: Session) -> None:
        new.name = Name("plate")
        session.add(HabitItem.model_validate(new))

    client = await serve(router)
    assert (await client.post("/items", json={"name": "cup"})).status_code == 201
    assert await names() == ["plate"]


async def test_what_a_body_lacks_may_be_added(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/items", status_code=201)
    async def create(new: NamelessCreate, session: Session) -> None:
        session.add(HabitItem.model_validate(new, update={"name": "cup"}))

    client = await serve(router)
    assert (await client.post("/items", json={"size": 1})).status_code == 201
    assert await names() == ["cup"]


async def test_a_row_that_lacks_a_field_is_refused(
    router: APIRouter, serve: Any, names: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @router.post("/items", status_code=201)
    async def create(new: NamelessCreate, session: Session) -> None:
        session.add(HabitItem.model_validate(new))

    client = await serve(router)
    assert (await client.post("/items", json={"size": 1})).status_code == 500
    assert "Field required" in caplog.text
    assert await names() == []
