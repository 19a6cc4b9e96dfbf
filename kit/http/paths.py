"""Paths of requests, with the prefix under which a proxy or another application shows this service."""

from starlette.types import Scope

ORIGINAL_PATH = "kit.original_path"
"""The key of the ASGI scope for the path of the request, while the path with the other trailing slash is served."""


def full_path(scope: Scope) -> str:
    """The path as the client knows it. Servers put `root_path` in front of `path`, or leave it out."""
    root, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    return path if path == root or path.startswith(f"{root}/") else root + path


def path_in_application(scope: Scope) -> str:
    """The path without the prefix under which another application mounts this one."""
    root, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    return (path[len(root) :] or "/") if root and (path == root or path.startswith(f"{root}/")) else path
