"""Dependencies: with `yield`, with sub-dependencies, with the session, with scopes, and shared within a request."""

import functools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
import sqlalchemy.orm
import sqlmodel
from fastapi import APIRouter, Depends, HTTPException, Request, Security
from fastapi.security import APIKeyHeader, HTTPBasic, HTTPBasicCredentials, OAuth2PasswordBearer, SecurityScopes
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import func, select
from starlette.requests import HTTPConnection

from kit import ReadSession, Session, allowing, get_read_session
from tests.kit.habits import postponed
from tests.kit.habits.conftest import Serve
from tests.kit.habits.items import NO_BOX, HabitItem, HabitItemQuery


async def test_cleanup_runs_after_the_commit_and_the_answer(router: APIRouter, serve: Any, names: Any) -> None:
    seen: list[Any] = []

    async def resource() -> AsyncIterator[str]:
        yield "resource"
        seen.append(await names())

    @router.post("/items")
    async def create(value: Annotated[str, Depends(resource)], session: Session) -> str:
        session.add(HabitItem(name="cup"))
        return value

    client = await serve(router)
    assert (await client.post("/items")).json() == "resource"
    assert seen == [["cup"]]


async def test_cleanup_sees_the_exception_of_the_handler(router: APIRouter, serve: Any, names: Any) -> None:
    seen: list[str] = []

    async def resource() -> AsyncIterator[None]:
        try:
            yield
        except KeyError as failure:
            seen.append(type(failure).__name__)
            raise HTTPException(418, "Short and stout.") from failure

    @router.post("/items", dependencies=[Depends(resource)])
    async def create(session: Session) -> None:
        session.add(HabitItem(name="cup"))
        raise KeyError

    client = await serve(router)
    answer = await client.post("/items")
    assert (answer.status_code, answer.json()["detail"]) == (418, "Short and stout.")
    assert seen == ["KeyError"]
    assert await names() == []


async def test_a_generator_that_is_not_async_is_a_dependency(router: APIRouter, serve: Any) -> None:
    seen: list[str] = []

    def resource() -> Iterator[str]:
        yield "resource"
        seen.append("closed")

    @router.get("/a")
    async def read(value: Annotated[str, Depends(resource)]) -> str:
        return value

    client = await serve(router)
    assert (await client.get("/a")).json() == "resource"
    assert seen == ["closed"]


class Items:
    """A repository class that takes the session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def add(self, name: str) -> None:
        self.session.add(HabitItem(name=name))


async def test_a_repository_takes_the_session(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/items")
    async def create(items: Annotated[Items, Depends()]) -> None:
        items.add("cup")

    client = await serve(router)
    assert (await client.post("/items")).status_code == 200
    assert await names() == ["cup"]


async def test_a_dependency_with_yield_takes_the_session(router: APIRouter, serve: Any, names: Any) -> None:
    async def items(session: Session) -> AsyncIterator[Items]:
        async with session.begin_nested():
            yield Items(session)

    @router.post("/items", dependencies=[])
    async def create(items: Annotated[Items, Depends(items, scope="function")]) -> None:
        items.add("cup")

    @router.post("/late")
    async def late(items: Annotated[Items, Depends(items)]) -> None:
        items.add("plate")

    client = await serve(router)
    assert (await client.post("/items")).status_code == 200
    assert await names() == ["cup"]


async def test_all_dependencies_of_a_request_share_one_session(router: APIRouter, serve: Any, names: Any) -> None:
    async def first(session: Session) -> Any:
        session.add(HabitItem(name="first"))
        return session

    async def second(session: Session) -> Any:
        return list(await session.exec(select(HabitItem.name)))

    @router.post("/items")
    async def create(
        one: Annotated[Any, Depends(first)], seen: Annotated[Any, Depends(second)], session: Session
    ) -> list[Any]:
        return [one is session, seen]

    client = await serve(router)
    assert (await client.post("/items")).json() == [True, ["first"]]
    assert await names() == ["first"]


async def test_writes_of_a_dependency_are_rolled_back_if_the_handler_fails(
    router: APIRouter, serve: Any, names: Any
) -> None:
    async def audit(session: Session) -> None:
        session.add(HabitItem(name="audit"))
        await session.flush()

    @router.post("/items", dependencies=[Depends(audit)])
    async def create() -> None:
        raise HTTPException(400, "No.")

    @router.post("/failing", dependencies=[Depends(audit)])
    async def fail(session: Session) -> None:
        session.add(HabitItem(name="cup", box_id=NO_BOX))

    client = await serve(router)
    assert (await client.post("/items")).status_code == 400
    assert (await client.post("/failing")).status_code == 409
    assert await names() == []


async def test_a_dependency_is_called_once_unless_use_cache_is_false(router: APIRouter, serve: Any) -> None:
    calls: list[int] = []

    def count() -> int:
        calls.append(1)
        return len(calls)

    @router.get("/a")
    async def read(
        a: Annotated[int, Depends(count)],
        b: Annotated[int, Depends(count)],
        c: Annotated[int, Depends(count, use_cache=False)],
    ) -> list[int]:
        return [a, b, c]

    client = await serve(router)
    assert (await client.get("/a")).json() == [1, 1, 2]


async def test_security_scopes_reach_the_dependency(router: APIRouter, serve: Any) -> None:
    def current(scopes: SecurityScopes, key: Annotated[str | None, Security(APIKeyHeader(name="X-Key"))]) -> list[str]:
        if key != "right":
            raise HTTPException(403, "Wrong key.")
        return scopes.scopes

    @router.get("/a")
    async def read(scopes: Annotated[list[str], Security(current, scopes=["items:read", "me"])]) -> list[str]:
        return scopes

    client = await serve(router)
    assert (await client.get("/a", headers={"X-Key": "right"})).json() == ["items:read", "me"]
    assert (await client.get("/a", headers={"X-Key": "wrong"})).status_code == 403
    assert (await client.get("/a")).status_code == 401
    document = (await client.get("/openapi.json")).json()
    assert "APIKeyHeader" in document["components"]["securitySchemes"]
    assert {"APIKeyHeader": ["items:read", "me"]} in document["paths"]["/a"]["get"]["security"]


async def test_security_schemes_of_fastapi_work(router: APIRouter, serve: Any) -> None:
    @router.get("/basic")
    async def basic(credentials: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> str:
        return credentials.username

    @router.get("/bearer")
    async def token(value: Annotated[str, Depends(OAuth2PasswordBearer(tokenUrl="other"))]) -> str:
        return value

    client = await serve(router)
    assert (await client.get("/basic", auth=("steve", "x"))).json() == "steve"
    refused = await client.get("/basic")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Basic")
    assert (await client.get("/bearer")).status_code == 401


def decorated(handler: Any) -> Any:
    @functools.wraps(handler)
    async def wrapper(*values: Any, **arguments: Any) -> Any:
        return {"wrapped": await handler(*values, **arguments)}

    return wrapper


def plainly_decorated(handler: Any) -> Any:
    @functools.wraps(handler)
    def wrapper(*values: Any, **arguments: Any) -> Any:
        return handler(*values, **arguments)

    return wrapper


async def test_a_decorated_handler_works(router: APIRouter, serve: Any) -> None:
    @router.get("/async")
    @decorated
    async def read(q: str, session: ReadSession) -> Any:
        return q

    @router.get("/plain")
    @plainly_decorated
    async def plain(q: str) -> str:
        return q

    @router.get("/lines")
    @plainly_decorated
    async def lines() -> AsyncIterator[int]:
        yield 1

    client = await serve(router)
    assert (await client.get("/async?q=x")).json() == {"wrapped": "x"}
    assert (await client.get("/plain?q=x")).json() == "x"
    assert (await client.get("/lines")).text == "1\n"


class Greeter:
    """An object that is a handler."""

    async def __call__(self, name: str, session: Session) -> str:
        session.add(HabitItem(name=name))
        return f"Hello {name}"

    async def bye(self, name: str) -> str:
        return f"Bye {name}"


async def test_objects_and_partials_are_handlers(router: APIRouter, serve: Any, names: Any) -> None:
    async def greet(greeting: str, name: str) -> str:
        return f"{greeting} {name}"

    router.post("/object", name="greet")(Greeter())
    router.post("/method")(Greeter().bye)
    router.post("/partial", name="partial")(functools.partial(greet, "Hi"))
    client = await serve(router)
    assert (await client.post("/object?name=steve")).json() == "Hello steve"
    assert (await client.post("/method?name=steve")).json() == "Bye steve"
    assert (await client.post("/partial?name=steve")).json() == "Hi steve"
    assert await names() == ["steve"]


async def test_postponed_annotations_work(router: APIRouter, serve: Any) -> None:
    postponed.add_routes(router)
    client = await serve(router)
    assert (await client.post("/items", json={"name": "cup"})).status_code == 201
    assert (await client.get("/items/1")).json()["name"] == "cup"
    assert (await client.post("/sizes", json=4)).json() == 8


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_both_sessions_of_a_writing_handler_are_the_same(router: APIRouter, serve: Any) -> None:
    @router.post("/items")
    async def create(reading: ReadSession, writing: Session) -> bool:
        sessions: list[Any] = [reading, writing]
        return sessions[0] is sessions[1]

    client = await serve(router)
    assert (await client.post("/items")).json() is True


@pytest.mark.parametrize("kind", [sqlmodel.Session, sqlalchemy.orm.Session, AsyncSession])
def test_a_session_of_a_library_is_refused_with_the_one_to_import(kind: Any) -> None:
    async def create(db: Any) -> None: ...

    create.__annotations__["db"] = kind
    with pytest.raises(TypeError, match=r"create takes `db: \w*Session` of .*: import `Session`, or `ReadSession`"):
        APIRouter(route_class=allowing()).post("/")(create)


class Counter:
    """A class as a dependency, as FastAPI's documentation has it."""

    def __init__(self, db: AsyncSession) -> None: ...


def count(db: AsyncSession) -> None: ...


def total(counted: Annotated[None, Depends(count)]) -> None: ...


async def takes_a_class(counter: Annotated[Counter, Depends()]) -> None: ...


async def takes_a_function(number: Annotated[int, Depends(total)]) -> None: ...


async def takes_a_default(number: int = Depends(total)) -> None: ...


@pytest.mark.parametrize("handler", [takes_a_class, takes_a_function, takes_a_default])
def test_a_session_of_a_library_is_refused_in_a_dependency(handler: Any) -> None:
    with pytest.raises(TypeError, match=r"[Cc]ount\w* takes `db: AsyncSession` of .*: import `Session`"):
        APIRouter(route_class=allowing()).post("/")(handler)


async def test_a_session_may_have_the_annotation_of_a_library(router: APIRouter, serve: Serve) -> None:
    @router.get("/count")
    async def count(db: AsyncSession = Depends(get_read_session)) -> int:  # noqa: B008  as FastAPI had it
        return await db.scalar(select(func.count()).select_from(HabitItem)) or 0

    assert (await (await serve(router)).get("/count")).json() == 0


class Tools:
    """Methods that are dependencies."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def opened(self, request: Request) -> AsyncIterator[str]:
        self.seen.append("open")
        yield request.method
        self.seen.append("closed")

    def also_opened(self, request: Request) -> Iterator[str]:
        self.seen.append("open")
        yield request.method
        self.seen.append("closed")

    async def counted(self, request: Request) -> int:
        self.seen.append(request.method)
        return len(self.seen)

    def thread(self, request: Request) -> bool:
        return threading.current_thread() is threading.main_thread()


class Threaded:
    def __init__(self, request: Request) -> None:
        self.is_main = threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize("name", ["opened", "also_opened"])
async def test_a_method_with_yield_is_a_dependency(router: APIRouter, serve: Any, name: str) -> None:
    tools = Tools()

    @router.get("/a")
    async def read(value: Annotated[str, Depends(getattr(tools, name))]) -> str:
        return value

    @router.post("/a")
    async def write(value: Annotated[str, Depends(getattr(tools, name))], session: Session) -> str:
        return value

    client = await serve(router)
    assert [(await client.get("/a")).json(), (await client.post("/a")).json()] == ["GET", "POST"]
    assert tools.seen == ["open", "closed"] * 2


async def test_methods_and_classes_that_are_not_async_run_in_a_thread(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    async def read(is_main: Annotated[bool, Depends(Tools().thread)], other: Annotated[Threaded, Depends()]) -> Any:
        return [is_main, other.is_main]

    assert (await (await serve(router)).get("/a")).json() == [False, False]


async def test_a_dependency_of_two_parameters_is_called_once(router: APIRouter, serve: Any) -> None:
    tools = Tools()

    @router.get("/once")
    async def once(a: Annotated[int, Depends(tools.counted)], b: Annotated[int, Depends(tools.counted)]) -> int:
        return b - a

    @router.get("/twice")
    async def twice(
        a: Annotated[int, Depends(tools.counted)], b: Annotated[int, Depends(tools.counted, use_cache=False)]
    ) -> int:
        return b - a

    client = await serve(router)
    assert [(await client.get("/once")).json(), (await client.get("/twice")).json()] == [0, 1]


async def test_a_dependency_takes_the_request_and_the_connection(router: APIRouter, serve: Any) -> None:
    async def both(request: Request, connection: HTTPConnection) -> bool:
        return request.scope is connection.scope

    @router.get("/a")
    async def read(is_same: Annotated[bool, Depends(both)]) -> bool:
        return is_same

    assert (await (await serve(router)).get("/a")).json() is True


class OpenedQuery(HabitItemQuery):
    """A query of a list with a constructor and a dependency of its own."""

    model, read = HabitItemQuery.model, HabitItemQuery.read

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.is_main = threading.current_thread() is threading.main_thread()

    @classmethod
    async def opened(cls, request: Request) -> AsyncIterator[Any]:
        yield await cls.of_one(request)


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_a_query_of_a_list_may_have_own_dependencies(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    async def read(query: Annotated[OpenedQuery, Depends(OpenedQuery.opened)]) -> list[str] | None:
        return query.fields

    @router.get("/b")
    async def read_all(query: Annotated[OpenedQuery, Depends()], same: Annotated[OpenedQuery, Depends()]) -> list[bool]:
        return [query.is_main, query is same]

    client = await serve(router)
    assert (await client.get("/a?fields=name")).json() == ["name"]
    assert (await client.get("/b")).json() == [False, True]
