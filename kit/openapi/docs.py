"""Documentation pages: Swagger UI at `/docs`, with all its assets, and the OpenAPI document at `/openapi.json`."""

import asyncio
import copy
import gzip
import json
from base64 import b64encode
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.responses import RedirectResponse, Response

from kit.http.codings import AcceptedCoding, accepted_coding
from kit.http.etags import is_fresh, not_modified, weak_etag
from kit.openapi.completion import THIS_SERVER
from kit.openapi.examples import fill, newest
from kit.openapi.references import Json
from kit.operations.caller_needs import needs_no_caller
from kit.runtime import Runtime, runtime_of

IDS_SECONDS = 2.0
"""The timeout of reading the ids for examples: the documentation is also shown without the database."""
ASSETS = files("fastapi_offline") / "static"
STYLE = """@import url("assets/swagger-ui.css");
.swagger-ui .info { margin: 24px 0 } .swagger-ui table.parameters thead { display: none }
.swagger-ui table.parameters tbody { display: grid; gap: 14px 20px; grid: auto / repeat(auto-fill, minmax(260px, 1fr)) }
.swagger-ui table.parameters :is(tr, td) { display: block; margin: 0; max-width: none; padding: 0; width: auto }
.swagger-ui .parameters-col_name > * { display: inline-block; margin-right: 6px; padding: 0 }
.swagger-ui .parameters-col_description :is(p, p code) { font-size: 12px; margin: 3px 0; padding: 0 }
.swagger-ui .parameters-col_description :is(input, select) { margin: 0; max-width: none; width: 100% }
.swagger-ui .parameters-container { border-bottom: 1px solid #d8dde7; max-height: 440px; overflow-y: auto }
.swagger-ui :is(.execute-wrapper, .btn-group) { padding: 12px 20px }
"""
"""Shows parameters side by side in a scrolling box: a list has dozens, and its response should be visible below."""

FIXED_POLICY = (
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The directives of the Content-Security-Policy that do not depend on the page. Swagger UI sets inline styles."""

router = APIRouter(include_in_schema=False, tags=["docs"])


@router.get("/")
@needs_no_caller
async def redirect_to_docs(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{prefix_of(request)}/docs")


@router.get("/docs")
@needs_no_caller
async def show_docs(request: Request) -> Response:
    root, ids = prefix_of(request), "" if runtime_of(request).authenticator.is_required else "?ids=newest"
    page = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json{ids}",
        title=request.app.title,
        swagger_js_url=f"{root}/docs/assets/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/style.css",
        swagger_favicon_url=f"{root}/docs/assets/favicon.png",
        swagger_ui_parameters={
            "tryItOutEnabled": True,
            "displayRequestDuration": True,
            "defaultModelsExpandDepth": 0,
            "showCommonExtensions": False,
            "validatorUrl": None,
            **(request.app.swagger_ui_parameters or {}),
        },
        init_oauth=request.app.swagger_ui_init_oauth,
    )
    page.headers["Content-Security-Policy"] = content_security_policy(bytes(page.body).decode())
    return page


def content_security_policy(html: str) -> str:
    """Return the Content-Security-Policy (level 2): only this host, and the page's inline script by its digest."""
    script = html.rpartition("<script>")[2].partition("</script>")[0]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; script-src 'self' 'sha256-{digest}'; {FIXED_POLICY}"


@router.get("/docs/style.css")
@needs_no_caller
async def show_style() -> Response:
    return Response(STYLE, media_type="text/css")


@router.get("/openapi.json")
@needs_no_caller
async def show_openapi(request: Request) -> Response:
    """Return the OpenAPI document. With `?ids=newest`, its examples contain the ids of existing rows.

    This works only while requests need no token, because ids reveal the number of rows.
    """
    await asyncio.to_thread(request.app.openapi)  # takes a second the first time, and is cached then
    document, runtime = with_server(request.app, prefix_of(request)), runtime_of(request)
    if runtime.authenticator.is_required or request.query_params.get("ids") != "newest":
        return json_response(request, document)
    found, document = request.app.example_placeholders(), copy.deepcopy(document)
    fill(document, found, await newest_ids(runtime, {table for _, table, _ in found}))
    return json_response(request, document)


async def newest_ids(runtime: Runtime, tables: set[str]) -> dict[str, list[Any]]:
    """Return the newest ids as `newest` does; none if the database does not answer within `IDS_SECONDS`."""
    ids: dict[str, list[Any]] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(IDS_SECONDS), runtime.database.read() as session:
            ids = await newest(session, tables)
    return ids


def json_response(request: Request, document: Json) -> Response:
    """Return the document as JSON with an ETag, compressed if the client accepts it; a 304 if it has the ETag."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {"ETag": weak_etag(body), "Cache-Control": "no-cache"}
    accepted = ",".join(request.headers.getlist("Accept-Encoding")).encode("latin-1")
    if accepted_coding(accepted) is not AcceptedCoding.PLAIN:
        body, headers = small(body), headers | {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    response = Response(body, media_type="application/json", headers=headers)
    known = ",".join(request.headers.getlist("If-None-Match"))
    return not_modified(response) if is_fresh(headers["ETag"], known) else response


@lru_cache(4)
def small(body: bytes) -> bytes:
    """Return a document compressed at gzip's highest level: half the size of the fast level for other responses."""
    return gzip.compress(body, mtime=0)


def prefix_of(request: Request) -> str:
    """Return the path prefix of this service (`root_path`), set by a proxy or an application that mounts it."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def with_server(app: FastAPI, prefix: str) -> Json:
    """Return the application's document. With a prefix, its `servers` contain it, as by FastAPI's own route.

    The default server `/` is omitted then, because no path exists without the prefix.
    """
    document: Json = app.openapi()
    servers: list[Json] = document.get("servers", [])
    if not prefix or not app.root_path_in_servers or any(server.get("url") == prefix for server in servers):
        return document
    return {**document, "servers": [{"url": prefix}, *(server for server in servers if server != THIS_SERVER)]}


def mount_assets(app: FastAPI) -> None:
    app.mount("/docs/assets", StaticFiles(directory=str(ASSETS)), name="assets")
