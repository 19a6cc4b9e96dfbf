"""Units of work: the state of one attempt to serve a request, from its session to the headers of its answer."""

from contextvars import ContextVar, Token
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from kit.database.sessions import ReadSession, WriteSession
from kit.http.etags import is_fresh, weak_etag
from kit.http.request_headers import header
from kit.operations.commits import is_open_ended

UNIT: ContextVar["Unit | None"] = ContextVar("unit", default=None)
"""The unit of work in which this task serves a request; None outside of the operations of resources."""
OF_A_BODY = (b"content-type", b"content-length")


class Unit:
    """One attempt. Its session is closed at the end, unless a stream or background tasks go on with it."""

    def __init__(self, request: Request, session: ReadSession | WriteSession) -> None:
        self.request, self.session = request, session
        self.etag: str | None = None
        self.is_tagged_by_content = False
        """Whether the ETag is made of the content of the answer, which has no version of its own."""
        self.digest: bytes | None = None
        """SHA-256 of the content, where it is known already."""
        self.headers: dict[str, str] = {}
        self.is_open_ended = False

    async def flush(self, *others: Any) -> None:
        """Write what the handler left to write, so that ids and versions are known; `others` may be sessions too."""
        if isinstance(self.session, WriteSession):
            await self.session.prepare_commit()
        for session in others:
            if isinstance(session, AsyncSession) and session is not self.session:  # a dependency was overridden
                await session.flush()

    def finish(self, response: Response) -> Response:
        """The response with the headers of this unit; a 304 if the client has it already."""
        self.is_open_ended = is_open_ended(response)
        for name, value in self.headers.items():
            response.headers.setdefault(name, value)
        if self.is_tagged_by_content and hasattr(response, "body"):
            others = (value.encode("latin-1") for value in self.headers.values())
            self.etag = weak_etag(self.digest or sha256(response.body).digest(), *others)
        if self.etag is None or not 200 <= response.status_code < 300:  # RFC 9110, section 13.2.1
            return response
        response.headers.setdefault("etag", self.etag)
        is_known = self.request.method == "GET" and is_fresh(
            response.headers["etag"], header(self.request.scope, b"if-none-match")
        )
        return not_modified(response) if is_known else response

    async def __aenter__(self) -> Self:
        self._token: Token[Unit | None] = UNIT.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        UNIT.reset(self._token)
        if failure is not None or not self.is_open_ended:
            await self.session.__aexit__(kind, failure, trace)


def not_modified(response: Response) -> Response:
    """The same answer without its body (RFC 9110, section 15.4.5)."""
    answer = Response(status_code=304, background=response.background)
    answer.raw_headers = [item for item in response.raw_headers if item[0] not in OF_A_BODY]
    return answer
