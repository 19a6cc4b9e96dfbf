"""Where is it explained: Swagger UI and its OpenAPI document, every byte of it from this service."""

import inspect
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import sqlalchemy
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from starlette.responses import RedirectResponse, Response

from heroes.kit.describe import PROBLEM_SCHEMA, Json, headers, query_variant
from heroes.kit.endpoint import Endpoint
from heroes.kit.field import MAX_ID
from heroes.kit.query import ListQuery, variant

ASSETS = files("fastapi_offline") / "static"
CONVENTIONS = """
What holds for every resource, at its path with and without the trailing slash:

- **Lists** take filters such as `age__gte=18` or `name__in=a,b`, and `q`, `sort=-age,name`, `fields`, `include`.
  The header `Link` leads to the next page; `count=true` adds `X-Total-Count`.
- **Versions** are in the `ETag`. Send it back as `If-None-Match` to be told 304 if nothing changed, or as `If-Match`
  to change only what you have seen, else 412.
- **Writes** are durable when they are answered. PATCH changes the fields sent, PUT all: to their defaults where left
  out. Unknown fields are refused, read-only ones ignored.
- **Failures** are [problem details](https://www.rfc-editor.org/rfc/rfc9457); `request_id` leads to the log.
"""
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
"""Parameters side by side, in a box that scrolls: a list has dozens, and the answer should be in sight below them."""

router = APIRouter(include_in_schema=False, tags=["docs"], route_class=Endpoint)


@router.get("/")
async def lead_to_docs(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")


@router.get("/docs")
async def show_docs(request: Request) -> Response:
    root = request.scope.get("root_path", "")
    return get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
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
        },
    )


@router.get("/docs/style.css")
async def show_style() -> Response:
    return Response(STYLE, media_type="text/css")


@router.get("/openapi.json")
async def show_openapi(request: Request) -> Response:
    return Response(json.dumps(openapi(request.app)), media_type="application/json")


def openapi(app: FastAPI) -> Json:
    """The document, built once: what FastAPI derives, and what only the kit knows."""
    if app.openapi_schema is None:
        routes = [route for route in app.routes if isinstance(route, Endpoint) and route.include_in_schema]
        about = f"{app.description}\n{CONVENTIONS}"
        schema = get_openapi(title=app.title, version=app.version, description=about, tags=tags(routes), routes=routes)
        schema["components"]["schemas"]["Problem"] = PROBLEM_SCHEMA
        show_embedded(routes, schema)
        for operations in schema["paths"].values():
            for method, operation in operations.items():
                complete(method, operation)
        app.openapi_schema = exact(schema)
    return app.openapi_schema


def tags(routes: Sequence[Endpoint]) -> list[Json]:
    """What the module of each resource says of itself."""
    modules = {route.tags[0]: inspect.getmodule(route.endpoint) for route in routes}
    return [{"name": tag, "description": inspect.getdoc(module)} for tag, module in modules.items()]


def show_embedded(routes: Sequence[Endpoint], schema: Json) -> None:
    """What `include` embeds, as optional properties of what those operations answer that take it."""
    components = schema["components"]["schemas"]
    for route in routes:
        for query in filter(None, map(query_variant, route.dependant.dependencies)):
            if query.includes:
                name, plain = f"{query.read.__name__}Including", components[query.read.__name__]
                components[name] = plain | {"title": name, "properties": plain["properties"] | dict(embedded(query))}
                content = schema["paths"][route.path_format]["get"]["responses"]["200"]["content"]
                answer = content["application/json"]["schema"]
                answer.get("items", answer)["$ref"] = f"#/components/schemas/{name}"


def embedded(query: type[ListQuery]) -> Iterator[tuple[str, Json]]:
    for name, shown in query.includes.items():
        reference: Json = {"$ref": f"#/components/schemas/{variant(shown).__name__}"}
        many = sqlalchemy.inspect(query.model).relationships[name].uselist
        yield name, {"type": "array", "items": reference} if many else {"anyOf": [reference, {"type": "null"}]}


def complete(method: str, operation: Json) -> None:
    """Ids to try it out with, the header that every answer has, and a PATCH body as a merge patch (RFC 7396)."""
    for parameter in operation.get("parameters", ()):
        items = parameter["schema"].get("items", {})
        if "const" in items:  # Swagger UI shows a list to choose from for an `enum` only
            items["enum"] = [items.pop("const")]
        if parameter["in"] == "path" and parameter["schema"]["type"] == "integer":
            parameter["example"] = 1
    for response in operation["responses"].values():
        response["headers"] = response.get("headers", {}) | headers("X-Request-ID")
    if method == "patch":
        content = operation["requestBody"]["content"]
        content["application/merge-patch+json"] = content["application/json"]


def exact(node: Any) -> Any:
    """The document with whole numbers as such: FastAPI makes floats of bounds, and 2⁶³ of 2⁶³−1."""
    if isinstance(node, dict):
        return {name: exact(part) for name, part in node.items()}
    if isinstance(node, list):
        return [exact(part) for part in node]
    return min(int(node), MAX_ID) if isinstance(node, float) and node.is_integer() else node


def install(app: FastAPI) -> None:
    app.router.routes.extend(router.routes)
    app.mount("/docs/assets", StaticFiles(directory=str(ASSETS)), name="assets")
