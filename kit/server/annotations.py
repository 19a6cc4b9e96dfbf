"""Annotations of handlers: finds the type that a handler returns, and the models and tables within a type."""

import functools
import inspect
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel
from sqlmodel import SQLModel


def returned_by(handler: Any) -> Any:
    """Return the return annotation of a handler; None if there is none, or if it cannot be resolved."""
    try:
        return get_type_hints(function_of(handler)).get("return")
    except (NameError, TypeError):
        return None


def function_of(handler: Any) -> Any:
    """Return the function behind `functools.partial` and decorators, or the `__call__` of an object."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = inspect.unwrap(handler)
    return handler if inspect.isroutine(handler) else getattr(type(handler), "__call__", None)  # noqa: B004


def tables_in(annotation: Any) -> Iterator[str]:
    """Yield the class names of the tables within a type."""
    for model in models_in(annotation):
        if issubclass(model, SQLModel) and hasattr(model, "__table__"):
            yield model.__name__


def models_in(annotation: Any, seen: set[Any] | None = None) -> Iterator[type[BaseModel]]:
    """Yield the models within a type, and recursively in their fields, each once. The fields of tables are skipped."""
    seen = set() if seen is None else seen
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in seen:
            return
        seen.add(annotation)
        yield annotation
        if hasattr(annotation, "__table__"):
            return
        parts: Iterable[Any] = [field.annotation for field in annotation.model_fields.values()]
    else:
        parts = get_args(annotation)
    for part in parts:
        yield from models_in(part, seen)
