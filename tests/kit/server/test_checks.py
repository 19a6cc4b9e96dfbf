"""Checks at start: the message names the error, and says what to write instead."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import pytest
from fastapi import APIRouter, Body, Depends, Form, Header, Query, UploadFile
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, computed_field
from sqlalchemy import Column, Enum, Table
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from starlette.routing import BaseRoute, Match
from typing_extensions import TypeAliasType, TypedDict

from kit import Body as KitBody
from kit import Id, JSONInteger, Money, Name, Read, ReadSession, Reference, Service, Session, Who, allowing
from tests.kit.server.small import SUPERUSER_ID, asking, bearer, small_service

REGISTRY = registry()


class CheckedBase(SQLModel, registry=REGISTRY):
    """The base of tables without migrations."""


class CheckedThing(CheckedBase, table=True):
    id: int | None = Field(default=None, primary_key=True)
    secret: str = ""


class CheckedThingRead(SQLModel):
    id: int


class Box(BaseModel):
    things: dict[str, list[CheckedThing]]
    inner: "Box | None" = None


@dataclass
class Crate:
    thing: CheckedThing


class Labelled(TypedDict):
    crates: list[Crate]


class Placed(NamedTuple):
    place: int
    thing: CheckedThing


class Computing(BaseModel):
    @computed_field
    def thing(self) -> CheckedThing:
        raise AssertionError


THINGS = TypeAliasType("THINGS", list[CheckedThing])


async def startup_error(service: Service) -> str:
    """Return the message at start, which the first request without a start also gets."""
    with pytest.raises(ValueError, match=r".") as refused:
        async with service.router.lifespan_context(service):
            pass
    async with asking(service, raises=True) as client:
        with pytest.raises(ValueError, match=r".") as again:
            await client.get("/health/live")
    assert str(again.value) == str(refused.value)
    return str(refused.value)


def resource(**who: Who) -> APIRouter:
    return APIRouter(prefix="/things", route_class=allowing(**who))


async def writes(session: Session) -> None:
    """Return a dependency that writes."""


async def test_a_get_that_takes_the_session_for_writing_is_refused() -> None:
    router = resource(read=Who.MEMBERS)

    @router.get("/")
    async def list_things(session: Session) -> None: ...

    assert await startup_error(small_service(router)) == (
        "tests.kit.server.test_checks.test_a_get_that_takes_the_session_for_writing_is_refused.<locals>.list_things "
        "(GET /things/) takes `Session`, which writes: take `ReadSession`, or handle another method."
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_plain_get_whose_dependency_writes_is_refused(method: str) -> None:
    router = APIRouter(dependencies=[Depends(writes)])

    @router.api_route("/plain", methods=[method, "POST"])
    async def plain() -> None: ...

    error = await startup_error(small_service(router))
    assert f"plain ({method} /plain) takes `Session`" in error


async def test_other_methods_may_write_and_every_method_may_read() -> None:
    router = APIRouter()

    @router.post("/things")
    async def create(session: Session, reads: ReadSession) -> None: ...

    @router.get("/things")
    async def read(session: ReadSession) -> None: ...

    small_service(router).check_routes()


async def test_an_operation_whose_methods_have_different_permissions_is_refused() -> None:
    router = resource(read=Who.ANYONE, create=Who.SUPERUSERS)

    @router.api_route("/", methods=["GET", "POST"])
    async def things() -> None: ...

    error = await startup_error(small_service(router, public={"GET /things/"}))
    assert "things (GET /things/) handles GET, POST, which have different permissions: write a handler" in error


async def test_an_operation_whose_methods_have_the_same_permission_is_accepted() -> None:
    router = resource(read=Who.MEMBERS, create=Who.MEMBERS)

    @router.api_route("/", methods=["GET", "POST"])
    async def things() -> None: ...

    small_service(router).check_routes()


SHOWN = [
    CheckedThing,
    list[CheckedThing],
    CheckedThing | None,
    Annotated[CheckedThing, "x"],
    dict[str, CheckedThing],
    Box,
    Crate,
    Labelled,
    Placed,
    Computing,
    THINGS,
]


@pytest.mark.parametrize("model", SHOWN, ids=str)
async def test_a_response_model_that_contains_a_table_is_refused(model: Any) -> None:
    router = APIRouter()

    @router.get("/things", response_model=model)
    async def things() -> None: ...

    error = await startup_error(small_service(router))
    assert error.endswith(
        "things (GET /things) responds with the table CheckedThing, which shows all of its columns: "
        "give it a response_model without it, such as CheckedThingRead."
    )


async def test_a_return_annotation_and_a_stream_of_a_table_are_refused() -> None:
    router = APIRouter()

    @router.get("/one")
    async def one() -> CheckedThing:
        raise AssertionError

    @router.get("/many")
    async def many() -> AsyncIterator[CheckedThing]:
        yield CheckedThing()

    error = await startup_error(small_service(router))
    assert "one (GET /one) responds with the table" in error
    assert "many (GET /many) responds with the table" in error


async def test_an_explicit_response_model_allows_a_table_in_the_annotation() -> None:
    router = APIRouter()

    @router.get("/one", response_model=CheckedThingRead)
    async def one() -> CheckedThing:
        raise AssertionError

    small_service(router).check_routes()


class Callable:
    async def __call__(self) -> CheckedThing:
        raise AssertionError


async def answer(of: int) -> list[CheckedThing]:
    raise AssertionError


@pytest.mark.parametrize("route_class", [APIRoute, allowing()])
@pytest.mark.parametrize("handler", [Callable(), partial(answer, 1)])
async def test_without_a_response_model_the_annotation_counts(route_class: type[APIRoute], handler: Any) -> None:
    router = APIRouter(route_class=route_class)
    router.add_api_route("/none", handler, response_model=None)
    error = await startup_error(small_service(router))
    assert "(GET /none) responds with the table CheckedThing, which shows all of its columns" in error


async def test_an_operation_for_anyone_has_to_be_listed() -> None:
    router = resource(read=Who.ANYONE)

    @router.get("/")
    async def list_things() -> None: ...

    error = await startup_error(small_service(router))
    assert 'list_things (GET /things/) is for ANYONE, but is not in `public`: add "GET /things/" there.' in error
    small_service(router, public={"GET /things/"}).check_routes()
    small_service(router, public={"GET /things/"}, closed={"GET /things/"}).check_routes()


async def test_an_unknown_public_name_is_refused_with_similar_names() -> None:
    router = resource(read=Who.MEMBERS)

    @router.get("/")
    async def list_things() -> None: ...

    assert await startup_error(small_service(router, public={"GET /things"})) == (
        "public lists 'GET /things', but there is no such route: write 'GET /things/'."
    )
    assert await startup_error(small_service(closed={"POST /gone"})) == (
        "closed lists 'POST /gone', but there is no such route: remove it there."
    )


async def test_a_router_that_is_included_twice_has_one_permission() -> None:
    router = APIRouter()

    @router.get("/things")
    async def things() -> str:
        return "things"

    names = {"GET /v1/things", "GET /v2/things"}
    for public in (set(), names):
        service = small_service(public=public)
        for prefix in ("/v1", "/v2"):
            service.include_router(router, prefix=prefix)
        service.check_routes()
    service = small_service(public={"GET /v1/things"})
    for prefix in ("/v1", "/v2"):
        service.include_router(router, prefix=prefix)
    assert await startup_error(service) == (
        "GET /v1/things and GET /v2/things are one route with different permissions: "
        "list all of them in `public`, or none."
    )


async def test_a_route_past_the_router_is_refused_because_nothing_checks_its_permission() -> None:
    async def things() -> str:
        return "things"

    service = small_service()
    service.router.routes.append(APIRoute("/things", things))
    error = await startup_error(service)
    assert error.endswith(
        "things (GET /things) checks no permission: add it by `service.include_router`, or by a decorator such as "
        "`@service.get`."
    )


async def test_an_unknown_route_class_is_refused() -> None:
    class Strange(BaseRoute):
        def matches(self, scope: Any) -> Any:
            return Match.NONE, {}

    service = small_service()
    service.router.routes.append(Strange())
    assert "checks no permission" in await startup_error(service)


async def test_an_event_handler_that_fastapi_would_not_call_is_refused() -> None:
    def prepare() -> None: ...

    service = small_service()
    service.router.on_startup.append(prepare)
    assert "prepare handles an event, and would not be called: give `kit.Service` a `lifespan`." in await startup_error(
        service
    )


async def test_all_faults_are_reported_at_once() -> None:
    router = resource(read=Who.ANYONE)

    @router.get("/", response_model=CheckedThing)
    async def list_things(session: Session) -> None: ...

    assert len((await startup_error(small_service(router, public={"GET /nowhere"}))).splitlines()) == 4


async def test_a_route_that_is_added_by_a_decorator_is_checked_before_the_next_request() -> None:
    service = small_service(public={"GET /health/live"})
    async with asking(service, raises=True) as client:
        assert (await client.get("/health/live")).status_code == 200

        @service.get("/late")
        async def late() -> str:
            return "late"

        assert (await client.get("/late")).status_code == 401
        assert (await client.get("/late", headers=bearer(SUPERUSER_ID))).json() == "late"

        @service.get("/later")
        async def later(session: Session) -> None: ...

        with pytest.raises(ValueError, match="take `ReadSession`"):
            await client.get("/late")


def test_a_read_variant_is_not_a_table() -> None:
    assert not hasattr(Read, "__table__")


@pytest.mark.parametrize("methods", [["HEAD"], ["HEAD", "POST"]])
async def test_a_handler_of_head_that_would_never_be_called_is_refused(methods: list[str]) -> None:
    router = APIRouter()

    @router.api_route("/things", methods=methods)
    async def things() -> None: ...

    assert "things (HEAD /things) handles HEAD, which is served as GET: let it handle GET" in await startup_error(
        small_service(router)
    )


async def test_handlers_with_one_operation_id_are_refused() -> None:
    router = APIRouter(tags=["things"], route_class=allowing())

    async def list_things() -> None: ...

    router.add_api_route("/things", list_things)
    router.add_api_route("/others", list_things)
    router.add_api_route("/hidden", list_things, include_in_schema=False)

    @router.get("/a", operation_id="same")
    async def a() -> None: ...

    @router.get("/b", operation_id="same")
    async def b() -> None: ...

    errors = (await startup_error(small_service(router))).splitlines()
    assert len(errors) == 2
    assert "list_things (GET /things) and " in errors[0]
    assert "list_things (GET /others) have one operation id, 'things-list': rename one, or give it" in errors[0]
    assert "have one operation id, 'same'" in errors[1]


async def test_a_second_handler_of_a_path_and_method_is_refused() -> None:
    router = APIRouter()

    @router.get("/things")
    async def first() -> None: ...

    @router.get("/things")
    async def second() -> None: ...

    error = await startup_error(small_service(router))
    assert "second (GET /things) is never called: " in error
    assert error.endswith("first (GET /things) has its path and comes first.")


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_handler_of_a_path_of_the_docs_comes_first_or_is_refused(path: str) -> None:
    router = APIRouter(include_in_schema=False)
    router.add_api_route(path, lambda: "mine", name="own", response_class=PlainTextResponse)
    async with asking(small_service(router)) as client:
        assert (await client.get(path)).text == "mine"

    service = small_service()
    service.include_router(router)
    error = await startup_error(service)
    assert f"(GET {path}) is never called: kit.openapi.docs." in error
    assert error.endswith("comes first. Put it into one of the `routers`, which come before that.")


async def test_a_body_that_a_resource_would_refuse_is_refused_at_start() -> None:
    router = resource(create=Who.MEMBERS)

    @router.post("/raw")
    async def raw(content: Annotated[bytes, Body(media_type="application/octet-stream")]) -> None: ...

    @router.post("/json")
    async def patch(content: Annotated[dict[str, int], Body(media_type="application/merge-patch+json")]) -> None: ...

    @router.post("/form")
    async def form(name: Annotated[str, Form()], file: UploadFile) -> None: ...

    loose = APIRouter(route_class=allowing(), strict_content_type=False)
    loose.add_api_route("/loose", patch, methods=["POST"])
    errors = (await startup_error(small_service(router, loose))).splitlines()
    assert len(errors) == 2
    assert "raw (POST /things/raw) takes a body of application/octet-stream, but a resource takes" in errors[0]
    assert "patch (POST /loose) has `strict_content_type=False`" in errors[1]


async def test_a_form_that_refuses_the_parameters_beside_it_is_refused_at_start() -> None:
    class Label(KitBody):
        name: str

    class Loose(BaseModel):
        name: str

    class Upload(Label):
        file: UploadFile

    router = resource(create=Who.MEMBERS)

    @router.post("/a")
    async def refusing(label: Annotated[Label, Form()], file: UploadFile) -> None: ...

    @router.post("/b")
    async def loose(label: Annotated[Loose, Form()], file: UploadFile) -> None: ...

    @router.post("/c")
    async def upload(label: Annotated[Upload, Form()]) -> None: ...

    errors = (await startup_error(small_service(router))).splitlines()
    assert len(errors) == 1
    assert "refusing (POST /things/a) takes Label as a form, which refuses file beside it" in errors[0]
    assert "class Upload(Label): file: UploadFile" in errors[0]


async def test_a_plain_route_takes_every_body() -> None:
    router = APIRouter(strict_content_type=False)

    @router.post("/raw")
    async def raw(content: Annotated[bytes, Body(media_type="application/octet-stream")]) -> int:
        return len(content)

    async with asking(small_service(router, auth=False)) as client:
        headers = {"Content-Type": "application/octet-stream"}
        assert (await client.post("/raw", content=b"abc", headers=headers)).json() == 3


async def test_an_annotation_that_cannot_be_resolved_is_accepted() -> None:
    async def answer() -> "Nobody":  # type: ignore[name-defined]  # noqa: F821
        return {}

    router = APIRouter()
    router.add_api_route("/thing", answer, response_model=None)
    service = small_service(router)
    async with asking(service) as client:
        assert (await client.get("/thing", headers=bearer(SUPERUSER_ID))).json() == {}


async def adds(session: ReadSession) -> None:
    """Return a dependency that writes with a `ReadSession`."""
    session.add(CheckedThing())


async def test_a_handler_that_writes_by_a_session_that_reads_is_refused() -> None:
    router = APIRouter()

    @router.get("/plain")
    async def read(reads: ReadSession) -> None:
        await reads.delete(CheckedThing())

    @router.post("/plain", dependencies=[Depends(adds)])
    async def create() -> None: ...

    errors = (await startup_error(small_service(router))).splitlines()
    assert [error.partition(".<locals>.")[2].partition(":")[0] for error in errors] == [
        "read (GET /plain) calls `reads.delete` of a `ReadSession`, which does not write",
        "create (POST /plain) calls `session.add` of a `ReadSession`, which does not write",
    ]


async def test_the_session_that_reads_in_an_operation_that_writes_is_that_which_writes() -> None:
    router = resource(read=Who.MEMBERS, create=Who.MEMBERS)

    @router.get("/")
    async def read(reads: ReadSession) -> None: ...

    @router.post("/")
    async def create(reads: ReadSession) -> None:
        reads.add(CheckedThing())

    small_service(router).check_routes()


async def test_an_enum_type_of_the_database_is_refused() -> None:
    table = Table("checked_mood", SQLModel.metadata, Column("mood", Enum("good", "bad", name="mood")))
    error = await startup_error(small_service(resource()))
    SQLModel.metadata.remove(table)
    assert "checked_mood.mood is an enum type of PostgreSQL" in error
    assert "native_enum=False" in error


class Point(KitBody):
    x: int
    name: str


class Pages(BaseModel):
    shelf: Reference = 1


def point_of(point: Annotated[Point, Query()]) -> Point:
    """Return a dependency whose parameters are those of a body."""
    return point


async def test_a_parameter_whose_type_refuses_all_text_is_refused() -> None:
    router = resource(read=Who.MEMBERS)

    @router.get("/{number}", dependencies=[Depends(point_of)])
    async def read(number: Reference, sizes: Annotated[list[JSONInteger] | None, Header()] = None) -> None: ...

    @router.get("/pages")
    async def pages(chosen: Annotated[Pages, Query()]) -> None: ...

    @router.get("/text/{number}")
    async def text(number: Id, price: Money, name: Name, size: int, is_open: bool) -> None: ...

    errors = [error.partition("<locals>.")[2] for error in (await startup_error(small_service(router))).splitlines()]
    said = "which is text, but its type accepts the numbers and booleans of JSON only: write"
    assert errors == [
        f"read (GET /things/{{number}}) reads number from the path, {said} `int`, or `Id` for an id.",
        f"read (GET /things/{{number}}) reads sizes from the header, {said} `int`, or `Id` for an id.",
        f"read (GET /things/{{number}}) reads x from the query, {said} a model that is not a `Body` for point.",
        f"pages (GET /things/pages) reads shelf from the query, {said} `int`, or `Id` for an id.",
    ]
