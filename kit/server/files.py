"""Files: what Starlette's static files leave out of RFC 9110, ranges of other units and `Vary` of parts and 304s."""

from mimetypes import guess_type

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kit.http.codings import TEXTUAL, VARIES, varies
from kit.http.request_headers import ignore_other_ranges

ALLOWED = {"Allow": "GET, HEAD"}
OTHER_FORMS = (206, 304)
"""The statuses of a part of a file, and of a response without content."""


class Files:
    """Wraps an ASGI application that serves files, such as Starlette's `StaticFiles` or a frontend."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = guess_type(str(scope["path"]))[0] or "text/html"  # the index of a folder
        is_text = TEXTUAL.fullmatch(kind.encode()) is not None

        async def send_completed(message: Message) -> None:
            """Send a message. A part or a 304 varies as the whole file does (RFC 9110, 15.3.7 and 15.4.5)."""
            if is_text and message.get("status") in OTHER_FORMS and not varies(dict(message["headers"])):
                message = {**message, "headers": [*message["headers"], VARIES]}
            await send(message)

        ignore_other_ranges(scope)
        try:
            await self.app(scope, receive, send_completed)
        except HTTPException as failure:
            if failure.status_code != 405:
                raise
            raise HTTPException(405, failure.detail, ALLOWED) from failure  # a frontend's is without `Allow`
