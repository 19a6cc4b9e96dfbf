"""Mounting: other applications in the service, and the service in another application."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from kit import Database, Layers, ReadSession, Service
from kit.database import migrations
from tests.engines import url_for
from tests.kit import bookshop
from tests.kit.probes import BOOK
from tests.kit.server.small import asking, small_service
from tests.kit.service import clear


def library_on(url: str, **options: Any) -> Service:
    database = Database(url_for(url))
    return small_service(*bookshop.ROUTERS, public=bookshop.PUBLIC, auth=False, database=database, **options)


@pytest.fixture
async def mounted(library_url: str) -> AsyncIterator[Service]:
    """Provide the bookshop with its tables, without its lifespan."""
    service = library_on(library_url)
    await clear(service.runtime.database)
    yield service
    await service.runtime.database.dispose()


def outer_of(service: Service, kind: type[Starlette] = FastAPI) -> Starlette:
    """Return an application of this kind, with the service mounted at /api/v1."""
    outer = kind()
    outer.state.name = "outer"
    outer.mount("/api/v1", service)
    return outer


async def test_another_fastapi_in_the_service_has_its_own_state_and_overrides() -> None:
    other = FastAPI()
    other.state.name = "other"

    @other.get("/name")
    async def name(request: Request) -> str:
        return f"{request.app.state.name} {request.state.request_id}"

    service = small_service(auth=False)
    service.state.name = "service"
    service.mount("/other", other)
    async with asking(service) as client:
        answer = await client.get("/other/name", headers={"X-Request-ID": "abc"})
        assert (answer.json(), answer.headers["X-Request-ID"]) == ("other abc", "abc")
        assert (await client.get("/other/docs")).status_code == 200
        assert (await client.get("/other/nowhere")).json() == {"detail": "Not Found"}
        assert (await client.get("/health/live")).status_code == 200


async def test_a_mounted_service_shares_the_request_id_and_the_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    inner, outer = small_service(auth=False), small_service(auth=False)
    outer.mount("/inner", inner)
    caplog.set_level(logging.INFO, "kit")
    async with asking(outer) as client:
        answer = await client.get("/inner/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert len(answer.headers.get_list("X-Request-ID")) == 1
    assert sum("/health/live" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("kind", [FastAPI, Starlette])
async def test_the_service_works_under_the_prefix_of_another_application(kind: Any, mounted: Service) -> None:
    async with asking(outer_of(mounted, kind)) as client:
        created = await client.post("/api/v1/books", json=BOOK)
        assert (created.status_code, created.headers["Location"]) == (201, f"/api/v1/books/{created.json()['id']}")
        assert (await client.get(created.headers["Location"])).json()["title"] == BOOK["title"]
        await client.post("/api/v1/books/", json=BOOK | {"title": "Persuasion"})
        page = await client.get("/api/v1/books/?limit=1")
        assert page.headers["Link"].startswith("</api/v1/books/?limit=1&cursor=")
        assert len((await client.get(page.links["next"]["url"])).json()) == 1
        missing = (await client.get("/api/v1/nowhere")).json()
        assert (missing["type"], missing["instance"]) == ("urn:problem:not-found", "/api/v1/nowhere")
        refused = await client.put("/api/v1/books/")
        assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD, POST")


async def test_the_docs_and_the_document_know_the_prefix(mounted: Service) -> None:
    async with asking(outer_of(mounted)) as client:
        assert (await client.get("/api/v1/")).headers["Location"] == "/api/v1/docs"
        docs = (await client.get("/api/v1/docs")).text
        assert "/api/v1/openapi.json" in docs
        assert (await client.get("/api/v1/docs/assets/swagger-ui.css")).status_code == 200
        document = (await client.get("/api/v1/openapi.json")).json()
    assert document["servers"] == [{"url": "/api/v1"}]
    assert "/books/" in document["paths"]
    assert mounted.openapi()["servers"] == [{"url": "/", "description": "This service."}]


async def test_health_checks_are_served_under_a_prefix_whatever_the_host_is(mounted: Service) -> None:
    mounted.layers = Layers(hosts=["api.example.com"], max_in_flight=1)
    mounted.wrap_in_middleware(mounted.all_layers)
    async with asking(outer_of(mounted)) as client:
        assert (await client.get("/api/v1/health/live")).status_code == 200
        assert (await client.get("/api/v1/books/")).json()["type"] == "urn:problem:untrusted-host"


async def test_a_missing_lifespan_is_logged_once(mounted: Service, caplog: pytest.LogCaptureFixture) -> None:
    async with asking(outer_of(mounted)) as client:
        for _ in range(3):
            assert (await client.get("/api/v1/books/")).status_code == 200
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.message.startswith("The lifespan of Small has not run: ")
    assert "async with service.router.lifespan_context(service)" in warning.message


async def test_a_missing_table_and_a_missing_lifespan_are_reported(
    new_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "state_of", lambda *_: migrations.State(missing=("0001_first",)))
    service = library_on(await new_database())
    async with asking(outer_of(service)) as client:
        for answer in (
            await client.get("/api/v1/books/"),
            await client.post("/api/v1/books/", json=BOOK),
            await client.get("/api/v1/health/ready"),
        ):
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:problem:unready")
            assert answer.headers["Retry-After"] == "1"
            assert "make migrate" in answer.json()["detail"]
            assert "The lifespan of Small has not run" in answer.json()["detail"]
    await service.runtime.database.dispose()


async def test_a_plain_route_reports_the_same(new_database: Any) -> None:
    service = library_on(await new_database())

    @service.get("/plain")
    async def plain(session: ReadSession) -> None:
        await session.exec(select(1).select_from(text("absent")))

    async with asking(service) as client:
        answer = await client.get("/plain")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:problem:unready")
    await service.runtime.database.dispose()


def test_the_lifespan_runs_within_that_of_the_outer_application(
    library_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    started = []

    async def on_start() -> None:
        started.append(True)

    service = library_on(library_url, on_start=on_start)

    @asynccontextmanager
    async def lifespan(outer: FastAPI) -> AsyncIterator[None]:
        async with service.router.lifespan_context(service):
            yield

    outer = FastAPI(lifespan=lifespan)
    outer.router.routes.append(Mount("/api", service))
    with TestClient(outer) as client:
        assert client.get("/api/books/").status_code == 200
        assert service.lifespan_state.explanation == ""
    assert started == [True]
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]


async def test_after_the_lifespan_only_a_missing_table_is_reported(new_database: Any) -> None:
    service = library_on(await new_database())
    async with service.router.lifespan_context(service), asking(service) as client:
        detail = (await client.get("/books/")).json()["detail"]
    assert detail == "The table kit_book is missing: run `make migrate`, or `make migration` if no migration adds it."


async def test_the_root_path_of_the_server_is_in_every_reference(mounted: Service) -> None:
    transport = httpx.ASGITransport(mounted, root_path="/proxy")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        created = await client.post("/books/", json=BOOK)
        assert created.headers["Location"] == f"/proxy/books/{created.json()['id']}"
        assert (await client.get("/openapi.json")).json()["servers"] == [{"url": "/proxy"}]
