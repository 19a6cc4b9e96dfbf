"""Replaced functions: tells which functions of FastAPI and Starlette another library has replaced.

Agents that trace requests or report exceptions replace some, such as those of Sentry and Datadog. Their code runs only
if dispatch lets FastAPI serve the requests. It has to be installed before the first request.
"""

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from fastapi import FastAPI, routing
from fastapi.dependencies import utils
from fastapi.routing import APIRoute, APIRouter
from starlette.applications import Starlette
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Route, Router

LIBRARIES = ("fastapi", "starlette")
Names = Mapping[Any, tuple[str, ...]]
"""The names of functions, by the class or module that defines them."""
OF_LAYERS: Names = {
    Starlette: ("__call__", "build_middleware_stack"),
    FastAPI: ("__call__", "build_middleware_stack"),
    ServerErrorMiddleware: ("__init__", "__call__"),
}
"""The functions of the layers around the application's middleware. The outer dispatch does not call them."""
OF_ROUTES: Names = {
    ExceptionMiddleware: ("__init__", "__call__"),
    Router: ("__call__", "app"),
    APIRouter: ("app",),
    Route: ("matches", "handle"),
    APIRoute: ("matches", "handle", "get_route_handler"),
    routing: (
        "get_request_handler",
        "request_response",
        "run_endpoint_function",
        "serialize_response",
        "solve_dependencies",
    ),
    utils: ("solve_dependencies", "request_params_to_args", "request_body_to_args"),
}
"""The functions of the router, of routes, and of exception handlers. Neither dispatch calls them."""


def replaced(names: Names) -> list[str]:
    """Return a message for each function that another library has replaced, such as `agent has replaced Router.app`."""
    return [
        f"{defining_module(function)} has replaced {owner.__name__}.{name}"
        for owner, own in names.items()
        for name, function in vars(owner).items()
        if name in own and not is_original(function)
    ]


def is_original(function: Any) -> bool:
    """Return whether FastAPI or Starlette defines a function. The attributes of a wrapper may say so wrongly."""
    return type(function) is FunctionType and defining_module(function).partition(".")[0] in LIBRARIES


def defining_module(function: Any) -> str:
    module: str = function.__globals__["__name__"] if type(function) is FunctionType else type(function).__module__
    return module
