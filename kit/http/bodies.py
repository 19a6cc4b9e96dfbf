"""Request bodies: read once, of a bounded size, and parsed as strict JSON (RFC 8259)."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.types import Receive, Scope

from kit.http.problems import Problem, malformed

MAX_DIGITS = 4300
"""The largest number of digits of an integer: Python's own limit."""


class BufferedRequest(Request):
    """A request whose body was read before, so that every attempt to serve the request can read it again."""

    def __init__(self, scope: Scope, receive: Receive, body: bytes) -> None:
        super().__init__(scope, receive)
        self._content, self._connection = body, receive
        self._is_used = False

    def next_attempt(self) -> "BufferedRequest":
        """The request for the next attempt, without parsed or consumed parts."""
        if self._is_used:
            return BufferedRequest(self.scope, self._connection, self._content).next_attempt()
        self._is_used = True
        return self

    async def stream(self) -> AsyncGenerator[bytes, None]:
        yield self._content
        yield b""

    async def body(self) -> bytes:
        return self._content

    async def json(self) -> Any:
        """The parsed body. Raises a 400 if it is not JSON."""
        if not hasattr(self, "_parsed"):
            self._parsed = parse(self._content)
        return self._parsed


async def read_body(receive: Receive, given: Mapping[bytes, bytes], limit: int) -> bytes:
    """Read the whole body. `given` are the headers of the request.

    Raises a 413 if the body, or its Content-Length, is larger than `limit` bytes, and a 400 if the client disconnects.
    """
    announced = given.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit:
        raise too_large(limit)
    body, is_complete = bytearray(), False
    while not is_complete:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise malformed("The body ended early.")
        body += message.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        is_complete = not message.get("more_body", False)
    return bytes(body)


def too_large(limit: int | None = None) -> Problem:
    """A 413 for a body over this limit, in bytes, or over one that is not known here."""
    detail = "The body is too large." if limit is None else f"The body may have at most {limit} bytes."
    return Problem(413, detail, kind="body-too-large", headers={"Connection": "close"})


def refuse_other_than_json(given: Mapping[bytes, bytes]) -> None:
    """Raise a 415 if the Content-Type is neither `application/json` nor `application/…+json`."""
    content_type = given.get(b"content-type", b"")
    if content_type == b"application/json":
        return
    media_type = content_type.decode("latin-1").partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    if not is_json:
        headers = {"Accept": "application/json"}
        raise Problem(415, "The body must be application/json.", kind="unsupported-media-type", headers=headers)


def refuse_encoded(given: Mapping[bytes, bytes]) -> None:
    """Raise a 415 if the body has a Content-Encoding (RFC 9110, section 8.4)."""
    if given.get(b"content-encoding", b"").strip().lower() not in (b"", b"identity"):
        headers = {"Accept-Encoding": "identity"}
        raise Problem(415, "The body may have no Content-Encoding.", kind="unsupported-media-type", headers=headers)


def parse(body: bytes) -> Any:
    """Parse a JSON document. Raises a 400 for wrong syntax or encoding, too deep nesting, and duplicate keys."""
    try:
        return DECODER.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError as failure:
        raise malformed("The body is not UTF-8.") from failure
    except json.JSONDecodeError as failure:
        raise malformed(f"The body is not JSON: {failure.msg} at character {failure.pos}.") from failure
    except RecursionError as failure:
        raise malformed("The body is nested too deeply.") from failure
    except ValueError as failure:
        raise malformed(f"The body has a number with more than {MAX_DIGITS} digits.") from failure


def _refuse_constant(name: str) -> NoReturn:
    raise malformed(f"{name} is not JSON.")


def _without_duplicates(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) < len(members):
        raise malformed("An object has a key twice.")
    return value


DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
"""Shared by all requests: constructing a decoder takes as long as parsing a body."""
