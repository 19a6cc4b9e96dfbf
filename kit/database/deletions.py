"""Deletions: raises the versions of the rows that refer to a deleted row, and lets SQLAlchemy order the deletions.

With ON DELETE SET NULL or SET DEFAULT the database changes the referring rows itself, without a new version. Therefore
the kit raises their versions before the DELETE. SQLAlchemy has flushed other changes of these rows by then, so those
that refer to another row now, or are deleted too, are left out.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, ForeignKeyConstraint, inspect, update
from sqlalchemy.orm import MANYTOONE, Mapper, RelationshipProperty, Session, object_session
from sqlalchemy.orm.attributes import set_committed_value

from kit.auth.checked_sessions import GuardedSession
from kit.auth.owners import entity_of
from kit.models.entities import Entity

NEVER_LOADED_BY_ITSELF = ("raise", "raise_on_sql")
"""The values of `lazy` of relationships that a flush would have to load, and must not."""


def renew_referrers(_: Mapper[Any], connection: Connection, row: Any) -> None:
    """Raise the versions of the rows whose references the database will change by the DELETE of `row`.

    Listens to `before_delete` of all mappers.
    """
    for key in changing_keys(inspect(type(row)).tables):
        entity = entity_of(key.table)
        values = {part.parent: stored_value(row, part.column) for part in key.elements}
        if entity is not None and None not in values.values():  # NULL refers to nothing
            session = object_session(row)
            assert session is not None  # it is the one that flushes
            _renew(session, connection, entity, key, values)


def changing_keys(tables: Iterable[Any]) -> Iterator[ForeignKeyConstraint]:
    """Yield the foreign keys to these tables with ON DELETE SET NULL or SET DEFAULT."""
    for target in tables:
        keys = (key for table in target.metadata.tables.values() for key in table.foreign_key_constraints)
        referring = (key for key in keys if key.referred_table is target)
        yield from (key for key in referring if (key.ondelete or "").upper().startswith("SET "))


def stored_value(row: Any, column: Column[Any]) -> Any:
    """Return the stored value of a column, without a pending change."""
    attribute = inspect(row).attrs[inspect(type(row)).get_property_by_column(column).key]
    return attribute.history.deleted[0] if attribute.history.deleted else attribute.value


def _renew(
    session: Session,
    connection: Connection,
    entity: type[Entity],
    key: ForeignKeyConstraint,
    values: Mapping[Any, Any],
) -> None:
    """Raise the versions of the rows with these values, in the database and in the session."""
    table, mapper = key.table, inspect(entity)
    version = table.c.version
    renewed = [column for column in table.columns if column is version or column.onupdate is not None]
    statement = (
        update(table).where(*(column == value for column, value in values.items())).values({version: version + 1})
    )
    found = connection.execute(statement.returning(*mapper.primary_key, *renewed)).all()
    for ident, *new in found:
        row = session.identity_map.get(mapper.identity_key_from_primary_key((ident,)))
        if row is not None:
            _note(session, row, key, dict(zip(renewed, new, strict=True)))


def _note(session: Session, row: Any, key: ForeignKeyConstraint, new: Mapping[Any, Any]) -> None:
    """Set the new values of a row that the session has loaded. Pending changes of the row remain."""
    state, mapper = inspect(row), inspect(type(row))
    names = {mapper.get_property_by_column(column).key: value for column, value in new.items()}
    references = [mapper.get_property_by_column(part.parent).key for part in key.elements]
    if is_set_null(key):
        names |= dict.fromkeys(references)
    else:
        session.expire(row, [name for name in references if not state.attrs[name].history.has_changes()])
    for name, value in names.items():
        if name in state.dict and not state.attrs[name].history.has_changes():
            set_committed_value(row, name, value)


def is_set_null(key: ForeignKeyConstraint) -> bool:
    """Return whether a deletion sets all columns of a foreign key to NULL, and not some, or to their defaults."""
    return (key.ondelete or "").upper() == "SET NULL"


# --- The order of deletions: SQLAlchemy deletes a row before the row that it refers to.


def complete_references(session: GuardedSession, *_: object) -> None:
    """Set the relationships by which SQLAlchemy orders deletions, where it must not load them (`lazy="raise"`).

    Listens to `before_flush`.
    """
    deleted: defaultdict[type[Any], list[Any]] = defaultdict(list)
    for row in session.deleted:
        remove_references_to_itself(row)
        deleted[type(row)].append(row)
    for entity, rows in deleted.items():
        for relationship in references_of(entity):
            _set_deleted_targets(rows, relationship, session.deleted)
    for row in orphans_of(session):
        for relationship in references_of(type(row)):
            _load_target(session, row, relationship)


def references_of(entity: type[Any]) -> list[RelationshipProperty[Any]]:
    """Return the many-to-one relationships of an entity that a flush must not load."""
    return [
        each
        for each in inspect(entity).relationships
        if each.direction is MANYTOONE and not each.viewonly and each.lazy in NEVER_LOADED_BY_ITSELF
    ]


def orphans_of(session: Session) -> Iterator[Any]:
    """Yield the rows that were removed from a relationship with `delete-orphan`, and those that are deleted with them.

    The flush deletes them, unless they were moved to another parent.
    """
    for row in session.dirty:
        state = inspect(row)
        for relationship in state.mapper.relationships:
            if relationship.cascade.delete_orphan and relationship.key in state.dict:
                yield from with_deleted(session, state.attrs[relationship.key].history.deleted)


def with_deleted(session: Session, removed: Iterable[Any]) -> Iterator[Any]:
    """Yield the rows that are in the session, each with the rows to which its deletion cascades."""
    for row in removed:
        if row is not None and row in session:
            yield row
            yield from (each[0] for each in inspect(type(row)).cascade_iterator("delete", inspect(row)))


def _load_target(session: Session, row: Any, relationship: RelationshipProperty[Any]) -> None:
    """Set an unloaded relationship to the row to which it leads by its primary key."""
    is_by_key = {remote for _, remote in relationship.local_remote_pairs} == {*relationship.mapper.primary_key}
    if is_by_key and relationship.key not in inspect(row).dict:
        ident = {remote: getattr(row, local) for local, remote in names_of_pairs(relationship)}
        target = None if None in ident.values() else session.get(relationship.mapper.class_, ident)
        set_committed_value(row, relationship.key, target)


def _set_deleted_targets(rows: Sequence[Any], relationship: RelationshipProperty[Any], deleted: Iterable[Any]) -> None:
    """Set an unloaded relationship to the row to which it leads, if that is deleted too; otherwise to None."""
    pairs = names_of_pairs(relationship)
    targets = {
        tuple(getattr(row, remote) for _, remote in pairs): row
        for row in deleted
        if isinstance(row, relationship.mapper.class_)
    }
    for row in rows:
        if relationship.key not in inspect(row).dict:
            target = targets.get(tuple(getattr(row, local) for local, _ in pairs))
            set_committed_value(row, relationship.key, target)


def remove_references_to_itself(row: Any) -> None:
    """Remove the references of a row to itself from its relationships.

    Otherwise SQLAlchemy could not order the deletions: a row is deleted before the row that it refers to.
    """
    mapper = inspect(type(row))
    for relationship in mapper.relationships:
        if relationship.mapper is mapper and not relationship.viewonly:
            _remove_reference(row, relationship)


def _remove_reference(row: Any, relationship: RelationshipProperty[Any]) -> None:
    name = relationship.key
    if relationship.direction is MANYTOONE and all(
        getattr(row, local) == getattr(row, remote) for local, remote in names_of_pairs(relationship)
    ):
        set_committed_value(row, name, None)
    related = row.__dict__.get(name)
    if isinstance(related, list) and any(other is row for other in related):
        set_committed_value(row, name, [other for other in related if other is not row])


def names_of_pairs(relationship: RelationshipProperty[Any]) -> list[tuple[str, str]]:
    """Return the names of the local and remote attributes that a many-to-one relationship compares."""
    mapper, target = relationship.parent, relationship.mapper
    return [
        (mapper.get_property_by_column(local).key, target.get_property_by_column(remote).key)
        for local, remote in relationship.local_remote_pairs
    ]
