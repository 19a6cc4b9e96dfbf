"""A library may replace functions of FastAPI and Starlette: requests then call the replacement."""

import types
from functools import wraps
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, routing
from starlette.applications import Starlette
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from kit import ReadSession, Service, allowing
from kit.fast import install, replaced
from kit.fast.dispatch import OuterDispatch
from tests.kit.server.small import asking, small_service

OWNERS = [
    (Starlette, "__call__"),
    (FastAPI, "build_middleware_stack"),
    (ExceptionMiddleware, "__call__"),
    (routing.APIRoute, "handle"),
    (routing.APIRoute, "get_route_handler"),
    (routing, "run_endpoint_function"),
]


@pytest.fixture
def service() -> Service:
    return new_service()


def new_service() -> Service:
    router = APIRouter(prefix="/planets", tags=["planets"], route_class=allowing())

    @router.get("/")
    async def list_planets(_: ReadSession) -> list[str]:
        return ["Venus"]

    service = small_service(router, auth=False)
    install(service)
    return service


def counting(app: ASGIApp, calls: list[str]) -> ASGIApp:
    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        calls.append(scope["path"])
        await app(scope, receive, send)

    return count


def test_the_functions_of_the_libraries_are_not_replaced() -> None:
    assert replaced.replaced(OuterDispatch.skipped) == []


@pytest.mark.parametrize(("owner", "name"), OWNERS)
async def test_a_replacement_is_called(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    calls: list[str] = []
    original = vars(owner)[name]

    @wraps(original)
    def replacement(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        return original(*arguments, **named)

    async with asking(service) as client:
        monkeypatch.setattr(owner, name, replacement)
        assert (await client.get("/planets/")).json() == ["Venus"]
    assert set(calls) == {name}


@pytest.mark.parametrize(("owner", "name"), OWNERS)
async def test_a_replacement_is_logged_once_with_its_module(
    owner: Any, name: str, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = vars(owner)[name]
    monkeypatch.setattr(owner, name, lambda *arguments, **named: original(*arguments, **named))
    async with asking(service) as client:
        for _ in range(2):
            assert (await client.get("/planets/")).json() == ["Venus"]
    lines = [record.getMessage() for record in caplog.records if "shortcuts" in record.getMessage()]
    reason = f"{__name__} has replaced {owner.__name__}.{name}"
    assert lines == [f"Requests are served without the shortcuts of dispatch, because {reason}."]


async def test_a_middleware_stack_that_is_built_by_others_is_used(service: Service) -> None:
    calls: list[str] = []
    build = service.build_middleware_stack
    with_others = types.MethodType(lambda _: counting(build(), calls), service)
    service.build_middleware_stack = with_others  # type: ignore[method-assign]
    async with asking(service) as client:
        assert (await client.get("/planets/")).json() == ["Venus"]
    assert calls == ["/planets/"]


async def test_a_middleware_stack_that_is_replaced_at_any_time_is_used(service: Service) -> None:
    calls: list[str] = []
    async with asking(service) as client:
        assert (await client.get("/planets/")).json() == ["Venus"]
        service.middleware_stack = counting(service.build_middleware_stack(), calls)
        assert (await client.get("/planets/")).json() == ["Venus"]
    assert calls == ["/planets/"]


async def test_a_middleware_stack_of_a_subclass_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    build = Service.build_middleware_stack
    monkeypatch.setattr(Service, "build_middleware_stack", lambda self: counting(build(self), calls), raising=False)
    async with asking(new_service()) as client:
        assert (await client.get("/planets/")).json() == ["Venus"]
    assert calls == ["/planets/"]
