"""Errors of bodies with unions: their pointers are in the body (RFC 6901), and they do not repeat what was sent."""

from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from fastapi import APIRouter, Form, Query
from pydantic import AliasChoices, AwareDatetime, BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from kit import Batch, Body, InvalidElement
from kit.http.locations import path_in


class Cat(BaseModel):
    pet: Literal["cat"]
    meows: int
    cat: dict[str, int] = {}


class Dog(BaseModel):
    pet: Literal["dog"]
    barks: int = Field(validation_alias=AliasChoices("barks", "noise"))


Pet = Annotated[Cat | Dog, Field(discriminator="pet")]


class Owner(Body):
    other: int | list[int] = 0
    when: int | AwareDatetime = 0


async def pointers(client: Any, body: Any) -> list[str]:
    answer = await client.post("/a", json=body)
    assert answer.status_code == 422
    return [error["pointer"] for error in answer.json()["errors"]]


async def test_the_pointer_of_an_error_in_a_union_is_in_the_body(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(pets: list[Pet]) -> int:
        return len(pets)

    client = await serve(router)
    cat = {"pet": "cat", "meows": 1}
    assert await pointers(client, [cat, cat | {"meows": "x"}]) == ["#/1/meows"]
    assert await pointers(client, [{"pet": "cat"}]) == ["#/0/meows"]
    assert await pointers(client, [cat | {"cat": {"a": "x"}}]) == ["#/0/cat/a"]
    assert await pointers(client, [{"pet": "cat", "cat": {"meows": 1}}]) == ["#/0/meows"]
    assert await pointers(client, [{"pet": "dog", "noise": "x"}, 3]) == ["#/0/noise", "#/1"]


async def test_the_pointer_of_an_invalid_key_is_that_of_its_value(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(pets: dict[int, Cat], by_name: dict[Literal["a"], int] = {}) -> int:  # noqa: B006  as FastAPI has it
        return len(pets) + len(by_name)

    client = await serve(router)
    cat = {"pet": "cat", "meows": 1}
    assert await pointers(client, {"pets": {"1": cat, "x": cat}}) == ["#/pets/x"]
    assert await pointers(client, {"pets": {}, "by_name": {"b": 1}}) == ["#/by_name/b"]
    assert await pointers(client, {"pets": {"1": cat | {"cat": {"[key]": "x"}}}}) == ["#/pets/1/cat/%5Bkey%5D"]


async def test_each_type_of_a_union_has_the_same_pointer(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(new: Owner) -> int:
        return new.other if isinstance(new.other, int) else 0

    client = await serve(router)
    assert await pointers(client, {"other": "x"}) == ["#/other", "#/other"]
    assert await pointers(client, {"other": [1, "x"]}) == ["#/other", "#/other/1"]
    assert await pointers(client, {"when": "x"}) == ["#/when", "#/when"]


async def test_a_union_as_the_body_or_in_a_form_has_pointers(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(new: Cat | list[int]) -> int:
        return 1

    @router.post("/form")
    async def form(sizes: Annotated[list[int | bool], Form()], size: Annotated[int | bool, Form()]) -> int:
        return 1

    client = await serve(router)
    assert await pointers(client, {"pet": "cat", "meows": "x"}) == ["#/meows", "#"]
    answer = await client.post("/form", data={"sizes": ["1", "x"], "size": "z"})
    assert {error["pointer"] for error in answer.json()["errors"]} == {"#/sizes/1", "#/size"}


async def test_a_parameter_with_a_union_is_named(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    async def read(q: Annotated[list[int | bool], Query()]) -> int:
        return len(q)

    answer = await (await serve(router)).get("/a?q=1&q=x")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["q.1", "q.1"]


async def test_the_elements_of_a_bulk_have_pointers(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(pets: Batch[Pet]) -> Any:
        return [pet.problem.extra["errors"][0]["pointer"] for pet in pets if isinstance(pet, InvalidElement)]

    assert (await (await serve(router)).post("/a", json=[{"pet": "cat", "meows": "x"}])).json() == ["#/meows"]


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (Pet, {"pet": "sent-by-client"}),
        (UUID, "sent-by-client"),
        (Annotated[int, BeforeValidator(UUID)], "sent" * 9999),
    ],
)
async def test_an_error_does_not_repeat_what_was_sent(router: APIRouter, serve: Any, kind: Any, sent: Any) -> None:
    @router.post("/a")
    async def write(value: kind) -> int:
        return 1

    @router.post("/list")
    async def write_all(values: list[kind]) -> int:
        return 1

    client = await serve(router)
    for path, body in (("/a", sent), ("/list", [sent])):
        answer = await client.request("POST", path, json=body)
        assert answer.status_code == 422
        assert "sent" not in answer.text


async def test_the_known_tags_of_a_union_are_named(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(pet: Pet) -> int:
        return 1

    answer = await (await serve(router)).post("/a", json={"pet": "bird"})
    assert answer.json()["errors"][0]["detail"] == "Input should have a tag that is known: 'cat', 'dog'"


async def test_the_message_of_a_validator_is_cut_off(router: APIRouter, serve: Any) -> None:
    def refuse(value: str) -> str:
        raise ValueError(value)

    class Refused(BaseModel):
        text: Annotated[str, BeforeValidator(refuse)]

    @router.post("/a")
    async def write(new: Refused) -> int:
        return 1

    assert len((await (await serve(router)).post("/a", json={"text": "x" * 100_000})).text) < 6000


class Node(BaseModel):
    child: "Node | int"


def failures(kind: Any, value: Any) -> list[Any]:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    return [{**error, "loc": ("body", *error["loc"])} for error in caught.value.errors()]


def test_a_long_location_is_found() -> None:
    value: Any = "x"
    for _ in range(50):
        value = {"child": value}
    assert {len(path_in(value, failure)) for failure in failures(Node, value)} == set(range(1, 51))


def test_the_location_of_a_value_that_a_validator_has_made_is_as_long_as_in_the_body() -> None:
    renamed = Annotated[Cat, BeforeValidator(lambda value: {"pet": "cat", "meows": value["sound"]})]
    assert [path_in([{"sound": "x"}], failure) for failure in failures(list[renamed], [{"sound": "x"}])] == [
        [0, "meows"]
    ]
    assert [
        path_in(["x"], failure) for failure in failures(list[Annotated[Cat, BeforeValidator(lambda _: {})]], ["x"])
    ] == [
        [0],
        [0],
    ]
    assert path_in(None, {"loc": ("body", "a"), "type": "own"}) == ["a"]
