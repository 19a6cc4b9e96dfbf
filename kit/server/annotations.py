"""Annotations of handlers: finds the type that a handler returns, and the models and tables within a type."""

import functools
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, get_type_hints

from pydantic import BaseModel
from sqlmodel import SQLModel

from kit.models.type_parts import is_named, is_of_fields, types_of_fields, types_within


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
    """Yield the models within a type, and recursively in its fields, each once. The fields of tables are skipped.

    Fields are those of dataclasses, `TypedDict`s and named tuples too.
    """
    seen = set() if seen is None else seen
    if is_of_fields(annotation) or is_named(annotation):
        if annotation in seen:
            return
        seen.add(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in parts_of(annotation):
        yield from models_in(part, seen)


def parts_of(annotation: Any) -> Sequence[Any]:
    """Return the types of the fields of a type, those that it computes included; of other types those within them."""
    if not is_of_fields(annotation):
        return types_within(annotation)
    if hasattr(annotation, "__table__"):
        return ()
    computed = getattr(annotation, "__pydantic_decorators__", None)
    returned = [] if computed is None else [each.info.return_type for each in computed.computed_fields.values()]
    return [*types_of_fields(annotation).values(), *returned]
