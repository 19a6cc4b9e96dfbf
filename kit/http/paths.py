"""Paths of requests, with and without the prefix of a proxy or of an application that mounts this one."""

from starlette.types import Scope

ORIGINAL_PATH = "kit.original_path"
"""The key in the ASGI scope of the requested path, if a path with another trailing slash is served instead."""


def full_path(scope: Scope) -> str:
    """Return the path in the client's URL. Some servers include `root_path` in `path`, others do not."""
    root, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    return path if path == root or path.startswith(f"{root}/") else root + path


def path_in_application(scope: Scope) -> str:
    """Return the path without the prefix (`root_path`)."""
    root, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    return (path[len(root) :] or "/") if root and (path == root or path.startswith(f"{root}/")) else path
