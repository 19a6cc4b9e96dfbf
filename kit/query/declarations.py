"""Declarations of a `ListQuery`: default fields for filters and sorts, and checks when the class is defined."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import UniqueConstraint, inspect
from sqlmodel import SQLModel

from kit.models.kinds import SEARCHED, SORTED, Shape, shape_of_field
from kit.models.reads import Read
from kit.query.filters import operators_of


def shape_of(model: type[SQLModel], field: str) -> Shape:
    return shape_of_field(model.model_fields[field])


def indexed(model: type[SQLModel], read: type[Read]) -> list[str]:
    """Return the fields of a read variant, in its order, that are the first column of an index or UNIQUE."""
    mapper: Any = inspect(model)
    table = mapper.local_table
    parts = [*table.indexes, *(part for part in table.constraints if isinstance(part, UniqueConstraint))]
    fields = {column: name for name, column in mapper.columns.items()}
    first = {fields.get(next(iter(part.columns))) for part in parts if len(part.columns)}
    return [name for name in read.model_fields if name in first and name in model.model_fields]


def filtered(model: type[SQLModel], names: Sequence[str]) -> list[str]:
    return [name for name in names if operators_of(shape_of(model, name))]


def sorted_fields(model: type[SQLModel], names: Sequence[str]) -> list[str]:
    return [name for name in names if shape_of(model, name).kind in SORTED]


def check(query: Any) -> None:
    """Raise a TypeError for the first wrong declaration of a `ListQuery` class."""
    for error in errors(query):
        raise TypeError(error)


def refuse_twice(query: Any, parameters: Sequence[str]) -> None:
    """Raise a TypeError if two query parameters have the same name, or a relationship in `includes` that of a field."""
    for name in (name for name in parameters if parameters.count(name) > 1):
        raise TypeError(
            f"{query.__name__} would have two parameters {name!r}, one of them the filter of a field: give the field "
            f"another name, such as `{name}_value`, or declare `filters` without it."
        )
    shown = {*query.read.model_fields, *query.read.model_computed_fields}
    for name in query.includes:
        if not shown.isdisjoint((name, f"{name}_next")):
            raise TypeError(
                f"{query.__name__}.includes has {name!r}, but {query.read.__name__} has a field of that name, or "
                f"`{name}_next`: give the field or the relationship another name."
            )


def errors(query: Any) -> Iterator[str]:
    model, fields = query.model, query.model.model_fields
    terms = query.default_sort.split(",")
    declarations = {
        "filters": query.filters, "sorts": query.sorts, "search": query.search,
        "default_sort": [term.removeprefix("-") for term in terms],
    }  # fmt: skip
    for declaration, names in declarations.items():
        for name in names:
            if name not in fields:
                known = ", ".join(fields)
                yield f"{query.__name__}.{declaration} names {name!r}: the fields of {model.__name__} are {known}."
            elif error := error_of(shape_of(model, name), declaration):
                yield f"{query.__name__}.{declaration} names {name!r}, {error}: remove it there."


def error_of(shape: Shape, declaration: str) -> str | None:
    """Return why a field of this shape cannot be named in a declaration, such as `filters`; None if it can."""
    kind = shape.kind or f"of type {getattr(shape.plain, '__name__', shape.plain)}"
    if declaration == "filters" and not operators_of(shape):
        return f"which is {kind} and never null, so that it cannot be filtered"
    if declaration in ("sorts", "default_sort") and shape.kind not in SORTED:
        return f"which is {kind}, and has no order"
    if declaration == "search" and shape.kind not in SEARCHED:
        return f"which is {kind}, not text"
    return None
