"""The runtime of an application: its database, authentication and limits, in one typed object."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import HTTPConnection

from kit.auth.authentication import Authenticator
from kit.auth.login_limits import LoginLimits
from kit.auth.permissions import Who
from kit.database.databases import Database
from kit.http.documents import MAX_VALUES

MAX_PAGE_SIZE = 12 * 2**20
"""The default maximum size of a page of a list, in bytes of its JSON."""


@dataclass
class Runtime:
    """The shared state of an application's operations. Sizes are in bytes, times in seconds.

    `secrets`: the first one signs tokens, cursors and digests. Signatures by the others stay valid.
    """

    database: Database
    authenticator: Authenticator[Any]
    login_limits: LoginLimits
    secrets: Sequence[bytes]
    max_body_size: int = 2**20
    max_body_values: int = MAX_VALUES
    max_page_size: int = MAX_PAGE_SIZE
    max_upload_size: int = 10 * 2**20
    request_timeout: float = 15
    checks: list[Callable[[], Mapping[str, str]]] = field(default_factory=list)
    """Functions that return more entries for `checks` in `/health/ready`. They do not affect its status."""
    permissions: dict[tuple[int, str], Who] = field(default_factory=dict)
    """The permission of each route, by `id(route)` and method; filled when the application starts."""
    check_routes: Callable[[], None] = lambda: None
    """Fills `permissions` again if routes have changed since; set by the service."""
    writing_routes: frozenset[int] = frozenset()
    """The `id(route)` of the routes that take `Session` without a unit of work; filled with `permissions`."""
    routes_without_caller: frozenset[int] = frozenset()
    """The `id(route)` of the routes that need neither a permission nor a principal; filled with `permissions`."""
    routes_without_conditions: frozenset[int] = frozenset()
    """The `id(route)` of the operations that do not check `If-Match`; filled with `permissions`."""
    direct_handles: dict[int, Callable[..., Awaitable[Any]]] = field(default_factory=dict)
    """By `id(route)`, the function that serves it without FastAPI's dependencies; filled with `permissions`."""
    filtered_lists: Mapping[tuple[type[Any], str], tuple[str, Collection[str], str]] = field(default_factory=dict)
    """By entity and field: the path of a list that can be filtered by the field, its sorts, and its default sort."""
    fast_page: Callable[..., Awaitable[Any]] | None = None
    """Reads a page without the ORM, or returns None if the ORM has to read it; set by the fast path."""


def runtime_of(connection: HTTPConnection) -> Runtime:
    """Return the runtime of the application of a request or WebSocket. Raises a TypeError if it is not a `Service`."""
    runtime = getattr(connection.scope["app"], "runtime", None)
    if not isinstance(runtime, Runtime):
        raise TypeError("This route needs an application of the class `kit.Service`: include its router there.")
    return runtime
