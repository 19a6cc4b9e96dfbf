"""Request headers, read from the ASGI scope without an object made for all of them."""

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """The value of the first header of this name, which is in lower case; None if there is none."""
    return next(iter(headers(scope, name)), None)


def headers(scope: Scope, name: bytes) -> list[str]:
    """The values of all headers of this name, which is in lower case."""
    return [value.decode("latin-1") for given, value in scope["headers"] if given == name]
