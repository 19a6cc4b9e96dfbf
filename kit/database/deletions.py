"""Deletions: sets the references to a deleted row to NULL, in the database and in the relationships of the session."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Table, Update, inspect, update
from sqlalchemy.orm import MANYTOONE, RelationshipProperty
from sqlalchemy.orm.attributes import set_committed_value

from kit.auth.owners import entity_of


def updates_of_referrers(row: Any) -> Iterator[Update]:
    """Yield UPDATEs for the rows that refer to `row` by ON DELETE SET NULL: reference to NULL, and a new version.

    To be executed before the DELETE, by which the database would change these rows without a new version.
    """
    table = inspect(type(row)).local_table
    for referrers in table.metadata.tables.values():
        if entity_of(referrers) is not None:  # other tables have no version
            yield from _updates_of(referrers, table, row)


def _updates_of(referrers: Table, table: Table, row: Any) -> Iterator[Update]:
    for key in referrers.foreign_keys:
        if key.ondelete == "SET NULL" and key.column.table is table:
            values = {key.parent: None, referrers.c.version: referrers.c.version + 1}
            yield update(referrers).where(key.parent == getattr(row, key.column.key)).values(values)


def remove_references_to_itself(row: Any) -> None:
    """Remove the references of a row to itself from its relationships.

    Otherwise SQLAlchemy could not order the deletions: a row is deleted before the row that it refers to.
    """
    mapper = inspect(type(row))
    for relationship in mapper.relationships:
        if relationship.mapper is mapper and not relationship.viewonly:
            _remove_reference(row, relationship)


def _remove_reference(row: Any, relationship: RelationshipProperty[Any]) -> None:
    name, parent = relationship.key, relationship.parent
    pairs = [[parent.get_property_by_column(column).key for column in pair] for pair in relationship.local_remote_pairs]
    if relationship.direction is MANYTOONE and all(
        getattr(row, local) == getattr(row, remote) for local, remote in pairs
    ):
        set_committed_value(row, name, None)
    related = row.__dict__.get(name)
    if isinstance(related, list) and row in related:
        set_committed_value(row, name, [other for other in related if other is not row])
