"""Is it the same request: what an `Idempotency-Key` stands for, and what was asked under it."""

import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request

from kit.auth.permissions import CALLER
from kit.http.problems import Problem, error, invalid
from kit.http.request_headers import headers

HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True)
class Key:
    """`id` stands for caller, method, path and key, `request` for the query and the body; both are digests.

    The latter is keyed, because a body may carry a password: with the first secret, and `older` with the others.
    """

    id: bytes
    request: bytes
    older: Sequence[bytes]


async def key_of(request: Request) -> Key | None:
    """The request's key, if it has one; a 422 if it is not 1 to 255 visible ASCII characters, given once."""
    given = headers(request.scope, b"idempotency-key") if request.method == "POST" else []
    if not given:
        return None
    if len(given) > 1 or not KEY.fullmatch(given[0]):
        raise refused("Expected 1 to 255 visible ASCII characters, once")
    body = await request.json() if await request.body() else None
    asked = json.dumps([sorted(request.query_params.multi_items()), body], sort_keys=True)
    named = [str(CALLER.get().id or ""), request.method, request.scope["path"].rstrip("/"), given[0]]
    latest, *older = [hmac.digest(secret, asked.encode(), "sha256") for secret in request.app.state.secrets]
    return Key(hashlib.sha256("\0".join(named).encode()).digest(), latest, older)


def refused(detail: str) -> Problem:
    return invalid([error("header", HEADER, detail, "idempotency_key")])
