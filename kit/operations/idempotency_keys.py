"""Idempotency keys: parses the header `Idempotency-Key`, and makes the digests by which a request is recognised."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.types import Message

from kit.http.bodies import BufferedRequest
from kit.http.paths import path_in_application
from kit.http.principals import CURRENT_PRINCIPAL, Principal
from kit.http.problems import Problem, error, invalid
from kit.http.request_headers import header, headers
from kit.operations.callers import Caller, get_caller
from kit.runtime import runtime_of

HEADER = "Idempotency-Key"
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
NO_LIMITS: Mapping[str, Any] = MappingProxyType({})
CALLER = "kit.overriding_caller"
"""The key, in a copy of the ASGI scope, of the caller that an override of `get_caller` returns."""
KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True)
class IdempotencyKey:
    """The digests of a request: `id` of its caller, method, path and key; `request` of its query and body.

    `request` is a keyed digest (HMAC) with the first secret, because a body may contain a password. `older` are the
    digests with the other secrets, for keys that were stored before the secret was rotated.
    """

    id: bytes
    request: bytes
    older: Sequence[bytes]


async def key_of(request: Request, form_limits: Mapping[str, Any] = NO_LIMITS) -> IdempotencyKey | None:
    """Return the key of a POST; None without the header, and for other methods.

    Raises a 422 if it is not 1 to 255 visible ASCII characters, if it is repeated, or if requests need a token and this
    one has none.
    """
    lines = headers(request.scope, b"idempotency-key") if request.method == "POST" else []
    if not lines:
        return None
    if len(lines) > 1 or not KEY.fullmatch(lines[0]):
        raise refused("Expected 1 to 255 visible ASCII characters, once")
    is_overridden = get_caller in request.app.dependency_overrides
    caller = await _overriding_caller(request) if is_overridden else CURRENT_PRINCIPAL.get().id
    if caller is None and runtime_of(request).authenticator.is_required and not is_overridden:
        raise refused("A key needs a caller with a token")
    query, path = sorted(request.query_params.multi_items()), path_in_application(request.scope).rstrip("/")
    content = json.dumps([query, await _content(request, form_limits)], sort_keys=True).encode()
    named = [str(caller or ""), request.method, path, lines[0]]
    latest, *older = [hmac.digest(secret, content, "sha256") for secret in runtime_of(request).secrets]
    return IdempotencyKey(hashlib.sha256("\0".join(named).encode()).digest(), latest, older)


async def _overriding_caller(request: Request) -> int | None:
    """Return the id of the caller that an override of `get_caller` returns. FastAPI calls it with its dependencies."""
    router = APIRouter(dependency_overrides_provider=request.app)
    router.add_api_route("/", _note_caller, methods=["POST"], response_model=None)
    scope = dict(request.scope)
    await cast("APIRoute", router.routes[0]).app(scope, request.receive, _discard)
    caller: Principal | None = scope.get(CALLER)
    return None if caller is None else caller.id


async def _note_caller(request: Request, caller: Caller) -> None:
    request.scope[CALLER] = caller


async def _discard(_: Message) -> None:
    """Send nothing: the application sends the response."""


async def _content(request: Request, form_limits: Mapping[str, Any]) -> Any:
    """Return the content of the body for the digest. Forms are parsed, because a repeated one has another boundary."""
    body, media_type = await request.body(), header(request.scope, b"content-type") or ""
    if not body:
        return None
    if "json" in media_type:
        return await request.json()
    if media_type.startswith(FORMS):
        own = BufferedRequest.of_body(request.scope, request.receive, body)  # the handler reads and closes its own
        async with own.form(**form_limits) as form:
            return [[name, await _part(value)] for name, value in form.multi_items()]
    return hashlib.sha256(body).hexdigest()


async def _part(value: UploadFile | str) -> Any:
    if isinstance(value, str):
        return value
    return [value.filename, value.content_type, hashlib.sha256(await value.read()).hexdigest()]


def refused(detail: str) -> Problem:
    return invalid([error("header", HEADER, detail, "idempotency_key")])
