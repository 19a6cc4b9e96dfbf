"""Paths of requests, with and without `root_path`: the prefix of a proxy, or of an application that mounts this one."""

import re
from urllib.parse import quote, unquote

from starlette.types import Scope

ORIGINAL_PATH = "kit.original_path"
"""The key in the ASGI scope of the path in the request, if its trailing slash was added or removed for routing."""
ROOT_PATH = "kit.root_path"
"""The key in the ASGI scope of the service's `root_path`: a mount within the service adds its own path to that."""
SAFE_IN_PATHS = "/!$&'()*+,;=:@~"
"""The characters of a path that are not escaped, besides letters, digits, `-`, `.` and `_` (RFC 3986, section 3.3)."""

VALID = re.compile(r"(?:[A-Za-z0-9._~/!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*")
"""A path of a URI (RFC 3986, section 3.3)."""


def instance_of(scope: Scope, limit: int) -> str:
    """Return the path of the request as a URI reference: as it was sent, if it is valid, and not longer than `limit`.

    To escape it again could make another URI of it: `%2B` and `+` are different ones.
    """
    path, raw = str(scope.get(ORIGINAL_PATH, scope["path"])), bytes(scope.get("raw_path") or b"").decode("latin-1")
    sent = unquote(raw)
    if len(path) > limit or not path.endswith(sent) or not VALID.fullmatch(raw):
        return quote(path[:limit], SAFE_IN_PATHS, errors="replace")
    return quote(path.removesuffix(sent), SAFE_IN_PATHS, errors="replace") + raw


def other_slash(path: str) -> str:
    """Return the path with a trailing slash added, or its trailing slash removed; one that ends with `//` unchanged."""
    if path.endswith("//"):
        return path
    return path[:-1] if path.endswith("/") else f"{path}/"


def full_path(scope: Scope) -> str:
    """Return the path in the client's URL with `root_path`, percent-encoded.

    Some servers include `root_path` in `path`, others do not.
    """
    root, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    whole = path if path == root or path.startswith(f"{root}/") else root + path
    return quote(whole, SAFE_IN_PATHS, errors="replace")


def root_of(scope: Scope) -> str:
    """Return `root_path` without a trailing slash, percent-encoded, as `full_path` has it."""
    return quote(str(scope.get("root_path", "")).rstrip("/"), SAFE_IN_PATHS, errors="replace")


def path_in_application(scope: Scope) -> str:
    """Return the path without `root_path`, as the routes of the application declare it."""
    root, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    return (path[len(root) :] or "/") if root and (path == root or path.startswith(f"{root}/")) else path
