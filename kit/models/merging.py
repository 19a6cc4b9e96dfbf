"""Merging: `session.merge` of a row that was just constructed takes version and times of the stored row.

SQLAlchemy copies every attribute that the given row has, and compares its version, unless it is unset. But the fields
of a table have defaults: without this, `merge(Team(id=1, name="Preventers"))` would be a change of version 1,
and would set a `Computed` column, which the databases refuse.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import inspect

from kit.models.entities import Entity, Stamped


@contextmanager
def without_stamps(*rows: object) -> Iterator[None]:
    """Unset computed values, and the stamps that were not set, in these rows and those that are merged with them."""
    unset = [
        (row.__dict__, name) for row in {id(row): row for row in merged_with(rows)}.values() for name in stamps(row)
    ]
    values = [given.pop(name) for given, name in unset]
    try:
        yield
    finally:
        for (given, name), value in zip(unset, values, strict=True):
            given[name] = value


def merged_with(rows: tuple[object, ...]) -> Iterator[Any]:
    """Yield these rows, and the related rows to which a merge cascades."""
    for row in rows:
        yield row
        state: Any = inspect(row, raiseerr=False)
        if state is not None:  # else SQLAlchemy raises its exception for an object without a table
            yield from (related for related, *_ in state.mapper.cascade_iterator("merge", state))


def stamps(row: object) -> Iterator[str]:
    """Yield the fields that hold their defaults, if the row was constructed with an id, and those that are computed."""
    if isinstance(row, Entity) and inspect(row).transient and "id" in row.model_fields_set:
        computed = {name for name, column in inspect(type(row)).columns.items() if is_computed(column)}
        yield from (name for name in Stamped.model_fields if name not in row.model_fields_set and name in row.__dict__)
        yield from computed & row.__dict__.keys()


def is_computed(column: Any) -> bool:
    return getattr(column, "computed", None) is not None
