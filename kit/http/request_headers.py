"""Request headers, read from the ASGI scope directly, which is cheaper than Starlette's `Headers`."""

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """Return the value of the first header of this name (lower case); None if the request does not have it."""
    return next(iter(headers(scope, name)), None)


def headers(scope: Scope, name: bytes) -> list[str]:
    """Return the values of all headers of this name (lower case)."""
    return [value.decode("latin-1") for given, value in scope["headers"] if given == name]
