"""Bodies: `model_validate` makes the same row of a body as without the kit, also of a changed body."""

from typing import Any

import pytest
from fastapi import APIRouter
from pydantic import ValidationError
from sqlmodel import Field, select

from kit import Body, Database, Name, Session
from tests.kit.habits.items import (
    HabitBox,
    HabitBoxCreate,
    HabitCrate,
    HabitCrateCreate,
    HabitCrateRead,
    HabitItemCreate,
)


class NamelessCreate(Body):
    """A body without the name that a box needs."""


class SilentCreate(Body):
    """A body whose name may be absent, but not null."""

    name: Name = Field(default=None, max_length=20)


async def boxes(database: Database) -> list[str]:
    """Return the names of the stored boxes."""
    async with database.read() as session:
        return list(await session.exec(select(HabitBox.name)))


async def test_a_body_becomes_a_row(router: APIRouter, serve: Any, database: Database) -> None:
    @router.post("/boxes", status_code=201)
    async def create(new: HabitBoxCreate, session: Session) -> list[str]:
        box = HabitBox.model_validate(new)
        session.add(box)
        return sorted(box.model_fields_set)

    client = await serve(router)
    assert (await client.post("/boxes", json={"name": "round"})).json() == ["name"]
    assert await boxes(database) == ["round"]


async def test_a_body_changed_by_the_handler_becomes_a_row_with_the_changes(
    router: APIRouter, serve: Any, database: Database
) -> None:
    @router.post("/boxes", status_code=201)
    async def create(new: HabitBoxCreate, session: Session) -> None:
        new.name = Name("square")
        session.add(HabitBox.model_validate(new))

    client = await serve(router)
    assert (await client.post("/boxes", json={"name": "round"})).status_code == 201
    assert await boxes(database) == ["square"]


async def test_missing_fields_of_a_body_can_be_added(router: APIRouter, serve: Any, database: Database) -> None:
    @router.post("/boxes", status_code=201)
    async def create(new: NamelessCreate, session: Session) -> None:
        session.add(HabitBox.model_validate(new, update={"name": "round"}))

    client = await serve(router)
    assert (await client.post("/boxes", json={})).status_code == 201
    assert await boxes(database) == ["round"]


@pytest.mark.parametrize("body", [NamelessCreate, SilentCreate])
async def test_a_row_that_lacks_a_field_is_refused(
    router: APIRouter, serve: Any, database: Database, caplog: pytest.LogCaptureFixture, body: Any
) -> None:
    @router.post("/boxes", status_code=201)
    async def create(new: body, session: Session) -> None:
        session.add(HabitBox.model_validate(new))

    client = await serve(router)
    assert (await client.post("/boxes", json={})).status_code == 500
    assert "validation error" in caplog.text
    assert await boxes(database) == []


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_rows_of_one_body_share_no_values(router: APIRouter, serve: Any) -> None:
    @router.post("/crates", response_model=list[HabitCrateRead])
    async def create(new: HabitCrateCreate, session: Session) -> list[HabitCrate]:
        crates = [HabitCrate.model_validate(new), HabitCrate.model_validate(new)]
        crates[0].tags.append("first")
        new.tags.append("body")
        session.add_all(crates)
        return crates

    client = await serve(router)
    crates = (await client.post("/crates", json={"name": "crate", "tags": ["sent"]})).json()
    assert [crate["tags"] for crate in crates] == [["sent", "first"], ["sent"]]


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_each_row_has_a_copy_of_a_mutable_default(router: APIRouter, serve: Any) -> None:
    @router.post("/crates", response_model=HabitCrateRead)
    async def create(news: list[HabitItemCreate], session: Session) -> HabitCrate:
        crates = [HabitCrate.model_validate(new) for new in news]
        crates[0].settings["log"].append("changed")
        session.add_all(crates)
        return crates[-1]

    client = await serve(router)
    for _ in range(2):
        assert (await client.post("/crates", json=[{"name": "a"}, {"name": "b"}])).json()["settings"] == {"log": []}


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("change", [{"tags": "abc"}, {"weight": True}])
async def test_a_change_that_compares_equal_is_validated(router: APIRouter, serve: Any, change: dict[str, Any]) -> None:
    @router.post("/crates")
    async def create(new: HabitCrateCreate) -> int:
        new.tags += change.get("tags", "")
        new.weight = change.get("weight", new.weight)
        with pytest.raises(ValidationError):
            HabitCrate.model_validate(new)
        return 1

    client = await serve(router)
    assert (await client.post("/crates", json={"name": "a", "tags": ["sent"]})).json() == 1
