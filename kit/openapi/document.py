"""The OpenAPI document: what FastAPI derives from the routes, completed with what only the kit knows."""

import warnings
from collections.abc import Collection
from contextvars import ContextVar
from typing import Any

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.openapi import utils
from fastapi.openapi.models import OpenAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext

from kit.openapi.completion import complete
from kit.openapi.examples import Place, fill, places
from kit.openapi.operations import hints_of
from kit.openapi.responses import Json

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
FOUND: ContextVar[list[Place] | None] = ContextVar("found_places", default=None)
"""The places for ids of rows, if a document is made for somebody who fills them."""


def openapi(app: FastAPI) -> tuple[Json, list[Place]]:
    """Return the document of an application, and the places in it for ids of rows."""
    found: list[Place] = []
    reset = FOUND.set(found)
    try:
        return finished(of_fastapi(app)), found
    finally:
        FOUND.reset(reset)


def of_fastapi(app: FastAPI) -> Json:
    """FastAPI's document, with all that was given to the application for it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate Operation ID")  # each method gets its own: see `complete`
        return get_openapi(
            title=app.title,
            version=app.version,
            openapi_version=app.openapi_version,
            summary=app.summary,
            description=f"{app.description}\n{CONVENTIONS}",
            terms_of_service=app.terms_of_service,
            contact=app.contact,
            license_info=app.license_info,
            routes=app.routes,
            webhooks=app.webhooks.routes,
            tags=app.openapi_tags,
            servers=app.servers,
            separate_input_output_schemas=app.separate_input_output_schemas,
            external_docs=app.openapi_external_docs,
        )


def finished(document: Json) -> Json:
    """Return the complete document, with examples for the ids of rows."""
    document = complete(document)
    found = list(places(document))
    fill(document, found, {})
    if (collected := FOUND.get()) is not None:
        collected.extend(found)
    return document


def finished_openapi(**document: Any) -> Json:
    """What `fastapi.openapi.utils.get_openapi` makes of its document; that of other applications stays as it is."""
    made: Json = jsonable_encoder(OpenAPI(**document), by_alias=True, exclude_none=True)
    return finished(made)


utils.OpenAPI = finished_openapi  # type: ignore[assignment,attr-defined]  # whoever calls `get_openapi` gets all of it


def note_public(contexts: Collection[RouteContext], public: Collection[tuple[int, str]]) -> None:
    """Note in the hints of each route which of its methods need no token; `public` has their keys."""
    for context in contexts:
        route = context.original_route
        if isinstance(route, APIRoute):
            hints_of(route)["public"] = sorted(method for identity, method in public if identity == id(route))
