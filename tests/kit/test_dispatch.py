"""The way to a route: the short one, and FastAPI's own for what wants more."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response

from heroes.team import Team
from kit.database.databases import Database
from kit.fast.dispatch import Dispatch
from kit.operations.unit_of_work import ReadSession, UnitOfWork
from tests.conftest import Client
from tests.probe import probing
from tests.shop import made

closed: list[str] = []


async def something() -> AsyncIterator[str]:
    yield "something"
    closed.append("something")


def of_the_request(request: Request) -> str:
    return request.method


OfRequest = Annotated[str, Depends(of_the_request)]
Something = Annotated[str, Depends(something)]
router = APIRouter(prefix="/probes", tags=["probes"], route_class=UnitOfWork)


@router.get("/yielding")
async def depend_on_what_is_closed_again(session: ReadSession, given: Something) -> dict[str, str]:
    return {"given": given}


@router.get("/header")
async def depend_on_a_header(session: ReadSession, x_colour: Annotated[str, Header()]) -> dict[str, str]:
    return {"given": x_colour}


@router.get("/in-a-thread")
async def depend_on_what_may_block(given: OfRequest) -> dict[str, str]:
    return {"given": given}


@router.get("/teapot")
async def be_a_teapot() -> None:
    raise HTTPException(418, "I am a teapot.")


@router.get("/custom")
async def fail_in_a_way_of_its_own() -> None:
    raise LookupError("mine")


@pytest.fixture
async def probed(app: FastAPI) -> AsyncIterator[Client]:
    async with probing(app, router) as client:
        yield client


async def given(client: Client, path: str, **arguments: Any) -> Any:
    return (await client.get(f"/probes/{path}", **arguments)).raise_for_status().json()["given"]


async def test_a_handler_may_want_whatever_fastapi_knows(probed: Client) -> None:
    closed.clear()
    assert await given(probed, "yielding") == "something"
    assert closed == ["something"]
    assert await given(probed, "in-a-thread") == "GET"
    assert await given(probed, "header", headers={"X-Colour": "red"}) == "red"
    assert (await probed.get("/probes/header")).json()["errors"][0]["pointer"] == "x-colour"


async def test_an_exception_is_answered_by_its_handler(app: FastAPI, probed: Client) -> None:
    answer = await probed.get("/probes/teapot")
    assert (answer.status_code, answer.json()["detail"]) == (418, "I am a teapot.")

    def answer_lookup(_: Request, failure: Exception) -> Response:
        return Response(str(failure), 410)

    app.add_exception_handler(LookupError, answer_lookup)
    assert (await probed.get("/probes/custom")).text == "mine"
    del app.exception_handlers[LookupError]
    assert (await probed.get("/probes/custom")).status_code == 500


async def test_under_a_prefix_of_a_proxy_the_way_is_the_same(app: FastAPI, client: Client) -> None:
    team = await made(client, "/teams/", name="Z-Force", headquarters="X")
    transport = httpx.ASGITransport(app, root_path="/api")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as behind:
        assert (await behind.get(f"/api/teams/{team['id']}")).json() == team
        assert (await behind.get("/api/nowhere")).status_code == 404


async def test_what_is_no_path_has_no_route(app: FastAPI) -> None:
    dispatch = Dispatch(app, app.router.routes)
    for path in ("*", "", "/", "//", "example.com:443"):
        assert dispatch.find({"method": "GET", "path": path, "root_path": ""}) is None


async def test_a_read_session_without_a_query_costs_nothing(database: Database) -> None:
    async with database.read() as session:
        assert "_session" not in vars(session)
        assert await session.get(Team, 1) is None
        assert "_session" not in vars(session)
