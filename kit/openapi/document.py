"""The OpenAPI document: FastAPI derives it from the routes, and the kit completes it."""

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
from kit.openapi.examples import Placeholder, fill, placeholders
from kit.openapi.operations import add_parameters, hints_of
from kit.openapi.references import Json

CONVENTIONS = """
These rules hold for every resource, at its path with and without the trailing slash:

- **Lists** take filters such as `age__gte=18` or `name__in=a,b`, and `q`, `sort=-age,name`, `fields`, `include`.
  The header `Link` leads to the next page; `count=true` adds `X-Total-Count`.
- **Versions** are in the `ETag`. Send it as `If-None-Match` to get a 304 if nothing has changed, or as `If-Match` to
  change only the version that you have read; another version is a 412.
- **Writes** are durable when the response is sent. PATCH changes the fields that are sent. PUT changes all fields, and
  sets missing ones to their defaults. Unknown fields are refused, read-only ones ignored.
- **Failures** are [problem details](https://www.rfc-editor.org/rfc/rfc9457); `request_id` leads to the log.
"""
COLLECTED: ContextVar[list[Placeholder] | None] = ContextVar("placeholders", default=None)
"""The list that collects placeholders for row ids while `openapi` generates a document; None otherwise."""


def openapi(app: FastAPI) -> tuple[Json, list[Placeholder]]:
    """Generate the document of an application. Returns it, and its placeholders for row ids, filled by example ids."""
    found: list[Placeholder] = []
    reset = COLLECTED.set(found)
    try:
        return completed(fastapi_document(app)), found
    finally:
        COLLECTED.reset(reset)


def fastapi_document(app: FastAPI) -> Json:
    """Return FastAPI's document, with the title, servers and other metadata of the application."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate Operation ID")  # `complete` makes them unique
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


def completed(document: Json) -> Json:
    """Complete a document, and replace its placeholders by example ids."""
    document = complete(document)
    found = list(placeholders(document))
    fill(document, found, {})
    if (collected := COLLECTED.get()) is not None:
        collected.extend(found)
    return document


def completed_openapi(**document: Any) -> Json:
    """Stand in for FastAPI's model `OpenAPI` within `get_openapi`, and return the completed document.

    Documents of applications without routes of the kit are unchanged.
    """
    for part in ("paths", "webhooks"):
        for path in document.get(part, {}).values():
            for operation in path.values():
                add_parameters(operation)
    made: Json = jsonable_encoder(OpenAPI(**document), by_alias=True, exclude_none=True)
    return completed(made)


utils.OpenAPI = completed_openapi  # type: ignore[assignment,attr-defined]  # every call of `get_openapi` returns the completed document


def note_public(contexts: Collection[RouteContext], public: Collection[tuple[int, str]]) -> None:
    """Store in the hints of each route the methods that need no token: `public` has pairs of `id(route)` and method."""
    for context in contexts:
        route = context.original_route
        if isinstance(route, APIRoute):
            hints_of(route)["public"] = sorted(method for identity, method in public if identity == id(route))
