"""Tokens over HTTP: where they are sent, what a request with one reads, and what it costs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import APIRouter, BackgroundTasks, WebSocket
from sqlalchemy import text
from starlette.responses import StreamingResponse

from kit import Database, Layers, ReadSession, Service, Session, allowing, runtime_of
from kit.database.urls import parsed
from kit.replicas import install
from kit.replicas.positions import UNKNOWN_POSITION, Position
from kit.replicas.tokens import Tokens
from tests.engines import Client
from tests.kit.bookshop import Book
from tests.kit.probes import BOOK, new_book, read
from tests.kit.replicas.bookshops import PRIMARY, bookshop_on, counted_reads, router_of
from tests.kit.replicas.test_own_writes import paused
from tests.kit.service import FAST_PATH, KEY, client_of, create_runtime, create_service
from tests.replication import Cluster

HEADER = "Read-After"
ORIGIN = "https://page.example"
COUNT = text("SELECT count(*) FROM kit_book")
router = APIRouter(route_class=allowing())
plain = APIRouter()
seen: list[Any] = []


async def count(session: Any) -> int:
    return int((await session.execute(COUNT)).scalar_one())


@router.get("/together")
async def together(session: ReadSession) -> list[int]:
    return await session.gather(*[count] * 4)


@router.post("/later")
async def later(session: Session, tasks: BackgroundTasks) -> str:
    async def look() -> None:
        seen.append(await count(session))

    session.add(Book.model_validate(BOOK))
    tasks.add_task(look)
    return ""


@router.get("/stream")
async def stream(session: ReadSession) -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        async for (number,) in await session.stream(COUNT):
            yield str(number)

    return StreamingResponse(parts(), media_type="text/plain")


@plain.get("/plain")
async def plain_read(session: ReadSession) -> int:
    return await count(session)


@plain.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    """Read, write, and read again."""
    database = runtime_of(websocket).database
    await websocket.accept()
    async with database.read() as session:
        await websocket.send_json(await count(session))
    async with database.write() as writing, writing.begin():
        writing.add(Book.model_validate(BOOK))
    async with database.read() as session:
        await websocket.send_json(await count(session))
    await websocket.close()


@pytest.fixture(
    params=[pytest.param(False, marks=pytest.mark.untraced), True] if FAST_PATH else [False],
    ids=lambda fast: "fast" if fast else "plain",
)
async def service(request: pytest.FixtureRequest, cluster: Cluster) -> AsyncIterator[Service]:
    """Provide the bookshop with these routes, which a page of another origin may call."""
    options = {"layers": Layers(origins=[ORIGIN]), "fast": request.param}
    async with bookshop_on(cluster, router, plain, **options) as service:
        yield service


async def test_every_response_that_has_read_or_written_has_a_token(client: Client) -> None:
    book = await client.post("/books/", json=BOOK)
    path = f"/books/{book.json()['id']}"
    for method, where, status in [
        ("GET", path, 200),
        ("GET", "/books/", 200),
        ("HEAD", path, 200),
        ("DELETE", path, 204),
    ]:
        answer = await client.request(method, where)
        assert (answer.status_code, len(answer.headers.get_list(HEADER))) == (status, 1)
        assert answer.headers["set-cookie"].startswith(f"read_after={answer.headers[HEADER]}; Path=/; Max-Age=60; ")
        assert answer.headers["set-cookie"].endswith("HttpOnly; SameSite=Lax")
    assert HEADER in (await client.get(path)).headers  # a 404 has read too
    for other in ("/health/live", "/docs"):
        assert HEADER not in (await client.get(other)).headers


async def test_the_cookie_is_secure_over_https(service: Service) -> None:
    async with client_of(service) as client:
        client.base_url = "https://test"
        assert (await client.get("/books/")).headers["set-cookie"].endswith("; Secure")


async def test_a_not_modified_response_has_a_token(client: Client) -> None:
    book = await client.post("/books/", json=BOOK)
    path = f"/books/{book.json()['id']}"
    answer = await client.get(path, headers={"If-None-Match": book.headers["etag"]})
    assert (answer.status_code, HEADER in answer.headers) == (304, True)


@pytest.mark.parametrize("kind", ["forged", "foreign", "future", "other timeline"])
async def test_with_a_token_that_is_not_ours_the_primary_answers(service: Service, client: Client, kind: str) -> None:
    await client.get("/books/")
    client.cookies.clear()
    system, primary = router_of(service).system, router_of(service).primary.position
    token = {
        "forged": "1.16.AAAAAAAAAAAAAAAA",
        "foreign": Tokens([KEY], "7").issue(primary),
        "future": Tokens([KEY], system).issue(Position(primary.timeline, primary.lsn + 2**30)),
        "other timeline": Tokens([KEY], system).issue(Position(7, 1)),
    }[kind]
    with counted_reads() as counted:
        answer = await client.get("/books/", headers={HEADER: token})
    assert (counted(), counted(PRIMARY)) == (0, 1)
    assert Tokens([KEY], system).read(answer.headers[HEADER]) <= router_of(service).primary.position


async def test_the_newest_of_several_tokens_counts(client: Client, cluster: Cluster) -> None:
    old = (await client.get("/books/")).headers[HEADER]
    async with paused(*cluster.standbys):
        book = await new_book(client)
        answer = await client.get(f"/books/{book['id']}", headers={HEADER: old})  # and the cookie
        assert answer.status_code == 200


async def test_coalesced_reads_honour_the_newest_token(service: Service, client: Client, cluster: Cluster) -> None:
    async with paused(*cluster.standbys), client_of(service) as other:
        for _ in range(5):
            book = await new_book(client)
            path = f"/books/{book['id']}"
            without, own = await asyncio.gather(other.get(path), client.get(path))
            other.cookies.clear()
            assert own.status_code == 200
            assert without.status_code == 404


async def test_concurrent_reads_of_one_request_see_the_same_or_newer(client: Client, cluster: Cluster) -> None:
    async with paused(*cluster.standbys):
        await new_book(client)
        assert await read(client, "/together") == [1] * 4


async def test_a_background_task_reads_what_its_request_has_written(client: Client, cluster: Cluster) -> None:
    seen.clear()
    async with paused(*cluster.standbys):
        assert (await client.post("/later")).status_code == 200
    assert seen == [1]


@pytest.mark.usefixtures("patience")
async def test_after_a_stream_the_primary_answers_because_more_may_have_been_seen(
    service: Service, client: Client, cluster: Cluster
) -> None:
    await new_book(client)
    with counted_reads() as counted:
        answer = await client.get("/stream")
    assert (answer.text, counted()) == ("1", 1)
    assert Tokens([KEY], router_of(service).system).read(answer.headers[HEADER]) == UNKNOWN_POSITION
    with counted_reads() as counted:
        await read(client, "/books/")
        await read(client, "/books/")
    assert counted(PRIMARY) == 1


@pytest.mark.usefixtures("patience")
async def test_a_plain_route_reads_from_standbys(client: Client) -> None:
    await new_book(client)
    with counted_reads() as counted:
        assert await read(client, "/plain") == 1
    assert counted() == 1


async def test_a_plain_route_reads_what_was_written(client: Client, cluster: Cluster) -> None:
    async with paused(*cluster.standbys):
        await new_book(client)
        assert await read(client, "/plain") == 1


async def test_a_repeated_answer_has_a_token_of_the_first_effect(client: Client, cluster: Cluster) -> None:
    headers = {"Idempotency-Key": "once"}
    async with paused(*cluster.standbys):
        first = await client.post("/books/", json=BOOK, headers=headers)
        client.cookies.clear()
        again = await client.post("/books/", json=BOOK, headers=headers)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (await client.get(f"/books/{first.json()['id']}")).status_code == 200


async def test_a_refused_write_has_a_token_of_what_it_has_seen(
    service: Service, client: Client, cluster: Cluster
) -> None:
    async with paused(*cluster.standbys), client_of(service) as other:
        shelf = await client.post("/shelves/", json={"name": "Poetry", "room": "Reading room"})
        assert (await other.post("/shelves/", json={"name": "Poetry", "room": "Reading room"})).status_code == 409
        assert (await other.get(f"/shelves/{shelf.json()['id']}")).status_code == 200


async def test_rows_of_a_group_commit_are_read_by_their_clients(service: Service, cluster: Cluster) -> None:
    async def create_and_read() -> int:
        async with client_of(service) as client:
            book = await new_book(client)
            return (await client.get(f"/books/{book['id']}")).status_code

    async with paused(*cluster.standbys):
        assert set(await asyncio.gather(*(create_and_read() for _ in range(20)))) == {200}


async def test_pages_of_other_origins_may_read_and_send_the_header(client: Client) -> None:
    answer = await client.get("/books/", headers={"Origin": ORIGIN})
    assert HEADER in answer.headers["access-control-expose-headers"]
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "read-after"}
    assert (await client.options("/books/", headers=asked)).status_code == 200


async def test_the_document_mentions_the_header(service: Service) -> None:
    operation = service.openapi()["paths"]["/books/{book_id}"]["get"]
    assert operation["responses"]["200"]["headers"][HEADER] == {"$ref": f"#/components/headers/{HEADER}"}
    assert {"$ref": f"#/components/parameters/{HEADER}"} in operation["parameters"]
    assert HEADER not in str(bookshop_without_standbys().openapi())


def bookshop_without_standbys() -> Service:
    service = create_service(create_runtime(Database(parsed("postgresql://localhost/none"))))
    install(service, [], 10)
    return service


async def test_without_standbys_nothing_is_sent(database: Database) -> None:
    service = create_service(create_runtime(database))
    install(service, [], 10)
    async with client_of(service) as client:
        answer = await client.post("/books/", json=BOOK)
        assert not {HEADER.lower(), "set-cookie"} & answer.headers.keys()


async def test_before_the_start_the_primary_answers(cluster: Cluster) -> None:
    async with bookshop_on(cluster) as service:
        pass
    async with client_of(service) as client:
        assert HEADER not in (await client.get("/books/")).headers
    await service.runtime.database.dispose()
