"""The parameter `response: Response` sets headers, cookies and the status, in handlers and in dependencies."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, Response
from sqlmodel import select

from kit import Page, ReadSession, Session, found, page
from tests.kit.habits.items import HabitItem, HabitItemQuery, HabitItemRead


async def mark(response: Response) -> None:
    response.headers["X-Dependency"] = "yes"
    response.set_cookie("seen", "1")


@pytest.fixture
def resource(router: APIRouter) -> APIRouter:
    @router.post("/items", response_model=HabitItemRead, status_code=201)
    async def create(session: Session, response: Response) -> HabitItem:
        response.headers["X-Handler"] = "yes"
        item = HabitItem(name="cup")
        session.add(item)
        return item

    @router.get("/items", response_model=list[HabitItemRead], dependencies=[Depends(mark)])
    async def read_list(query: Annotated[HabitItemQuery, Depends()], session: ReadSession, response: Response) -> Page:
        response.headers["X-Handler"] = "yes"
        return await page(session, query, select(HabitItem))

    @router.get("/items/{item_id}", response_model=HabitItemRead, dependencies=[Depends(mark)])
    async def read_one(
        item_id: int,
        query: Annotated[HabitItemQuery, Depends(HabitItemQuery.of_one)],
        session: ReadSession,
        response: Response,
    ) -> HabitItem:
        response.headers["X-Handler"] = "yes"
        return found(await session.get(HabitItem, item_id))

    return router


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("path", ["/items", "/items?fields=id", "/items/1", "/items/1?fields=id"])
async def test_headers_and_cookies_are_sent_with_rows_and_with_lists(resource: Any, serve: Any, path: str) -> None:
    client = await serve(resource)
    assert (await client.post("/items")).headers["x-handler"] == "yes"
    answer = await client.get(path)
    assert answer.status_code == 200
    assert (answer.headers["x-handler"], answer.headers["x-dependency"]) == ("yes", "yes")
    assert answer.cookies["seen"] == "1"
    unchanged = await client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert unchanged.status_code == 304
    assert unchanged.content == b""
    assert (unchanged.headers["x-handler"], unchanged.headers["x-dependency"]) == ("yes", "yes")
    assert "seen=1" in unchanged.headers["set-cookie"]


async def test_the_status_of_the_parameter_is_the_status_of_the_answer(router: APIRouter, serve: Any) -> None:
    @router.get("/items")
    async def read(response: Response) -> dict[str, int]:
        response.status_code = 206
        return {"a": 1}

    @router.post("/items", status_code=201, response_model=HabitItemRead)
    async def create(session: Session, response: Response) -> HabitItem:
        response.status_code = 202
        item = HabitItem(name="cup")
        session.add(item)
        await session.flush()
        return item

    client = await serve(router)
    assert (await client.get("/items")).status_code == 206
    assert (await client.post("/items")).status_code == 202


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_headers_of_the_handler_replace_those_of_the_kit(router: APIRouter, serve: Any) -> None:
    @router.post("/items", status_code=201, response_model=HabitItemRead)
    async def create(session: Session, response: Response) -> HabitItem:
        response.headers["Location"] = "/elsewhere"
        response.headers["ETag"] = '"mine"'
        item = HabitItem(name="cup")
        session.add(item)
        return item

    client = await serve(router)
    answer = await client.post("/items")
    assert answer.headers.get_list("location") == ["/elsewhere"]
    assert answer.headers.get_list("etag") == ['"mine"']


async def test_a_handler_without_a_result_may_set_everything(router: APIRouter, serve: Any) -> None:
    @router.delete("/items", status_code=204)
    async def delete(response: Response) -> None:
        response.headers["X-A"] = "b"
        response.delete_cookie("seen")

    client = await serve(router)
    answer = await client.delete("/items")
    assert (answer.status_code, answer.content, answer.headers["x-a"]) == (204, b"", "b")
    assert answer.headers["set-cookie"].startswith("seen=")


async def test_a_status_other_than_success_is_not_turned_into_a_304(router: APIRouter, serve: Any) -> None:
    @router.get("/items", response_model=HabitItemRead)
    async def read(response: Response) -> HabitItem:
        response.status_code = 410
        return HabitItem(id=1, name="cup")

    client = await serve(router)
    assert (await client.get("/items", headers={"If-None-Match": "*"})).status_code == 410


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_headers_that_are_set_several_times_are_replayed(router: APIRouter, serve: Any) -> None:
    @router.post("/items")
    async def create(response: Response) -> int:
        response.headers.append("Link", '</a>; rel="license"')
        response.headers.append("Link", '</b>; rel="author"')
        return 1

    client = await serve(router)
    answers = [await client.post("/items", headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.headers["Link"] for answer in answers] == ['</a>; rel="license", </b>; rel="author"'] * 2
    assert answers[1].headers["Idempotency-Replayed"] == "true"
