"""Query parameters: all names and forms that FastAPI accepts are accepted, and all others are refused."""

from collections import deque
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, Query, Request
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPBearer, OAuth2PasswordBearer
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, Json
from sqlmodel import select

from kit import Page, ReadSession, found, page
from tests.kit.habits.conftest import client_of
from tests.kit.habits.items import HabitItem, HabitItemQuery, HabitItemRead

WAYS_OF_A_RESOURCE = pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)


class Aliased(BaseModel):
    first: int = Field(1, validation_alias="the-first")
    second: int = Field(2, validation_alias=AliasChoices("b", "bb"))
    third: int | None = Field(None, validation_alias=AliasChoices("c", AliasPath("many", 1)))


class ByName(BaseModel):
    model_config = ConfigDict(populate_by_name=True, alias_generator=lambda name: f"the-{name}")
    first: int = 1


class OnlyByName(BaseModel):
    model_config = ConfigDict(validate_by_alias=False, validate_by_name=True)
    first: int = Field(1, alias="the-first")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    first: int = 1


async def common(q: str = "") -> str:
    return q


@pytest.mark.parametrize(
    ("model", "query", "taken"),
    [
        (Aliased, "the-first=3&bb=4", {"first": 3, "second": 4}),
        (Aliased, "many=1&many=2", {"third": 2}),
        (Aliased | None, "b=3", {"second": 3}),
        (ByName, "first=3", {"first": 3}),
        (ByName, "the-first=3", {"first": 3}),
        (OnlyByName, "first=3", {"first": 3}),
        (Open, "first=3&more=4&more=5", {"first": 3, "more": ["4", "5"]}),
    ],
)
async def test_a_model_of_parameters_may_have_aliases_and_further_parameters(
    router: APIRouter, serve: Any, model: Any, query: str, taken: dict[str, Any]
) -> None:
    @router.get("/a")
    async def read(given: Annotated[model, Query()]) -> dict[str, Any]:
        return dict(given)

    assert (await (await serve(router)).get(f"/a?{query}")).json().items() >= taken.items()


@pytest.mark.parametrize(
    ("alias", "names"),
    [("the-value", ["the-value"]), (AliasChoices("b", "bb"), ["b", "bb"]), (AliasPath("a", 0), ["value"])],
)
async def test_a_parameter_may_have_validation_aliases(
    router: APIRouter, serve: Any, alias: Any, names: list[str]
) -> None:
    @router.get("/a")
    async def read(value: Annotated[int, Query(validation_alias=alias)]) -> int:
        return value

    client = await serve(router)
    assert [(await client.get(f"/a?{name}=3")).json() for name in names] == [3] * len(names)
    assert (await client.get("/a?values=3")).status_code == 422


@pytest.mark.parametrize(
    "kind", [Sequence[str], deque[str], Sequence[str] | None, Annotated[list[str], Field(max_length=5)] | None]
)
async def test_sequences_of_all_kinds_are_given_by_repeating(router: APIRouter, serve: Any, kind: Any) -> None:
    @router.get("/a")
    async def read(q: Annotated[kind, Query()]) -> list[str]:
        return list(q)

    assert (await (await serve(router)).get("/a?q=1&q=2")).json() == ["1", "2"]


async def test_a_parameter_may_be_json(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    async def read(q: Annotated[Json[list[int]], Query()]) -> list[int]:
        return q

    assert (await (await serve(router)).get("/a?q=[1,2]")).json() == [1, 2]


async def test_an_override_has_parameters_of_its_own(router: APIRouter, new_service: Any) -> None:
    @router.get("/a")
    async def read(value: Annotated[str, Depends(common)]) -> str:
        return value

    async def part(n: int) -> int:
        return n

    async def other(word: str, n: Annotated[int, Depends(part)]) -> str:
        return word * n

    service = new_service(router)
    service.dependency_overrides[common] = other
    async with client_of(service) as client:
        assert (await client.get("/a?word=x&n=2")).json() == "xx"
        service.dependency_overrides[part] = lambda: 3
        assert (await client.get("/a?word=x")).json() == "xxx"


@WAYS_OF_A_RESOURCE
async def test_the_parameters_of_an_overridden_dependency_are_unknown(router: APIRouter, new_service: Any) -> None:
    @router.get("/a", response_model=list[HabitItemRead])
    async def read(
        query: Annotated[HabitItemQuery, Depends()], value: Annotated[str, Depends(common)], session: ReadSession
    ) -> Page:
        return await page(session, query, select(HabitItem).where(HabitItem.name == value))

    service = new_service(router)
    service.dependency_overrides[common] = lambda word: word
    async with client_of(service) as client:
        assert (await client.get("/a?word=x&limit=1")).status_code == 200
        assert (await client.get("/a?q=x&n=1")).status_code == 422


@WAYS_OF_A_RESOURCE
async def test_a_list_and_a_row_may_have_a_key_in_the_query(router: APIRouter, serve: Any) -> None:
    key = Depends(APIKeyQuery(name="api_key"))

    @router.get("/a", response_model=list[HabitItemRead], dependencies=[key])
    async def read(query: Annotated[HabitItemQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, select(HabitItem))

    @router.get("/a/{item_id}", response_model=HabitItemRead, dependencies=[key])
    async def read_one(
        item_id: int, query: Annotated[HabitItemQuery, Depends(HabitItemQuery.of_one)], session: ReadSession
    ) -> HabitItem:
        return found(await session.get(HabitItem, item_id))

    client = await serve(router)
    answers = [await client.get(path) for path in ("/a?api_key=x&limit=1", "/a/1?api_key=x&fields=id", "/a?limit=1")]
    assert [answer.status_code for answer in answers] == [200, 404, 401]
    assert (await client.get("/a?api_key=x&other=1")).status_code == 422


@WAYS_OF_A_RESOURCE
async def test_a_list_may_have_a_model_that_takes_further_parameters(router: APIRouter, serve: Any) -> None:
    @router.get("/a", response_model=list[HabitItemRead])
    async def read(
        query: Annotated[HabitItemQuery, Depends()], given: Annotated[Open, Query()], session: ReadSession
    ) -> Page:
        return await page(session, query, select(HabitItem))

    client = await serve(router)
    assert (await client.get("/a?more=3&limit=1")).status_code == 200
    assert (await client.get("/a?more=3&limit=no")).status_code == 422


@WAYS_OF_A_RESOURCE
@pytest.mark.parametrize("scheme", [OAuth2PasswordBearer("token"), HTTPBearer(), APIKeyHeader(name="Authorization")])
async def test_a_security_scheme_lets_no_unknown_parameter_through(router: APIRouter, serve: Any, scheme: Any) -> None:
    @router.get("/a", dependencies=[Depends(scheme)])
    async def read(q: str = "") -> str:
        return q

    client = await serve(router)
    headers = {"Authorization": "Bearer x"}
    assert (await client.get("/a?q=x", headers=headers)).json() == "x"
    assert (await client.get("/a?other=x", headers=headers)).status_code == 422


@WAYS_OF_A_RESOURCE
async def test_a_parameter_that_is_no_list_is_given_once(router: APIRouter, serve: Any) -> None:
    @router.get("/model")
    async def model(given: Annotated[Aliased, Query()]) -> int:
        return given.first

    @router.get("/request")
    async def own(request: Request, q: str = "") -> str:
        return q + str(request.query_params)

    @router.get("/list", response_model=list[HabitItemRead])
    async def rows(query: Annotated[HabitItemQuery, Depends()], session: ReadSession, shape: str = "") -> Page:
        return await page(session, query, select(HabitItem))

    client = await serve(router)
    paths = ("/model?the-first=1&the-first=2", "/request?other=1&q=1&q=2", "/list?shape=a&shape=b")
    for path in paths:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["errors"][0]["type"]) == (422, "repeated_parameter")


@WAYS_OF_A_RESOURCE
async def test_a_parameter_that_one_dependency_reads_as_a_list_is_repeated(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    async def read(tag: Annotated[list[str], Query()], last: Annotated[str, Depends(lambda tag: tag)]) -> list[str]:
        return [*tag, last]

    assert (await (await serve(router)).get("/a?tag=a&tag=b")).json() == ["a", "b", "b"]
