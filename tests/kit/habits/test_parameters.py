"""Parameters: from the path, the query, headers, cookies, forms, files and the body, as FastAPI documents them."""

import threading
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from fastapi import (
    APIRouter,
    Body,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    Path,
    Query,
    Request,
    Response,
    UploadFile,
)
from pydantic import BaseModel, Field
from sqlmodel import select

from kit import Body as KitBody
from kit import JSONInteger, Money, Name, Page, ReadSession, Session, page
from kit.query.parameters import NOTHING_DECLARED, declared_by
from tests.kit.habits.items import HabitItem, HabitItemQuery, HabitItemRead


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Filter(BaseModel):
    model_config = {"extra": "forbid"}

    limit: int = Field(10, gt=0, le=100)
    tags: list[str] = []


class Login(BaseModel):
    username: str
    password: str


class Thing(BaseModel):
    name: str


class Tracking(BaseModel):
    x_trace: str | None = None
    x_span: list[str] = []


class Pagination:
    """A dependency that is a class."""

    def __init__(self, skip: int = 0, size: Size = Size.SMALL) -> None:
        self.skip, self.size = skip, size


def paging(skip: Annotated[int, Query(ge=0)] = 0) -> int:
    return skip


async def test_query_parameters_of_a_handler_and_of_its_dependencies(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    async def read(skip: Annotated[int, Depends(paging)], q: str | None = None, flag: bool = False) -> list[Any]:
        return [skip, q, flag]

    client = await serve(router)
    assert (await client.get("/a?skip=3&q=x&flag=yes")).json() == [3, "x", True]
    assert (await client.get("/a?skip=-1")).status_code == 422
    assert (await client.get("/a")).json() == [0, None, False]


async def test_a_class_is_a_dependency(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    async def read(pagination: Annotated[Pagination, Depends()]) -> list[Any]:
        return [pagination.skip, pagination.size]

    client = await serve(router)
    assert (await client.get("/a?skip=2&size=large")).json() == [2, "large"]
    assert (await client.get("/a?size=huge")).status_code == 422


async def test_a_list_is_given_by_repeating_its_parameter(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    async def read(tag: Annotated[list[str] | None, Query()] = None, n: Annotated[set[int], Query()] = set()) -> Any:  # noqa: B006
        return [tag, sorted(n)]

    client = await serve(router)
    assert (await client.get("/a?tag=x&tag=y&n=2&n=1")).json() == [["x", "y"], [1, 2]]


async def test_a_model_takes_the_query(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    async def read(query: Annotated[Filter, Query()]) -> Filter:
        return query

    client = await serve(router)
    assert (await client.get("/a?limit=5&tags=x&tags=y")).json() == {"limit": 5, "tags": ["x", "y"]}
    assert (await client.get("/a?limit=500")).status_code == 422
    assert (await client.get("/a?other=1")).status_code == 422


async def test_an_alias_names_the_parameter(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    async def read(value: Annotated[str, Query(alias="item-query")]) -> str:
        return value

    client = await serve(router)
    assert (await client.get("/a", params={"item-query": "x"})).json() == "x"


async def test_headers_and_cookies_are_parameters(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    async def read(
        user_agent: Annotated[str | None, Header()] = None,
        x_token: Annotated[list[str] | None, Header()] = None,
        session_id: Annotated[str | None, Cookie()] = None,
    ) -> list[Any]:
        return [user_agent, x_token, session_id]

    client = await serve(router)
    headers = [("User-Agent", "me"), ("X-Token", "a"), ("X-Token", "b"), ("Cookie", "session_id=c")]
    assert (await client.get("/a", headers=headers)).json() == ["me", ["a", "b"], "c"]


async def test_a_model_takes_headers(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(tracking: Annotated[Tracking, Header()]) -> Tracking:
        return tracking

    client = await serve(router)
    headers = [("X-Trace", "t"), ("X-Span", "a"), ("X-Span", "b")]
    assert (await client.post("/a", headers=headers)).json() == {"x_trace": "t", "x_span": ["a", "b"]}


@pytest.mark.parametrize("kind", ["data", "files"])
async def test_form_fields_are_parameters(router: APIRouter, serve: Any, kind: str) -> None:
    @router.post("/a")
    async def write(username: Annotated[str, Form()], tags: Annotated[list[str], Form()]) -> list[Any]:
        return [username, tags]

    client = await serve(router)
    fields = {"username": "steve", "tags": ["a", "b"]}
    if kind == "files":
        parts = [("username", (None, "steve")), ("tags", (None, "a")), ("tags", (None, "b"))]
        assert (await client.post("/a", files=parts)).json() == ["steve", ["a", "b"]]
    else:
        assert (await client.post("/a", data=fields)).json() == ["steve", ["a", "b"]]
    assert (await client.post("/a", data={"tags": "a"})).status_code == 422


async def test_a_model_takes_a_form(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(login: Annotated[Login, Form()], session: Session) -> str:
        session.add(HabitItem(name=login.username))
        return login.password

    client = await serve(router)
    assert (await client.post("/a", data={"username": "steve", "password": "x"})).json() == "x"
    answer = await client.post("/a", data={"username": "steve"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/password"


class Parcel(KitBody):
    """A body with a field of each kind that is no text in JSON."""

    name: Name
    size: int = Field(ge=1)
    weight: float = 1.5
    is_open: bool = False
    price: Money = Decimal(1)
    sizes: list[int] = Field(default_factory=list)
    floor: Literal[1, 2] | None = None
    raw: Any = None


async def test_a_form_has_the_fields_of_a_body(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(parcel: Annotated[Parcel, Form()], session: Session) -> list[Any]:
        session.add(HabitItem(name=parcel.name, size=parcel.size))
        return [*vars(parcel).values(), type(parcel.name) is str]

    client = await serve(router)
    texts = {"name": "Lamp", "size": "7", "weight": "2.5", "is_open": "on", "price": "9.9", "sizes": ["1", "2"]}
    answer = await client.post("/a", data=texts | {"floor": "2", "raw": "x", "id": "5"})
    assert answer.json() == ["Lamp", 7, 2.5, True, "9.90", [1, 2], 2, "x", True]
    assert (await client.post("/a", data={"name": "Lamp", "size": "7"})).status_code == 200


class Upload(Parcel):
    file: UploadFile


async def test_a_form_has_a_file_among_the_fields_of_a_body(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(upload: Annotated[Upload, Form()]) -> list[Any]:
        return [upload.name, upload.size, (await upload.file.read()).decode()]

    client = await serve(router)
    fields, files = {"name": "Lamp", "size": "7"}, {"file": ("a.txt", b"light")}
    assert (await client.post("/a", data=fields, files=files)).json() == ["Lamp", 7, "light"]
    assert (await client.post("/a", data=fields)).json()["errors"][0]["pointer"] == "#/file"


async def test_a_form_is_as_strict_as_a_body(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(parcel: Annotated[Parcel, Form()]) -> None: ...

    client = await serve(router)
    for name, text in (
        *(("size", wrong) for wrong in ("x", "0", "1.5", str(2**63), "9" * 5000, "on")),
        *(("weight", wrong) for wrong in ("NaN", "inf", "1e999", "x")),
        *(("is_open", "2"), ("sizes", "x"), ("floor", "3"), ("name", " "), ("name", "a\0"), ("other", "1")),
    ):
        answer = await client.post("/a", data={"name": "a", "size": "1", name: text})
        assert answer.status_code == 422, (name, text)
        assert answer.json()["errors"][0]["pointer"].startswith(f"#/{name}"), (name, text)


async def test_a_field_of_a_form_may_have_a_type_of_the_kit(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(number: Annotated[JSONInteger, Form()]) -> int:
        return number

    client = await serve(router)
    assert (await client.post("/a", data={"number": "5"})).json() == 5


async def test_files_are_uploaded(router: APIRouter, serve: Any) -> None:
    @router.post("/a")
    async def write(
        file: UploadFile, raw: Annotated[bytes, File()], others: list[UploadFile], note: Annotated[str, Form()] = ""
    ) -> list[Any]:
        return [file.filename, (await file.read()).decode(), raw.decode(), len(others), note]

    client = await serve(router)
    files = [("file", ("a.txt", b"one")), ("raw", ("b", b"two")), ("others", ("c", b"3")), ("others", ("d", b"4"))]
    answer = await client.post("/a", files=files, data={"note": "n"})
    assert answer.json() == ["a.txt", "one", "two", 2, "n"]
    assert (await client.post("/a", data={"note": "n"})).status_code == 422


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_an_upload_with_an_idempotency_key_is_replayed(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/a", status_code=201)
    async def write(file: UploadFile, session: Session) -> int:
        content = await file.read()
        session.add(HabitItem(name=content.decode()))
        return len(content)

    client = await serve(router)

    async def send(content: bytes) -> Any:
        return await client.post("/a", files={"file": ("a.txt", content)}, headers={"Idempotency-Key": "k"})

    first, again, other = await send(b"one"), await send(b"one"), await send(b"two")
    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (201, 3)
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == 422
    assert await names() == ["one"]


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_any_content_with_an_idempotency_key_is_replayed(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/a")
    async def write(request: Request, session: Session) -> int:
        session.add(HabitItem(name=(await request.body()).decode()))
        return 3

    client = await serve(router)
    headers = {"Idempotency-Key": "k", "Content-Type": "text/plain"}
    first, again, other = [await client.post("/a", content=text, headers=headers) for text in ("one", "one", "two")]
    assert (first.json(), again.json(), again.headers["idempotency-replayed"]) == (3, 3, "true")
    assert other.status_code == 422
    assert await names() == ["one"]


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_a_list_may_have_parameters_beside_those_of_its_query(router: APIRouter, serve: Any) -> None:
    @router.get("/items", response_model=list[HabitItemRead])
    async def read(
        query: Annotated[HabitItemQuery, Depends()], session: ReadSession, response: Response, shape: str = "round"
    ) -> Page:
        response.headers["X-Shape"] = shape
        return await page(session, query, select(HabitItem))

    client = await serve(router)
    answer = await client.get("/items?limit=1&shape=square")
    assert (answer.status_code, answer.json(), answer.headers["x-shape"]) == (200, [], "square")
    assert (await client.get("/items?size=1&form=square")).status_code == 422


async def test_a_request_gives_its_body_and_its_parameters(router: APIRouter, serve: Any) -> None:
    @router.post("/json")
    async def json(request: Request) -> Any:
        return [await request.json(), (await request.body()).decode(), dict(request.query_params), request.method]

    @router.post("/form")
    async def form(request: Request) -> Any:
        async with request.form() as fields:
            return dict(fields)

    @router.post("/stream")
    async def stream(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    client = await serve(router)
    answer = await client.post("/json?any=1", json={"a": 1})
    assert answer.json() == [{"a": 1}, '{"a":1}', {"any": "1"}, "POST"]
    assert (await client.post("/form", data={"a": "b"})).json() == {"a": "b"}
    assert (await client.post("/stream", content=b"x" * 70_000)).json() == 70_000


async def test_a_request_beside_a_body_model_gives_the_same_body(router: APIRouter, serve: Any) -> None:
    async def raw(request: Request) -> int:
        return len(await request.body())

    @router.post("/a")
    async def write(thing: Thing, size: Annotated[int, Depends(raw)], request: Request) -> list[Any]:
        return [thing.name, size, await request.json()]

    client = await serve(router)
    assert (await client.post("/a", json={"name": "cup"})).json() == ["cup", 14, {"name": "cup"}]


async def test_a_body_has_several_parts(router: APIRouter, serve: Any) -> None:
    @router.post("/several")
    async def several(thing: Thing, other: Thing, weight: Annotated[int, Body(gt=0)]) -> list[Any]:
        return [thing.name, other.name, weight]

    @router.post("/embedded")
    async def embedded(thing: Annotated[Thing, Body(embed=True)]) -> str:
        return thing.name

    @router.post("/scalar")
    async def scalar(number: Annotated[int, Body()]) -> int:
        return number

    @router.post("/list")
    async def many(things: list[Thing]) -> int:
        return len(things)

    @router.post("/any")
    async def anything(value: Annotated[dict[str, Any], Body()]) -> Any:
        return value

    @router.post("/optional")
    async def optional(thing: Thing | None = None) -> str:
        return thing.name if thing else "nothing"

    client = await serve(router)
    body = {"thing": {"name": "a"}, "other": {"name": "b"}, "weight": 3}
    assert (await client.post("/several", json=body)).json() == ["a", "b", 3]
    assert (await client.post("/several", json=body | {"weight": 0})).json()["errors"][0]["pointer"] == "#/weight"
    assert (await client.post("/embedded", json={"thing": {"name": "a"}})).json() == "a"
    assert (await client.post("/scalar", json=7)).json() == 7
    assert (await client.post("/list", json=[{"name": "a"}, {"name": "b"}])).json() == 2
    assert (await client.post("/any", json={"a": [1]})).json() == {"a": [1]}
    assert (await client.post("/optional", json={"name": "a"})).json() == "a"
    assert (await client.post("/optional")).json() == "nothing"


async def test_path_parameters_are_converted_and_checked(router: APIRouter, serve: Any) -> None:
    @router.get("/files/{path:path}")
    async def files(path: str) -> str:
        return path

    @router.get("/sizes/{size}")
    async def sizes(size: Size) -> str:
        return size.name

    @router.get("/numbers/{number}")
    async def numbers(number: Annotated[int, Path(ge=1, le=9)]) -> int:
        return number

    @router.get("/floats/{number:float}")
    async def floats(number: float) -> float:
        return number

    client = await serve(router)
    assert (await client.get("/files/a/b%20c.txt")).json() == "a/b c.txt"
    assert (await client.get("/sizes/large")).json() == "LARGE"
    assert (await client.get("/sizes/huge")).status_code == 422
    assert (await client.get("/numbers/3")).json() == 3
    assert (await client.get("/numbers/10")).status_code == 422
    assert (await client.get("/floats/1.5")).json() == 1.5


async def test_handlers_that_are_not_async_run_in_a_thread(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    def read(skip: Annotated[int, Depends(paging)], q: str) -> list[Any]:
        return [skip, q, threading.current_thread() is threading.main_thread()]

    @router.post("/a")
    def write(thing: Thing) -> str:
        return thing.name

    client = await serve(router)
    assert (await client.get("/a?q=x")).json() == [0, "x", False]
    assert (await client.post("/a", json={"name": "cup"})).json() == "cup"


async def test_json_may_have_another_media_type(router: APIRouter, serve: Any) -> None:
    @router.patch("/a")
    async def write(thing: Thing) -> str:
        return thing.name

    client = await serve(router)
    headers = {"Content-Type": "application/merge-patch+json"}
    assert (await client.patch("/a", content='{"name": "cup"}', headers=headers)).json() == "cup"


async def test_a_path_parameter_that_the_path_does_not_have_is_missing(router: APIRouter, serve: Any) -> None:
    @router.get("/items")
    async def read(item_id: Annotated[int, Path()]) -> int:
        return item_id

    answer = await (await serve(router)).get("/items")
    assert (answer.status_code, answer.json()["errors"][0]["in"]) == (422, "path")


def test_a_route_of_another_library_declares_no_parameters() -> None:
    assert declared_by(object(), FastAPI()) is NOTHING_DECLARED
