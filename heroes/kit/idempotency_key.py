"""Is it the same request: what an `Idempotency-Key` stands for, and what was asked under it."""

import hmac
import json
import re
from dataclasses import dataclass

from fastapi import Request

from heroes.kit.problem import Problem, error, invalid

HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True)
class Key:
    """`id` stands for caller, method, path and key, `request` for the query and the body; both are digests."""

    id: bytes
    request: bytes


async def key_of(request: Request) -> Key | None:
    """The request's key, if it has one; a 422 if it is not 1 to 255 visible ASCII characters, given once."""
    given = request.headers.getlist(HEADER)
    if request.method != "POST" or not given:
        return None
    if len(given) > 1 or not KEY.fullmatch(given[0]):
        raise refused("Expected 1 to 255 visible ASCII characters, once")
    body = await request.json() if await request.body() else None
    asked = json.dumps([sorted(request.query_params.multi_items()), body], sort_keys=True)
    secret, path = request.app.state.secret, request.url.path.rstrip("/")
    return Key(digest(secret, request.method, path, given[0]), digest(secret, asked))


def digest(secret: bytes, *parts: str) -> bytes:
    """Keyed, because a request may carry a password."""
    return hmac.digest(secret, "\0".join(parts).encode(), "sha256")


def refused(detail: str) -> Problem:
    return invalid([error("header", HEADER, detail, "idempotency_key")])
