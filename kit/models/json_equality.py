"""Equality of JSON values: Python's `==` takes `true` for 1, so that SQLAlchemy would not store such a change."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from sqlalchemy import JSON, Table


def is_same_json(one: Any, other: Any) -> bool:
    """Return whether two values are equal in JSON. The order of the members of an object does not matter."""
    if isinstance(one, BaseModel) and type(one) is type(other):
        return is_same_json(vars(one), vars(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same_json(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_same_json, one, other))
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


def compare_as_json(table: Table) -> None:
    """Let SQLAlchemy compare the values of the JSON columns of a table, as with `sa_type=JSON`, by `is_same_json`."""
    for column in table.columns:
        if isinstance(column.type, JSON):
            column.type.compare_values = is_same_json  # type: ignore[assignment]
