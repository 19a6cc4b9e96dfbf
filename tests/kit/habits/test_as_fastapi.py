"""FastAPI's documented behaviour without a database: each case is compared with FastAPI itself."""

import dataclasses
import functools
import pathlib
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import httpx
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
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    UploadFile,
)
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from pydantic import (
    AnyUrl,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    Json,
    RootModel,
    SecretStr,
    computed_field,
    model_validator,
)
from starlette.requests import HTTPConnection
from typing_extensions import TypedDict

Ask = tuple[str, str, dict[str, Any]]
CASES: dict[str, tuple[Callable[[APIRouter], None], list[Ask]]] = {}


def case(*asked: str | Ask) -> Callable[[Callable[[APIRouter], None]], Callable[[APIRouter], None]]:
    """Register a case: routes, and requests. A request that is only a path is a GET."""

    def add(routes: Callable[[APIRouter], None]) -> Callable[[APIRouter], None]:
        CASES[routes.__name__] = routes, [(ask, "GET", {}) if isinstance(ask, str) else ask for ask in asked]
        return routes

    return add


class Point(BaseModel):
    x: int = 0
    y: int = 0


class Named(TypedDict):
    name: str


@dataclasses.dataclass
class Data:
    a: int
    b: list[str] = dataclasses.field(default_factory=list)


class Aliased(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    first_name: str = Field("Ann", alias="firstName")
    age: int | None = None
    tags: list[str] = []


@case("/tuple", "/dict", "/data", "/typed", "/set", "/none", "/number", "/text", "/bytes-like", "/list")
def results(router: APIRouter) -> None:  # noqa: C901  many short handlers
    @router.get("/tuple")
    async def of_tuple() -> tuple[int, str]:
        return 1, "a"

    @router.get("/dict")
    async def of_dict() -> dict[str, Any]:
        return {"a": Point(x=1), "when": datetime(2026, 1, 2, tzinfo=UTC), "d": Decimal("1.50"), "id": UUID(int=1)}

    @router.get("/data")
    async def of_data() -> Data:
        return Data(1, ["b"])

    @router.get("/typed")
    async def of_typed() -> Named:
        return {"name": "a"}

    @router.get("/set")
    async def of_set() -> set[int]:
        return {1}

    @router.get("/none")
    async def of_none() -> None: ...

    @router.get("/number")
    def of_number() -> float:
        return 1.5

    @router.get("/text")
    async def of_text():  # type: ignore[no-untyped-def]
        return "text"

    @router.get("/bytes-like")
    async def of_untyped():  # type: ignore[no-untyped-def]
        return {"data": Data(2), "point": Point(), "time": timedelta(seconds=3)}

    @router.get("/list")
    async def of_list() -> list[Point | Named]:
        return [Point(x=2), {"name": "b"}]


@case("/nothing", ("/nothing", "DELETE", {}), ("/accepted", "POST", {}), "/redirect", "/html")
def statuses(router: APIRouter) -> None:
    @router.get("/nothing", status_code=204)
    async def nothing() -> None: ...

    @router.delete("/nothing", status_code=204)
    async def remove():  # type: ignore[no-untyped-def]
        return Response(status_code=204)

    @router.post("/accepted", status_code=202)
    async def accept(response: Response) -> dict[str, str]:
        response.headers["x-job"] = "7"
        return {"job": "7"}

    @router.get("/redirect", response_class=RedirectResponse, status_code=302)
    async def redirect() -> str:
        return "/elsewhere"

    @router.get("/html", response_class=HTMLResponse)
    async def html() -> str:
        return "<p>"


@case("/either?plain=true", "/either", "/any", "/model-none")
def response_annotations(router: APIRouter) -> None:
    @router.get("/either", response_model=None)
    async def either(plain: bool = False) -> Response | dict[str, int]:
        return PlainTextResponse("plain") if plain else {"a": 1}

    @router.get("/any")
    async def of_response() -> Response:
        return JSONResponse({"a": 1}, headers={"x-a": "b"})

    @router.get("/model-none", response_model=None)
    async def none() -> Any:
        return Point(x=3)


@case("/include", "/exclude", "/name", "/unset", "/defaults", "/none", "/many")
def response_options(router: APIRouter) -> None:
    def answer() -> Aliased:
        return Aliased(firstName="Bob")

    options: dict[str, dict[str, Any]] = {
        "include": {"response_model_include": {"first_name"}},
        "exclude": {"response_model_exclude": {"age"}},
        "name": {"response_model_by_alias": False},
        "unset": {"response_model_exclude_unset": True},
        "defaults": {"response_model_exclude_defaults": True},
        "none": {"response_model_exclude_none": True},
    }
    for path, option in options.items():
        router.add_api_route(f"/{path}", answer, response_model=Aliased, name=path, **option)

    @router.get("/many", response_model=list[Aliased], response_model_exclude={"tags"})
    async def many() -> list[dict[str, Any]]:
        return [{"firstName": "Eve", "age": 3}]


@case(
    ("/embed", "POST", {"json": {"point": {"x": 1}}}),
    ("/embed", "POST", {"json": {"x": 1}}),
    ("/several", "POST", {"json": {"one": {"x": 1}, "other": {"y": 2}, "factor": 3}}),
    ("/several", "POST", {"json": {"one": {"x": 1}}}),
    ("/optional", "POST", {}),
    ("/optional", "POST", {"json": {"x": 4}}),
    ("/list", "POST", {"json": [{"x": 1}, {"y": 2}]}),
    ("/plain", "POST", {"json": {"any": ["thing"]}}),
    ("/union", "POST", {"json": {"kind": "b", "size": 3}}),
    ("/union", "POST", {"json": {"kind": "c"}}),
    ("/root", "POST", {"json": [1, 2]}),
    ("/validated", "POST", {"json": {"x": 1, "y": 1}}),
    ("/types", "POST", {"json": {"when": "2026-01-02T03:04:05Z", "day": "2026-01-02", "at": "03:04", "of": "PT3S"}}),
)
def bodies(router: APIRouter) -> None:  # noqa: C901  many short handlers
    @router.post("/embed")
    async def embed(point: Annotated[Point, Body(embed=True)]) -> Point:
        return point

    @router.post("/several")
    async def several(one: Point, other: Point, factor: Annotated[int, Body(gt=0)]) -> list[int]:
        return [one.x * factor, other.y * factor]

    @router.post("/optional")
    async def optional(point: Point | None = None) -> Point | None:
        return point

    @router.post("/list")
    async def of_list(points: list[Point]) -> int:
        return len(points)

    @router.post("/plain")
    async def plain(content: dict[str, Any]) -> dict[str, Any]:
        return content

    class A(BaseModel):
        kind: Literal["a"]

    class B(BaseModel):
        kind: Literal["b"]
        size: int

    @router.post("/union")
    async def union(of: Annotated[A | B, Field(discriminator="kind")]) -> A | B:
        return of

    @router.post("/root")
    async def root(numbers: RootModel[list[int]]) -> int:
        return sum(numbers.root)

    class Different(Point):
        @model_validator(mode="after")
        def differ(self) -> "Different":
            if self.x == self.y:
                raise ValueError("x and y are the same")
            return self

    @router.post("/validated")
    async def validated(point: Different) -> Different:
        return point

    class Times(BaseModel):
        when: datetime
        day: date
        at: time
        of: timedelta

        @computed_field
        def year(self) -> int:
            return self.when.year

    @router.post("/types")
    async def types(times: Times) -> Times:
        return times


class Filter(BaseModel):
    limit: int = Field(10, gt=0, le=100)
    order: Literal["name", "age"] = "name"
    tags: list[str] = []


class StrictFilter(Filter):
    model_config = ConfigDict(extra="forbid")


class Kind(str, Enum):  # noqa: UP042  as the documentation of FastAPI has it
    CUP = "cup"
    BOX = "box"


@case(
    "/model?limit=3&tags=a&tags=b",
    "/model?limit=0",
    "/strict?limit=3",
    "/strict?other=3",
    "/kinds/cup",
    "/kinds/nothing",
    "/numbers/5",
    "/numbers/0",
    "/numbers/x",
    "/files/a/b.txt",
    "/regex?word=abc",
    "/regex?word=ABC",
    "/alias?item-query=1",
    "/list?of=1&of=2",
    "/list",
    "/flags?on=yes&off=0",
    "/default",
)
def parameters(router: APIRouter) -> None:  # noqa: C901  many short handlers
    @router.get("/model")
    async def model(given: Annotated[Filter, Query()]) -> Filter:
        return given

    @router.get("/strict")
    async def strict(given: Annotated[StrictFilter, Query()]) -> StrictFilter:
        return given

    @router.get("/kinds/{kind}")
    async def kinds(kind: Kind) -> Kind:
        return kind

    @router.get("/numbers/{number}")
    async def numbers(number: Annotated[int, Path(ge=1, le=9)]) -> int:
        return number

    @router.get("/files/{path:path}")
    async def files(path: str) -> str:
        return path

    @router.get("/regex")
    async def regex(word: Annotated[str, Query(min_length=2, pattern="^[a-z]+$")]) -> str:
        return word

    @router.get("/alias")
    async def alias(item: Annotated[int, Query(alias="item-query", deprecated=True)]) -> int:
        return item

    @router.get("/list")
    async def lists(of: Annotated[list[int], Query()] = [9]) -> list[int]:  # noqa: B006
        return of

    @router.get("/flags")
    async def flags(on: bool, off: bool) -> list[bool]:
        return [on, off]

    @router.get("/default")
    async def default(q: str | None = None, n: int = Query(default=3)) -> list[Any]:
        return [q, n]


class Headers(BaseModel):
    x_token: str
    x_tag: list[str] = []


class Cookies(BaseModel):
    session_id: str
    theme: str | None = None


@case(
    ("/headers", "GET", {"headers": [("X-Token", "t"), ("X-Tag", "a"), ("X-Tag", "b")]}),
    "/headers",
    ("/cookies", "GET", {"headers": {"Cookie": "session_id=s; theme=dark"}}),
    ("/cookie", "GET", {"headers": {"Cookie": "ads_id=1"}}),
    "/cookie",
    ("/header", "GET", {"headers": {"User-Agent": "me", "strange_header": "s"}}),
)
def headers(router: APIRouter) -> None:
    @router.get("/headers")
    async def of_model(given: Annotated[Headers, Header()]) -> Headers:
        return given

    @router.get("/cookies")
    async def of_cookies(given: Annotated[Cookies, Cookie()]) -> Cookies:
        return given

    @router.get("/cookie")
    async def of_cookie(ads_id: Annotated[str | None, Cookie()] = None) -> str | None:
        return ads_id

    @router.get("/header")
    async def of_header(
        user_agent: Annotated[str | None, Header()] = None,
        strange_header: Annotated[str | None, Header(convert_underscores=False)] = None,
    ) -> list[str | None]:
        return [user_agent, strange_header]


class Login(BaseModel):
    username: str
    password: str
    remember: bool = False


@case(
    ("/login", "POST", {"data": {"username": "a", "password": "b", "remember": "on"}}),
    ("/login", "POST", {"data": {"username": "a"}}),
    ("/fields", "POST", {"data": {"name": "a", "tags": ["x", "y"]}}),
    ("/bytes", "POST", {"files": {"file": ("a.txt", b"abc")}}),
    ("/upload", "POST", {"files": {"file": ("a.txt", b"abc", "text/plain")}, "data": {"note": "n"}}),
    ("/upload", "POST", {"data": {"note": "n"}}),
    ("/many", "POST", {"files": [("files", ("a.txt", b"a")), ("files", ("b.txt", b"bc"))]}),
    ("/maybe", "POST", {}),
)
def forms(router: APIRouter) -> None:
    @router.post("/login")
    async def login(given: Annotated[Login, Form()]) -> Login:
        return given

    @router.post("/fields")
    async def fields(name: Annotated[str, Form()], tags: Annotated[list[str], Form()]) -> list[Any]:
        return [name, tags]

    @router.post("/bytes")
    async def of_bytes(file: Annotated[bytes, File()]) -> int:
        return len(file)

    @router.post("/upload")
    async def upload(file: UploadFile, note: Annotated[str, Form()]) -> list[Any]:
        return [file.filename, file.content_type, file.size, (await file.read()).decode(), note]

    @router.post("/many")
    async def many(files: list[UploadFile]) -> list[Any]:
        return [[file.filename, len(await file.read())] for file in files]

    @router.post("/maybe")
    async def maybe(file: UploadFile | None = None) -> str | None:
        return file.filename if file else None


class Pager:
    def __init__(self, skip: int = 0, limit: int = 10) -> None:
        self.skip, self.limit = skip, limit


class Checker:
    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, q: str = "") -> bool:
        return self.word in q


class Service:
    def method(self, q: str = "") -> str:
        return q.upper()

    @classmethod
    def create(cls, q: str = "") -> str:
        return q + "!"


COUNTED: list[int] = []


def counted() -> int:
    COUNTED.append(1)
    return len(COUNTED)


@case("/class?skip=3", "/instance?q=bar", "/method?q=a", "/cache", "/scope", "/nested?q=a", "/request?q=1", "/state")
def dependencies(router: APIRouter) -> None:  # noqa: C901  many short handlers
    @router.get("/class")
    async def of_class(pager: Annotated[Pager, Depends()]) -> list[int]:
        return [pager.skip, pager.limit]

    @router.get("/instance")
    async def of_instance(found: Annotated[bool, Depends(Checker("bar"))]) -> bool:
        return found

    @router.get("/method")
    async def of_method(
        one: Annotated[str, Depends(Service().method)], two: Annotated[str, Depends(Service.create)]
    ) -> list[str]:
        return [one, two]

    @router.get("/cache")
    async def cache(
        a: Annotated[int, Depends(counted)],
        b: Annotated[int, Depends(counted)],
        c: Annotated[int, Depends(counted, use_cache=False)],
    ) -> list[int]:
        return [b - a, c - a]

    async def opened(response: Response) -> AsyncIterator[str]:
        response.headers["x-opened"] = "yes"
        yield "open"

    @router.get("/scope")
    async def scope(
        a: Annotated[str, Depends(opened, scope="function")], b: Annotated[str, Depends(opened, scope="request")]
    ) -> list[str]:
        return [a, b]

    def inner(q: str = "") -> str:
        return f"({q})"

    def outer(of: Annotated[str, Depends(inner)], q: str = "") -> str:
        return of + q

    @router.get("/nested")
    async def nested(of: Annotated[str, Depends(outer)]) -> str:
        return of

    async def note(request: Request) -> None:
        request.state.noted = request.query_params.get("q")

    @router.get("/request", dependencies=[Depends(note)])
    async def of_request(request: Request) -> list[Any]:
        return [request.state.noted, request.url.path, request.method, request.client is not None]

    @router.get("/state")
    async def state(request: Request) -> list[Any]:
        return [request.app.state.shared, request.state.started]


@case("/422", "/404", "/418", "/late", "/own")
def failures(router: APIRouter) -> None:  # noqa: C901  many short handlers
    @router.get("/422")
    async def invalid(needed: int) -> int:
        return needed

    @router.get("/404")
    async def missing() -> None:
        raise HTTPException(404)

    @router.get("/418")
    async def teapot() -> None:
        raise HTTPException(418, detail={"a": 1}, headers={"x-tea": "green"})

    async def late() -> AsyncIterator[None]:
        yield
        raise HTTPException(409, "late")

    @router.get("/late", dependencies=[Depends(late, scope="function")])
    async def fail_late() -> str:
        return "answered"

    async def translating() -> AsyncIterator[None]:
        try:
            yield
        except KeyError as failure:
            raise HTTPException(410, "gone") from failure

    @router.get("/own", dependencies=[Depends(translating)])
    async def own() -> str:
        raise KeyError("own")


@case("/nested/router/path", "/class", ("/mail", "POST", {"json": {"mail": "a@b.example"}}))
def routers(router: APIRouter) -> None:
    inner = type(router)(prefix="/router", default_response_class=PlainTextResponse, route_class=router.route_class)
    inner.add_api_route("/path", lambda: "text", name="path")
    middle = APIRouter(prefix="/nested")
    middle.include_router(inner)
    router.include_router(middle)
    other = APIRouter(default_response_class=HTMLResponse, route_class=router.route_class)
    other.add_api_route("/class", lambda: "<p>", name="class")
    router.include_router(other)

    class Mail(BaseModel):
        mail: EmailStr

    @router.post("/mail")
    async def mail(given: Mail) -> Mail:
        return given


class Greeter:
    """A callable object and its methods, as handlers."""

    def __init__(self, word: str) -> None:
        self.word = word

    async def __call__(self, name: str = "you") -> str:
        return f"{self.word}, {name}"

    async def method(self, name: str) -> str:
        return f"{self.word} {name}"


def logged(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a handler, as a decorator of a library does."""

    @functools.wraps(handler)
    async def wrapper(*arguments: Any, **named: Any) -> Any:
        return [await handler(*arguments, **named), "logged"]

    return wrapper


@case(
    "/object?name=a",
    "/object",
    "/method/a",
    "/partial?factor=3",
    "/wrapped/2?b=3",
    "/keyword?b=1",
    "/lambda",
    "/coroutine",
)
def callables(router: APIRouter) -> None:
    async def times(factor: int, of: int) -> int:
        return factor * of

    @router.get("/wrapped/{a}")
    @logged
    async def wrapped(a: int, b: int) -> Any:
        return a + b

    @router.get("/keyword")
    async def keyword(*, a: int = 1, b: int) -> list[int]:
        return [a, b]

    router.add_api_route("/object", Greeter("Hello"), name="object")
    router.add_api_route("/method/{name}", Greeter("Hi").method, name="method")
    router.add_api_route("/partial", functools.partial(times, of=7), name="partial")
    router.add_api_route("/lambda", lambda: {"a": 1}, name="lambda")
    router.add_api_route("/coroutine", functools.partial(Greeter("Oh")), name="coroutine")


class Place(NamedTuple):
    x: int
    y: int = 2


@case(
    "/named",
    "/frozen",
    "/kind",
    "/decimal",
    "/uuid",
    "/path",
    "/deque",
    "/secret",
    "/url",
    "/zone",
    "/nan",
    "/keys",
    "/deep",
)
def unusual_results(router: APIRouter) -> None:  # noqa: C901  many short handlers
    @router.get("/named")
    async def named() -> Place:
        return Place(1)

    @router.get("/frozen")
    async def frozen() -> frozenset[str]:
        return frozenset({"a"})

    @router.get("/kind")
    async def kind() -> dict[Kind, Kind]:
        return {Kind.CUP: Kind.BOX}

    @router.get("/decimal")
    async def decimal() -> Decimal:
        return Decimal("1.10")

    @router.get("/uuid")
    async def uuid() -> UUID:
        return UUID(int=7)

    @router.get("/path")
    async def path():  # type: ignore[no-untyped-def]
        return {"path": pathlib.PurePosixPath("/a/b"), "pattern": re.compile("a+")}

    @router.get("/deque")
    async def of_deque() -> deque[int]:
        return deque([1, 2])

    @router.get("/secret")
    async def secret() -> dict[str, SecretStr]:
        return {"a": SecretStr("hidden")}

    @router.get("/url")
    async def url() -> AnyUrl:
        return AnyUrl("https://test.example/a")

    @router.get("/zone")
    async def zone() -> datetime:
        return datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2)))

    @router.get("/nan")
    async def nan() -> float:
        return float("nan")

    @router.get("/keys")
    async def keys() -> dict[int, tuple[int, ...]]:
        return {1: (2, 3)}

    @router.get("/deep")
    async def deep() -> list[dict[str, list[Point]]]:
        return [{"a": [Point(x=1)]}]


@case(
    "/times?day=2026-01-02&at=2026-01-02T03:04:05Z&of=PT1H",
    "/times?day=tomorrow&at=2026-01-02T03:04:05Z&of=PT1H",
    "/numbers?d=1.50&i=00000000-0000-0000-0000-000000000001&f=1e3",
    "/numbers?d=x&i=1&f=y",
    "/sets?of=1&of=1&of=2",
    "/chosen?of=a&of=b",
    "/chosen?of=c",
    "/json?given=[1,2]",
    "/json?given=[1,",
    "/made",
    "/bounded?n=5",
    "/bounded?n=7",
    "/optional?n=",
    "/secret?s=a",
    "/pair/1-2",
    "/any?a=1&b=2&b=3",
)
def unusual_parameters(router: APIRouter) -> None:  # noqa: C901  many short handlers
    @router.get("/times")
    async def times(day: date, at: datetime, of: timedelta) -> list[str]:
        return [repr(day), repr(at), repr(of)]

    @router.get("/numbers")
    async def numbers(d: Decimal, i: UUID, f: float) -> list[str]:
        return [repr(d), repr(i), repr(f)]

    @router.get("/sets")
    async def sets(of: Annotated[set[int], Query()]) -> list[int]:
        return sorted(of)

    @router.get("/chosen")
    async def chosen(of: Annotated[list[Literal["a", "b"]], Query()]) -> list[str]:
        return [*of]

    @router.get("/json")
    async def json(given: Annotated[Json[list[int]], Query()]) -> int:
        return sum(given)

    @router.get("/made")
    async def made(of: Annotated[list[int], Query(default_factory=lambda: [4])]) -> list[int]:
        return of

    @router.get("/bounded")
    async def bounded(n: Annotated[int, Query(multiple_of=5), Field(gt=0)]) -> int:
        return n

    @router.get("/optional")
    async def optional(n: int | None = None) -> int | None:
        return n

    @router.get("/secret")
    async def secret(s: SecretStr) -> str:
        return s.get_secret_value() + str(s)

    @router.get("/pair/{a}-{b}")
    async def pair(a: int, b: int) -> int:
        return a + b

    @router.get("/any")
    async def any_of(request: Request) -> list[tuple[str, str]]:
        return request.query_params.multi_items()


@case(
    ("/stream", "POST", {"content": b"abc", "headers": {"content-type": "text/plain"}}),
    ("/body", "POST", {"content": b"abc", "headers": {"content-type": "application/octet-stream"}}),
    ("/json", "POST", {"json": {"a": [1]}}),
    ("/form", "POST", {"data": {"a": "b"}}),
    "/connected",
    "/headers",
    "/url",
    "/cookies",
    "/scope",
)
def requests(router: APIRouter) -> None:  # noqa: C901  many short handlers
    @router.post("/stream")
    async def stream(request: Request) -> int:
        return sum([len(part) async for part in request.stream()])

    @router.post("/body")
    async def body(request: Request) -> list[Any]:
        return [(await request.body()).decode(), len(await request.body())]

    @router.post("/json")
    async def json(request: Request) -> Any:
        return await request.json()

    @router.post("/form")
    async def form(request: Request) -> list[Any]:
        async with request.form() as given:
            return given.multi_items()

    @router.get("/connected")
    async def connected(request: Request) -> bool:
        return await request.is_disconnected()

    @router.get("/headers")
    async def headers(request: Request) -> list[str]:
        return [request.headers["host"], request.headers.get("x-none", "none")]

    @router.get("/url", name="the url")
    async def url(request: Request) -> list[str]:
        return [str(request.url), str(request.base_url), str(request.url_for("the url"))]

    @router.get("/cookies")
    async def cookies(request: Request, response: Response) -> dict[str, str]:
        response.set_cookie("a", "b", httponly=True)
        return request.cookies

    @router.get("/scope")
    async def scope(connection: HTTPConnection) -> list[Any]:
        return [connection.scope["type"], connection.scope["route"].path, connection.path_params]


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
    yield {"started": "yes"}


class WithState(httpx.AsyncBaseTransport):
    """A transport that passes on the state of the lifespan, as a server does."""

    def __init__(self, app: Any, state: dict[str, Any]) -> None:
        async def serve(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state)}, receive, send)

        self.inner = httpx.ASGITransport(serve, raise_app_exceptions=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)


SAME_HEADERS = ("content-type", "location", "x-job", "x-opened", "x-a", "set-cookie")


async def answers(app: Any, asked: list[Ask]) -> list[Any]:
    """Return the responses of an application. Error responses are compared by status only."""
    app.state.shared = "shared"
    async with (
        app.router.lifespan_context(app) as state,
        httpx.AsyncClient(transport=WithState(app, state), base_url="http://test") as client,
    ):
        results: list[Any] = []
        for path, method, options in asked:
            answer = await client.request(method, path, **options)
            headers = [answer.headers.get(name) for name in SAME_HEADERS] if answer.content else []
            shown = (answer.text, headers) if answer.status_code < 400 else None
            results.append((method, path, answer.status_code, shown))
        return results


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True, scope="session")
async def test_the_kit_behaves_as_fastapi(new_router: Any, new_service: Any, name: str) -> None:
    routes, asked = CASES[name]
    router, plain = new_router(), APIRouter()
    routes(router)
    routes(plain)
    fastapi = FastAPI(lifespan=lifespan)
    fastapi.include_router(plain)
    assert await answers(new_service(router, lifespan=lifespan), asked) == await answers(fastapi, asked)
