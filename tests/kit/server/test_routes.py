"""`make routes`: a table of all routes, by path."""

import os
import runpy
import sys
from pathlib import Path

import pytest
from fastapi import APIRouter
from starlette.routing import Host, Mount

from kit import Service, Who, allowing
from kit.http.paths import other_slash
from kit.server.route_listing import describe_routes
from tests.kit.server.small import MEMBER, asking, bearer, small_service
from tests.kit.service import FAST_PATH, install_fast_path

HERE = os.path.relpath(__file__)


def make_service(pages: Path) -> Service:
    router = APIRouter(prefix="/things", route_class=allowing(read=Who.MEMBERS, create=Who.ANYONE, change=Who.OWNERS))

    @router.get("/")
    async def list_things() -> None: ...

    @router.post("/")
    async def create_thing() -> None: ...

    @router.put("/")
    async def replace_thing() -> None: ...

    @router.websocket("/ws")
    async def follow_things() -> None: ...

    service = small_service(router, public={"POST /things/", "MOUNT /sub", "FRONTEND /app"})
    service.router.routes += [Mount("/sub", small_service()), Host("admin.example.com", small_service())]
    service.frontend("/app", directory=pages)
    service.frontend("/app/admin", directory=pages)
    return service


def test_each_route_has_a_line_with_its_path_permission_and_source(tmp_path: Path) -> None:
    lines = describe_routes(make_service(tmp_path)).splitlines()
    assert lines == sorted(lines, key=lambda line: line.split()[1])
    assert len({line.index(line.split()[1]) for line in lines}) == 1, "aligned"
    rows = {tuple(line.split()[:3]): line.split()[3] for line in lines}
    assert rows["GET", "/things/", "members"] == f"{HERE}:{line_of('list_things') - 1}"
    assert ("POST", "/things/", "anyone") in rows
    assert ("PUT", "/things/", "owners") in rows
    assert ("WEBSOCKET", "/things/ws", "superusers") in rows
    assert ("FRONTEND", "/app", "anyone") in rows
    assert ("FRONTEND", "/app/admin", "superusers") in rows
    assert rows["MOUNT", "/sub", "anyone"] == "kit.server.service.Service"
    assert ("HOST", "admin.example.com", "superusers") in rows
    assert rows["GET", "/health/live", "anyone"].startswith("kit/server/health.py:")


def line_of(handler: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if f"async def {handler}(" in line)


def test_the_command_prints_the_routes_of_the_application_that_it_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kit.server", "tests.kit.server.test_routes:app"])
    runpy.run_module("kit.server", run_name="__main__")
    assert "/health/live" in capsys.readouterr().out


def test_the_command_ends_with_the_message_of_a_refused_route(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = small_service(public={"GET /nowhere"})
    monkeypatch.setattr(sys.modules["tests.kit.server.test_routes"], "refused", refused, raising=False)
    monkeypatch.setattr(sys, "argv", ["kit.server", "tests.kit.server.test_routes:refused"])
    with pytest.raises(SystemExit, match="GET /nowhere"):
        runpy.run_module("kit.server", run_name="__main__")


def test_a_program_that_imports_the_command_does_not_run_it(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_module("kit.server.__main__", run_name="imported")
    assert capsys.readouterr().out == ""


app = small_service()


async def hello() -> str:
    return "hello"


@pytest.mark.parametrize("is_nested", [True, False])
async def test_a_route_that_takes_the_place_of_an_equal_one_has_its_own_permission(is_nested: bool) -> None:
    service, router = small_service(public=["GET /hello"]), APIRouter()
    add = router.add_api_route if is_nested else service.add_api_route
    routes = router.routes if is_nested else service.router.routes
    add("/hello", hello, methods=["GET"])
    if is_nested:
        service.include_router(router)
    async with asking(service) as client:
        assert (await client.get("/hello")).text == '"hello"'
        before = routes[-1 if not is_nested else 0]
        add("/hello", hello, methods=["GET"])
        routes.remove(before)
        assert routes[-1] is not before
        assert (await client.get("/hello")).text == '"hello"'


async def test_an_operation_that_takes_the_place_of_an_equal_one_is_served() -> None:
    members, superusers = (APIRouter(route_class=allowing(read=who)) for who in (Who.MEMBERS, Who.SUPERUSERS))
    for router in (members, superusers):
        router.add_api_route("/hello", hello, methods=["GET"])
    service = small_service(members)
    if FAST_PATH:
        install_fast_path(service)
    async with asking(service) as client:
        assert (await client.get("/hello", headers=bearer(MEMBER))).status_code == 200
        members.routes[:] = superusers.routes
        members.add_api_route("/other", hello)  # FastAPI notices no change of the list itself
        assert (await client.get("/hello", headers=bearer(MEMBER))).status_code == 403


@pytest.mark.parametrize(("path", "other"), [("/a", "/a/"), ("/a/", "/a"), ("/a//", "/a//")])
def test_one_trailing_slash_is_added_or_removed(path: str, other: str) -> None:
    assert other_slash(path) == other
