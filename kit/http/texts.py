"""Normalisation to NFC of the text of requests outside of JSON: path and query parameters, and form fields."""

from collections.abc import Awaitable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode

from starlette.datastructures import FormData, UploadFile
from starlette.types import Scope

from kit.http.encoding import TooManyMarksError, composed
from kit.http.problems import error, invalid

REPLACEMENT = "\ufffd"
"""The character that replaces bytes that are not UTF-8."""


class FormText(str):
    """The text of a form field, which has no types: the strict types of bodies read numbers and booleans from it."""

    __slots__ = ()


def compose_path(scope: Scope) -> None:
    """Normalise the path parameters in the scope to NFC. Raises a 422, also for bytes that are not UTF-8."""
    if not scope["path"].isascii():
        parameters = scope.get("path_params", {})
        refuse_other_encodings("path", replaced_in(parameters.items(), scope.get("raw_path", b"")))
        scope["path_params"] = {name: composed_part("path", name, value) for name, value in parameters.items()}


def compose_query(scope: Scope, *, keeps_bytes: bool = False) -> None:
    """Normalise the query in the scope to NFC, unless it is in this form already. Raises a 422.

    A query with bytes that are not UTF-8 is refused too; with `keeps_bytes` it is left as it is.
    """
    if b"%" not in scope["query_string"]:
        return
    query = scope["query_string"].decode("latin-1")
    pairs = parse_qsl(query, keep_blank_values=True)
    if all(name.isascii() and value.isascii() for name, value in pairs):
        return
    replaced = replaced_in(pairs, scope["query_string"])
    if not keeps_bytes:
        refuse_other_encodings("query", replaced)
    given = [(composed_part("query", name, name), composed_part("query", name, value)) for name, value in pairs]
    if given != pairs and not replaced:
        scope["query_string"] = urlencode(given, errors="replace").encode()


def replaced_in(parameters: Iterable[tuple[str, Any]], raw: bytes) -> list[str]:
    """Return the names of the parameters with bytes that are not UTF-8, which decoding has replaced by U+FFFD.

    `raw` are the bytes of all parameters, because U+FFFD may also have been sent.
    """
    names = [name for name, value in parameters if REPLACEMENT in name or REPLACEMENT in str(value)]
    return names if names and not is_utf8(unquote_to_bytes(raw)) else []


def refuse_other_encodings(where: str, names: Iterable[str]) -> None:
    errors = [error(where, name, "Text should be in UTF-8.", "text_encoding") for name in names]
    if errors:
        raise invalid(errors)


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def composed_part(where: str, name: str, value: Any) -> Any:
    """Return text in NFC, and other values unchanged. Raises a 422 for too many combining marks in a row.

    `where` and `name` are the part of the request and the parameter, for the error.
    """
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
        text = composed_part("body", "#", value)
        yield composed_part("body", "#", name), FormText(text) if isinstance(text, str) else text


class ComposedForm:
    """A form with text in NFC. Like the result of `Request.form()`, it is an awaitable and a context manager."""

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
