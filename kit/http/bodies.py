"""What does a request's body look like: JSON, in UTF-8, of a bounded size and depth."""

import json
from collections.abc import AsyncGenerator
from typing import Any, NoReturn

from fastapi import Request
from starlette.requests import ClientDisconnect

from kit.http.problems import Problem
from kit.http.request_headers import header


def refuse_constant(name: str) -> NoReturn:
    raise malformed(f"{name} is not JSON.")


DECODER = json.JSONDecoder(parse_constant=refuse_constant)
"""Made once: to make one takes as long as to read a body."""


def malformed(detail: str) -> Problem:
    return Problem(400, detail, kind="malformed-body")


class Bounded(Request):
    """A request whose body has a limit, in bytes: over it, 413, whether it was announced or not."""

    limit: int

    async def stream(self) -> AsyncGenerator[bytes, None]:
        self.refuse_announced()
        size = 0
        try:
            async for chunk in super().stream():
                size += len(chunk)
                self.refuse_over_limit(size)
                yield chunk
        except ClientDisconnect as gone:
            raise malformed("The body ended early.") from gone

    def refuse_announced(self) -> None:
        announced = header(self.scope, b"content-length") or ""
        self.refuse_over_limit(int(announced) if announced.isdigit() else 0)

    def refuse_over_limit(self, size: int) -> None:
        if size > self.limit:
            detail = f"The body may have at most {self.limit} bytes."
            raise Problem(413, detail, kind="body-too-large", headers={"Connection": "close"})


class JSONBody(Bounded):
    """A request that reads its body with care.

    415 unless it is `application/json` or `+json`; 400 if it is not JSON: its syntax (NaN and Infinity included), its
    encoding, its depth.
    """

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            self._body = await self.whole()
            if self._body:
                self.refuse_other_types()
        return self._body

    async def whole(self) -> bytes:
        """Chunk by chunk, of which there is one as a rule: in half of the time that a stream takes."""
        self.refuse_announced()
        body, is_complete = bytearray(), False
        while not is_complete:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise malformed("The body ended early.")
            body += message.get("body", b"")
            self.refuse_over_limit(len(body))
            is_complete = not message.get("more_body", False)
        return bytes(body)

    def refuse_other_types(self) -> None:
        media_type = (header(self.scope, b"content-type") or "").partition(";")[0].strip().lower()
        if media_type != "application/json" and not (
            media_type.startswith("application/") and media_type.endswith("+json")
        ):
            raise Problem(415, "The body must be application/json.", kind="unsupported-media-type")

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse(await self.body())
        return self._json


def parse(body: bytes) -> Any:
    try:
        return DECODER.decode(body.decode())
    except UnicodeDecodeError as exc:
        raise malformed("The body is not UTF-8.") from exc
    except json.JSONDecodeError as exc:
        raise malformed(f"The body is not JSON: {exc.msg} at character {exc.pos}.") from exc
    except RecursionError as exc:
        raise malformed("The body is nested too deeply.") from exc
    except ValueError as exc:  # Python's own limit of 4300 digits
        raise malformed("The body has a number with too many digits.") from exc
