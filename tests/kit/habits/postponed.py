"""A module with postponed annotations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends

from kit import ReadSession, Session, found
from tests.kit.habits.items import HabitItem, HabitItemCreate, HabitItemRead

Size = Annotated[int, Body(ge=0)]


async def doubled(size: Size) -> int:
    return 2 * size


def add_routes(router: APIRouter) -> None:
    router.post("/items", response_model=HabitItemRead, status_code=201)(create)
    router.post("/sizes")(double)
    router.get("/items/{item_id}")(read)


async def create(new: HabitItemCreate, session: Session) -> HabitItem:
    item = HabitItem.model_validate(new)
    session.add(item)
    await session.flush()
    return item


async def double(size: Annotated[int, Depends(doubled)]) -> int:
    return size


async def read(item_id: int, session: ReadSession) -> HabitItemRead:
    return HabitItemRead.model_validate(found(await session.get(HabitItem, item_id)))
