"""Where is it explained: Swagger UI and its OpenAPI document, every byte of it from this service."""

import json
from importlib.resources import files

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from sqlalchemy import inspect
from starlette.responses import RedirectResponse, Response

from heroes.kit.answer import variant
from heroes.kit.describe import PROBLEM_SCHEMA, Json, query_variant
from heroes.kit.endpoint import Endpoint

ASSETS = files("fastapi_offline") / "static"
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
        swagger_css_url=f"{root}/docs/assets/swagger-ui.css",
        swagger_favicon_url=f"{root}/docs/assets/favicon.png",
        swagger_ui_parameters={
            "tryItOutEnabled": True,
            "displayRequestDuration": True,
            "defaultModelsExpandDepth": 0,
            "validatorUrl": None,
        },
    )


@router.get("/openapi.json")
async def show_openapi(request: Request) -> Response:
    return Response(json.dumps(openapi(request.app)), media_type="application/json")


def openapi(app: FastAPI) -> Json:
    """The document, built once: what FastAPI derives, and what only the kit knows."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, tags=app.openapi_tags, routes=app.routes
        )
        schema["components"]["schemas"]["Problem"] = PROBLEM_SCHEMA
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        show_embedded(app, schema)
        show_merge_patch(schema)
        app.openapi_schema = schema
    return app.openapi_schema


def show_embedded(app: FastAPI, schema: Json) -> None:
    """What `include` embeds, as optional properties of the variant that it is embedded in."""
    dependants = [part for route in app.routes if isinstance(route, Endpoint) for part in route.dependant.dependencies]
    for query in filter(None, map(query_variant, dependants)):
        properties = schema["components"]["schemas"][query.read.__name__]["properties"]
        for name, shown in query.includes.items():
            reference: Json = {"$ref": f"#/components/schemas/{variant(shown).__name__}"}
            many = inspect(query.model).relationships[name].uselist
            properties[name] = (
                {"type": "array", "items": reference} if many else {"anyOf": [reference, {"type": "null"}]}
            )


def show_merge_patch(schema: Json) -> None:
    """A PATCH body is a JSON merge patch (RFC 7396), and may say so."""
    for operations in schema["paths"].values():
        if "patch" in operations:
            content = operations["patch"]["requestBody"]["content"]
            content["application/merge-patch+json"] = content["application/json"]


def install(app: FastAPI) -> None:
    app.router.routes.extend(router.routes)
    app.mount("/docs/assets", StaticFiles(directory=str(ASSETS)), name="assets")
