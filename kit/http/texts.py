"""Text of requests outside of JSON, in the form NFC: parameters of paths and queries, and fields of forms."""

from collections.abc import Awaitable, Generator, Iterator
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import FormData, UploadFile
from starlette.types import Scope

from kit.http.encoding import TooManyMarksError, composed
from kit.http.problems import error, invalid


def compose_path(scope: Scope) -> None:
    """Put the text of the parameters in a path into the form NFC."""
    if not scope["path"].isascii():
        path = {name: composed_part("path", name, value) for name, value in scope.get("path_params", {}).items()}
        scope["path_params"] = path


def compose_query(scope: Scope) -> None:
    """Put the text of the parameters in a query into the form NFC."""
    if b"%" not in scope["query_string"]:
        return
    query = scope["query_string"].decode("latin-1")
    pairs = parse_qsl(query, keep_blank_values=True)
    if not all(name.isascii() and value.isascii() for name, value in pairs):
        given = [(composed_part("query", name, name), composed_part("query", name, value)) for name, value in pairs]
        scope["query_string"] = urlencode(given, errors="replace").encode()


def composed_part(where: str, name: str, value: Any) -> Any:
    """Return a value of a request in the form NFC. Raises a 422 for text that takes too long to be normalised."""
    if not isinstance(value, str):
        return value
    try:
        return composed(value)
    except TooManyMarksError as failure:
        raise invalid([error(where, name, str(failure), "combining_marks")]) from failure


def composed_fields(form: FormData) -> Iterator[tuple[str, UploadFile | str]]:
    for name, value in form.multi_items():
        if not isinstance(value, str):
            value.filename = composed_part("body", "#", value.filename)
        yield composed_part("body", "#", name), composed_part("body", "#", value)


class ComposedForm:
    """A form whose text is in the form NFC: an awaitable and a context manager, as `Request.form()` returns it."""

    def __init__(self, form: Awaitable[FormData]) -> None:
        self.form = form

    def __await__(self) -> Generator[Any, None, FormData]:
        return self.parsed().__await__()

    async def parsed(self) -> FormData:
        self.fields = FormData(list(composed_fields(await self.form)))
        return self.fields

    async def __aenter__(self) -> FormData:
        return await self.parsed()

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.fields.close()
