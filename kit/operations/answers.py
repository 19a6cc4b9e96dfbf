"""What goes out: a handler's result as JSON, with its ETag, its links, and 304 where nothing changed."""

from collections.abc import Sequence
from typing import Any, get_args
from urllib.parse import urlencode

from fastapi import Request
from pydantic import BaseModel
from sqlmodel import SQLModel
from starlette.responses import Response
from starlette.types import Scope

from kit.auth.privacy import hidden_of
from kit.http.encoding import to_json
from kit.http.problems import content
from kit.http.request_headers import header
from kit.models.entities import Entity, Read
from kit.operations.bulk import Outcome
from kit.operations.preconditions import etag, is_fresh, weak_etag
from kit.query.embedding import shape, variant
from kit.query.list_query import ListQuery
from kit.query.pages import Page

JSON = (b"content-type", b"application/json")
Header = tuple[bytes, bytes]


class Answer(Response):
    """JSON, or nothing if it is None; with headers that are bytes already, as a server wants them."""

    def __init__(self, body: bytes | None, status: int, headers: Sequence[Header] = ()) -> None:
        self.status_code, self.body, self.background = status, body or b"", None
        length = () if body is None else ((b"content-length", b"%d" % len(body)), JSON)
        self.raw_headers = [*headers, *length]


class Returned(Response):
    """What a handler returned, on its way past FastAPI's rendering, which would validate it a second time."""

    def __init__(self, value: Any) -> None:
        self.value, self.background = value, None


def answer(request: Request, value: Any, read: Any, status: int) -> Response:
    """The response to this result; `read` is the variant, or the list of it, that the operation declares."""
    query: ListQuery | None = getattr(request.state, "query", None)
    if isinstance(value, Page):
        return answer_page(request, value)
    if isinstance(value, Entity):
        return answer_one(request, value, read, query, status)
    if isinstance(value, Outcome):
        return Answer(to_json(told(value, get_args(read)[0], request.scope)), 200)
    if isinstance(value, list):
        return Answer(to_json([content_of(one, get_args(read)[0]) for one in value]), status)
    if value is None:
        return Answer(None, 204)
    if isinstance(read, type) and issubclass(read, SQLModel):
        value = content_of(value, read)
    return Answer(value.model_dump_json().encode() if isinstance(value, BaseModel) else to_json(value), status)


def answer_one(request: Request, thing: Entity, read: type[Read], query: ListQuery | None, status: int) -> Response:
    body = to_json(shown(thing, read, query))
    embedded = query is not None and query.included  # what is embedded changes without the thing's version
    tag = weak_etag(body) if embedded else etag(thing.version)
    headers = []
    if status == 201:
        place = f"{request.scope.get('root_path', '')}{request.scope['path'].rstrip('/')}/{thing.id}"
        headers.append((b"location", place.encode("latin-1")))
    return conditional(request, body, status, tag, headers)


def answer_page(request: Request, page: Page) -> Response:
    headers = []
    if page.cursor is not None:
        headers.append((b"link", f'<{next_page(request, page.cursor)}>; rel="next"'.encode("latin-1")))
    if page.total is not None:
        headers.append((b"x-total-count", b"%d" % page.total))
    return conditional(request, page.body, 200, weak_etag(page.digest, *(value for _, value in headers)), headers)


def told(outcome: Outcome, read: type[Read], scope: Scope) -> dict[str, Any]:
    failed = [{**one, "problem": content(scope, one["problem"])} for one in outcome.failed]
    return {"created": [content_of(one, read) for one in outcome.created], "failed": failed}


def conditional(request: Request, body: bytes, status: int, tag: str, headers: Sequence[Header]) -> Response:
    headers = [(b"etag", tag.encode()), *headers]
    if request.method == "GET" and is_fresh(tag, header(request.scope, b"if-none-match")):
        return Answer(None, 304, headers)
    return Answer(body, status, headers)


def next_page(request: Request, cursor: str) -> str:
    """A reference relative to this host (RFC 8288 allows it): it does not depend on what the caller calls us."""
    parameters = [
        (name, value) for name, value in request.query_params.multi_items() if name not in ("offset", "cursor")
    ]
    return f"{request.scope['path']}?{urlencode([*parameters, ('cursor', cursor)])}"


def shown(thing: Entity, read: type[Read], query: ListQuery | None) -> dict[str, Any]:
    """The fields of the variant, or those asked for, and what is embedded."""
    fields = content_of(thing, read)
    if query is None:
        return fields
    if query.fields is not None:
        fields = {name: value for name, value in fields.items() if name in query.fields}
    for name in query.included:
        fields[name] = embedded(thing.__dict__[name], variant(query.includes[name]))
    return fields


def content_of(thing: SQLModel | dict[str, Any], read: type[SQLModel]) -> dict[str, Any]:
    values = thing if isinstance(thing, dict) else thing.__dict__  # what was loaded, and nothing that would have to be
    shown = {name: embedded(values[name], inner) if inner else values[name] for name, inner in shape(read)}
    for name in hidden_of(thing) if isinstance(thing, Entity) else ():
        shown.pop(name, None)
    return shown


def embedded(value: Any, read: type[SQLModel]) -> Any:
    if isinstance(value, list):
        return [content_of(one, read) for one in value]
    return None if value is None else content_of(value, read)
