"""Paths of requests, with and without the prefix of a proxy or of an application that mounts this one."""

from urllib.parse import quote

from starlette.types import Scope

ORIGINAL_PATH = "kit.original_path"
"""The key in the ASGI scope of the requested path, if a path with another trailing slash is served instead."""
SAFE_IN_PATHS = "/!$&'()*+,;=:@~"
"""The characters that a path may contain beside letters, digits, `-`, `.` and `_` (RFC 3986, section 3.3)."""


def full_path(scope: Scope) -> str:
    """Return the path in the client's URL, escaped for a header.

    Some servers include `root_path` in `path`, others do not.
    """
    root, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    whole = path if path == root or path.startswith(f"{root}/") else root + path
    return quote(whole, SAFE_IN_PATHS, errors="replace")


def path_in_application(scope: Scope) -> str:
    """Return the path without the prefix (`root_path`)."""
    root, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    return (path[len(root) :] or "/") if root and (path == root or path.startswith(f"{root}/")) else path
