"""Request headers, read directly from the ASGI scope, which is faster than Starlette's `Headers`."""

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """Return the value of the first header with this lower-case name; None if there is none."""
    return next(iter(headers(scope, name)), None)


def headers(scope: Scope, name: bytes) -> list[str]:
    """Return the values of all headers with this lower-case name, in their order."""
    return [value.decode("latin-1") for given, value in scope["headers"] if given == name]
