"""Arguments of handlers: without FastAPI's dependency resolution if all of them come from the kit."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, HTTPException
from sqlmodel import select

from kit import Caller, IfMatch, Page, ReadSession, Service, Session, found, get_caller, page
from tests.kit.habits.conftest import SUPERUSER_ID, bearer
from tests.kit.habits.items import HabitItem, HabitItemQuery, HabitItemRead

ONLY_RESOURCES = pytest.mark.parametrize("way", ["resource"])


async def deny() -> None:
    raise HTTPException(403, "Nobody may do this.")


def add_operations(router: APIRouter) -> None:
    @router.get("/items", response_model=list[HabitItemRead])
    async def list_items(query: Annotated[HabitItemQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, select(HabitItem))

    @router.get("/items/{item_id}", response_model=HabitItemRead)
    async def read_item(
        item_id: int, query: Annotated[HabitItemQuery, Depends(HabitItemQuery.of_one)], session: ReadSession
    ) -> HabitItem:
        return found(await session.get(HabitItem, item_id, options=query.loading))

    @router.patch("/items/{item_id}", response_model=HabitItemRead)
    async def change_item(item_id: int, size: int, session: Session, matching: IfMatch, caller: Caller) -> HabitItem:
        item = matching(found(await session.get(HabitItem, item_id)))
        item.name, item.size = f"of {caller and caller.id}", size
        return item


def served_directly(service: Service) -> list[str]:
    """Return the names of the operations that FastAPI solves no dependencies for."""
    service.check_routes()
    return [entry.handler.__name__ for entry in service.entries if id(entry.route) in service.runtime.direct_handles]


@ONLY_RESOURCES
async def test_what_the_kit_makes_is_not_solved_by_fastapi(router: APIRouter, new_service: Any) -> None:
    add_operations(router)
    assert served_directly(new_service(router)) == ["list_items", "read_item", "change_item"]


@ONLY_RESOURCES
async def test_the_handler_gets_its_arguments(router: APIRouter, serve: Any, database: Any) -> None:
    add_operations(router)
    client = await serve(router)
    async with database.write() as session:
        session.add(HabitItem(name="cup"))
        await session.commit()
    assert [item["name"] for item in (await client.get("/items?fields=name")).json()] == ["cup"]
    assert list((await client.get("/items/1?fields=size")).json()) == ["size"]
    headers = bearer(SUPERUSER_ID) | {"If-Match": '"1"'}
    assert (await client.patch("/items/1?size=7", headers=headers)).json()["name"] == f"of {SUPERUSER_ID}"
    assert (await client.patch("/items/1?size=8", headers=headers)).status_code == 412
    assert (await client.patch("/items/1?size=x")).status_code == 422


@ONLY_RESOURCES
async def test_other_dependencies_are_left_to_fastapi(router: APIRouter, new_service: Any) -> None:
    @router.get("/items", dependencies=[Depends(deny)])
    async def list_items(session: ReadSession) -> list[str]:
        return []

    @router.get("/callers", dependencies=[Depends(get_caller)])
    async def list_callers() -> list[str]:
        return []

    assert served_directly(new_service(router)) == []


async def test_a_dependency_of_the_application_is_solved(router: APIRouter, serve: Any) -> None:
    @router.get("/items")
    async def list_items(session: ReadSession) -> list[str]:
        return []

    client = await serve(router, dependencies=[Depends(deny)])
    assert (await client.get("/items")).status_code == 403


async def test_a_router_that_is_included_twice_has_the_dependencies_of_each_place(
    router: APIRouter, new_router: Any, serve: Any
) -> None:
    @router.get("/items")
    async def list_items(session: ReadSession) -> list[str]:
        return []

    outer = new_router()
    outer.include_router(router, prefix="/open")
    outer.include_router(router, prefix="/closed", dependencies=[Depends(deny)])
    client = await serve(outer)
    assert [(await client.get(path)).status_code for path in ("/open/items", "/closed/items")] == [200, 403]
