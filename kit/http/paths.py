"""Paths of requests, with and without `root_path`: the prefix of a proxy, or of an application that mounts this one."""

from urllib.parse import quote

from starlette.types import Scope

ORIGINAL_PATH = "kit.original_path"
"""The key in the ASGI scope of the path in the request, if its trailing slash was added or removed for routing."""
SAFE_IN_PATHS = "/!$&'()*+,;=:@~"
"""The characters of a path that are not escaped, besides letters, digits, `-`, `.` and `_` (RFC 3986, section 3.3)."""


def full_path(scope: Scope) -> str:
    """Return the path in the client's URL with `root_path`, percent-encoded.

    Some servers include `root_path` in `path`, others do not.
    """
    root, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    whole = path if path == root or path.startswith(f"{root}/") else root + path
    return quote(whole, SAFE_IN_PATHS, errors="replace")


def path_in_application(scope: Scope) -> str:
    """Return the path without `root_path`, as the routes of the application declare it."""
    root, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    return (path[len(root) :] or "/") if root and (path == root or path.startswith(f"{root}/")) else path
