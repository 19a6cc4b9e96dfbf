"""The list of all routes for `make routes`: method, path, permission, and line of code."""

import inspect
import os
from typing import TYPE_CHECKING, Any

from kit.server.routes import entries_of

if TYPE_CHECKING:
    from kit.server.service import Service


def describe_routes(service: "Service") -> str:
    """Return a text table of all routes, sorted by path, with method, path, permission and source."""
    service.check_routes()
    rows = [
        (entry.method, entry.path, service.runtime.permissions[entry.key].name.lower(), source_of(entry.handler))
        for entry in entries_of(service.routes)
    ]
    rows += [
        ("FRONTEND", path, "anyone" if service.is_public(f"FRONTEND {path}") else "superusers", "-")
        for path in service.frontends.routers
    ]
    rows.sort(key=lambda row: (row[1], row[0]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def source_of(handler: Any) -> str:
    """Return the file and line of a function; for another object, the name of its class."""
    handler = inspect.unwrap(handler)
    code = getattr(handler, "__code__", None)
    if code is None:
        kind = handler if isinstance(handler, type) else type(handler)
        return f"{kind.__module__}.{kind.__qualname__}"
    return f"{os.path.relpath(code.co_filename)}:{code.co_firstlineno}"
