"""Proxies: a prefix that a real nginx strips, or does not strip, is in every reference of a response."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from uvicorn import Config
from uvicorn.server import ServerState

from kit import Layers, Service
from kit.server.connections import BoundedConnection
from tests.engines import Client
from tests.kit.probes import BOOK
from tests.kit.server.small import asking, small_service
from tests.kit.service import FAST_PATH, create_runtime, create_service
from tests.waiting import TIMEOUT_SECONDS

pytestmark = pytest.mark.no_fast_path

PREFIX = {"X-Forwarded-Prefix": "/api"}
NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; gzip on; gzip_types *;
    gzip_proxied any; fastcgi_temp_path {folder}/a; uwsgi_temp_path {folder}/b; scgi_temp_path {folder}/c;
    server {{
        listen 127.0.0.1:{port};
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        location /api/ {{ {location} }}
    }}
}}
"""
STRIPS, KEEPS = "proxy_pass http://127.0.0.1:{upstream}/;", "proxy_pass http://127.0.0.1:{upstream};"
SAYS = f"{STRIPS} proxy_set_header X-Forwarded-Prefix /api;"
needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


@asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncIterator[int]:
    """Serve an application as uvicorn does with these options. Provides the port."""
    config, state = Config(app, lifespan="off", log_config=None, **options), ServerState()
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: BoundedConnection(config, state, {}, loop), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for connection in list(state.connections):
        connection.transport.abort()


@asynccontextmanager
async def behind_nginx(upstream: int, location: str, folder: Path) -> AsyncIterator[Client]:
    """Provide a client of an nginx with this location, in front of the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, port=port, location=location.format(upstream=upstream)))
    nginx = await asyncio.create_subprocess_exec("nginx", "-c", str(file), "-p", str(folder))
    try:
        transport = httpx.AsyncHTTPTransport(retries=8)
        async with httpx.AsyncClient(
            transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_SECONDS
        ) as client:
            yield client
    finally:
        nginx.terminate()
        await nginx.wait()


@contextmanager
def library(app: Service, *, fast: bool = FAST_PATH, **options: Any) -> Iterator[Service]:
    """Provide the bookshop with options of `kit.Service`; one of FastAPI is deprecated."""
    with pytest.warns() if "root_path" in options else contextmanager(lambda: iter([None]))():
        yield create_service(create_runtime(app.runtime.database), fast=fast, **options)


WAYS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "--root-path, stripped": ({"root_path": "/api"}, {}, STRIPS),
    "--root-path, kept": ({"root_path": "/api"}, {}, KEEPS),
    "--root-path with slashes": ({"root_path": "/api/"}, {}, STRIPS),
    "root_path, stripped": ({}, {"root_path": "/api"}, STRIPS),
    "root_path, kept": ({}, {"root_path": "/api/"}, KEEPS),
    "header, stripped": ({}, {}, SAYS),
    "header and --root-path": ({"root_path": "/api"}, {}, SAYS),
    "header, without the fast path": ({}, {"fast": False}, SAYS),
}


@needs_nginx
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("database")
async def test_references_lead_through_a_proxy_with_a_prefix(way: str, app: Service, tmp_path: Path) -> None:
    of_server, of_service, location = WAYS[way]
    with library(app, **of_service) as service:
        async with served(service, **of_server) as port, behind_nginx(port, location, tmp_path) as client:
            await use(client)


async def use(client: Client) -> None:
    """Follow the references of the bookshop behind `/api`."""
    created = await client.post("/api/books", json=BOOK)
    assert (created.status_code, created.headers["Location"]) == (201, f"/api/books/{created.json()['id']}")
    url = created.headers["Location"]
    found = await client.get(url)
    assert found.json() == created.json()
    assert (await client.head(f"{url}/")).status_code == 200
    changed = await client.patch(url, json={"title": "Persuasion"}, headers={"If-Match": found.headers["ETag"]})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    await client.post("/api/books/", json=BOOK)
    page = await client.get("/api/books/?limit=1")
    assert page.headers["Link"].startswith("</api/books/?limit=1&cursor=")
    assert len((await client.get(page.links["next"]["url"])).json()) == 1
    refused = await client.put("/api/books")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert refused.json()["instance"] == "/api/books"
    for path, status in (("/api/nowhere", 404), ("/api/books/0", 422), ("/api/books;a=b/+@%C3%A9", 404)):
        problem = await client.get(path)
        assert (problem.status_code, problem.json()["instance"]) == (status, path)
    await use_docs(client)


async def use_docs(client: Client) -> None:
    root = await client.get("/api/")
    assert (root.status_code, root.headers["Location"]) == (307, "/api/docs")
    docs = (await client.get(root.headers["Location"])).text
    assets = [part.partition('"')[0] for part in docs.replace("'", '"').split('"') if part.startswith("/")]
    assert {"/api/docs/style.css", "/api/docs/assets/swagger-ui-bundle.js"} < set(assets)
    for asset in assets:
        assert (await client.get(asset)).status_code == 200, asset
    document = (await client.get("/api/openapi.json")).json()
    assert document["servers"] == [{"url": "/api"}]
    assert "/books/" in document["paths"]


@pytest.mark.parametrize(
    ("sent", "prefix"),
    [
        (["/api"], "/api"),
        (["/api/"], "/api"),
        (["/a/b-c_d~e.f"], "/a/b-c_d~e.f"),
        (["/outer, /inner"], "/outer/inner"),
        (["/outer", "/inner"], "/outer/inner"),
        ([""], ""),
        (["/"], ""),
        (["api"], ""),
        (["//evil.example"], ""),
        (["/api//evil"], ""),
        (["/\\evil.example"], ""),
        (["https://evil.example"], ""),
        (["/a/../b"], ""),
        (["/."], ""),
        (['/a"onload='], ""),
        (["/a\x00"], ""),
        (["/\xe9"], ""),
        (["/a b"], ""),
        (["/%2e"], ""),
        (["/a" * 21], ""),
        (["/" + "a" * 200], ""),
        (["/prefix"] * 50, ""),
    ],
)
async def test_a_prefix_is_a_plain_path(sent: list[str], prefix: str) -> None:
    async with asking(small_service(auth=False)) as client:
        headers = [(b"X-Forwarded-Prefix", part.encode("latin-1")) for part in sent]
        answer = await client.get("/", headers=headers)
    assert answer.headers["Location"] == f"{prefix}/docs"


@pytest.mark.parametrize(
    ("allowed", "client", "is_trusted"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "203.0.113.9", False),
        ("10.0.0.0/8, 192.0.2.1", "10.1.2.3", True),
        ("10.0.0.0/8, 192.0.2.1", "192.0.2.1", True),
        ("10.0.0.0/8", "127.0.0.1", False),
        ("*", "203.0.113.9", True),
        ("::1", "::1", True),
        ("", "127.0.0.1", False),
    ],
)
async def test_only_a_trusted_proxy_may_say_a_prefix(allowed: str, client: str, is_trusted: bool) -> None:
    service = small_service(auth=False, layers=Layers(proxies=allowed))
    transport = httpx.ASGITransport(service, client=(client, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as asked:
        answer = await asked.get("/", headers=PREFIX)
    assert answer.headers["Location"] == ("/api/docs" if is_trusted else "/docs")


@pytest.mark.parametrize(
    ("options", "is_trusted"),
    [
        ({}, True),
        ({"forwarded_allow_ips": "10.0.0.1"}, False),
        ({"forwarded_allow_ips": "*"}, True),
        ({"proxy_headers": False}, False),
    ],
)
async def test_under_uvicorn_its_own_options_say_who_is_trusted(options: Any, is_trusted: bool) -> None:
    service = small_service(auth=False, layers=Layers(proxies="203.0.113.9"))
    async with (
        served(service, **options) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_SECONDS) as client,
    ):
        for forwarded in ({}, {"X-Forwarded-For": "203.0.113.9"}):
            answer = await client.get("/", headers=PREFIX | forwarded)
            assert answer.headers["Location"] == ("/api/docs" if is_trusted else "/docs")


async def test_a_path_of_the_service_under_the_same_name_as_the_prefix_is_found() -> None:
    service = small_service(auth=False)

    @service.get("/api/things")
    async def things() -> str:
        return "things"

    async with asking(service) as client:
        assert (await client.get("/api/things", headers=PREFIX)).json() == "things"
        missing = await client.get("/api/docs", headers=PREFIX)
        assert (missing.status_code, missing.json()["instance"]) == (404, "/api/api/docs")


async def test_the_prefix_alone_is_the_root() -> None:
    transport = httpx.ASGITransport(small_service(auth=False), root_path="/api")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in ("/api", "/api/", "/"):
            assert (await client.get(path)).headers["Location"] == "/api/docs", path


async def test_health_checks_pass_the_trusted_hosts_with_and_without_the_prefix() -> None:
    service = small_service(auth=False, layers=Layers(hosts=["api.example.com"]))
    service.add_api_route("/healthy", lambda: "yes")
    async with asking(service) as client:
        for path, status in (("/health/live", 200), ("/api/health/live", 200), ("/healthy", 400), ("/docs", 400)):
            answer = await client.get(path, headers={"Host": "10.0.0.7:8000"} | PREFIX)
            assert answer.status_code == status, path


@pytest.mark.parametrize(
    ("root", "headers", "path", "prefix"),
    [
        ("/api", {}, "/health/live", "/api"),
        ("/api", {}, "/api/health/live", "/api"),
        ("/api", {}, "/api/api/health/live", "/api"),
        ("/api/", {}, "/api//health/live", "/api"),
        ("api", {}, "api/health/live", "/api"),
        ("/api", PREFIX, "/api/health/live", "/api"),
        ("", PREFIX, "/health/live", "/api"),
        ("", PREFIX, "/api/health/live", "/api"),
        ("/inner", PREFIX, "/inner/health/live", "/api/inner"),
        ("/inner", PREFIX, "/health/live", "/api/inner"),
    ],
)
async def test_a_prefix_may_be_given_and_kept_in_every_way(
    root: str, headers: dict[str, str], path: str, prefix: str
) -> None:
    seen: list[Any] = []
    service = small_service(auth=False)

    @service.middleware("http")
    async def note(request: Request, call_next: Any) -> Response:
        seen.append((request.scope["root_path"], request.scope["path"]))
        response: Response = await call_next(request)
        return response

    transport = httpx.ASGITransport(service, root_path=root)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        request = client.build_request("GET", "/", headers=headers)
        request.url = request.url.copy_with(path=path if path.startswith("/") else f"/{path}")
        assert (await client.send(request)).status_code == 200
    assert seen == [(prefix, f"{prefix}/health/live")]
