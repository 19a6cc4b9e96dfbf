"""Ownership: rows that belong to a principal, and sessions that neither change nor show those of others.

A table says in `belongs_to` which foreign key leads to the owner: to a user, or to a row that has an owner itself
(`InvoiceLine.belongs_to = "invoice_id"`, `Invoice.belongs_to = "owner_id"`). A restricted session refuses a change to a
row of somebody else with a 403, however it is made. What it cannot judge, it refuses with an `OwnershipError`.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Annotated, Any

import pydantic
from pydantic import BeforeValidator, Strict
from pydantic_core import PydanticCustomError
from sqlalchemy import ColumnElement, Connection, Table, TextClause, UpdateBase, event, inspect, not_, select
from sqlalchemy.orm import ORMExecuteState, object_session, with_loader_criteria
from sqlalchemy.orm.attributes import get_history
from sqlalchemy.sql import visitors
from sqlmodel import Session

from kit.auth.permissions import forbidden
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity
from kit.models.types import MAX_ID

RESTRICTED_WRITES = "restricted_writes"
"""In a session's `info`: it writes only rows that belong to the principal."""
RESTRICTED_READS = "restricted_reads"
"""In a session's `info`: it finds only rows that belong to the principal."""


WORD = re.compile(r"[a-z_]+")
READING = frozenset({"select", "with", "values", "table", "explain", "show", "pragma"})
"""The first words of statements that read."""
WRITING = frozenset({"insert", "update", "delete", "merge"})

READ_ONLY_SESSION = "A ReadSession does not write: take Session in a handler of POST, PUT, PATCH or DELETE."


class OwnershipError(RuntimeError):
    """A statement of which a restricted session cannot tell whose rows it concerns."""


class ReadOnlyError(RuntimeError):
    """A ReadSession was asked to write."""


class Absent:
    """The default of an `Owner` field that was left out: the principal takes its place."""


def principal_if_absent(value: object) -> object:
    if not isinstance(value, Absent):
        return value
    principal = CURRENT_PRINCIPAL.get()
    if principal.id is None:
        raise PydanticCustomError("missing", "Field required")
    return principal.id


Owner = Annotated[
    int,
    Strict(),
    pydantic.Field(ge=1, le=MAX_ID, validate_default=True),
    BeforeValidator(principal_if_absent),
]
"""The id of the user to whom a row belongs; the principal, if it is left out: give it `default_factory=Absent`."""


class ReadOnlySession(Session):
    """What a `ReadSession` stands on."""

    def connection(self, *values: Any, **options: Any) -> Connection:
        """What is executed past the session does not write either: PostgreSQL would commit it at once."""
        connection = super().connection(*values, **options)
        if not event.contains(connection, "before_execute", refuse_writing_statement):
            event.listen(connection, "before_execute", refuse_writing_statement)
        return connection

    def _refuse(self, *_: Any, **__: Any) -> None:
        """Methods that write without a flush."""
        refuse_to_write(self)

    bulk_save_objects = bulk_insert_mappings = bulk_update_mappings = _refuse


def refuse_writing_statement(_: Connection, statement: object, *__: object) -> None:
    if isinstance(statement, UpdateBase) or is_writing_text(statement):
        raise ReadOnlyError(READ_ONLY_SESSION)


class GuardedSession(Session):
    """What a `WriteSession` stands on."""

    @property
    def is_restricted(self) -> bool:
        return bool(self.info.get(RESTRICTED_WRITES)) and not CURRENT_PRINCIPAL.get().is_superuser

    def check_owner(self, *rows: object) -> None:
        """A 403, if the session is restricted and one of these rows does not belong to the principal."""
        if self.is_restricted:
            refuse_rows_of_others(self, rows)

    def check_writes(self, *rows: object) -> None:
        """What happens before rows are flushed, for those who write them in another way."""
        check_rows(self, rows)

    def connection(self, *values: Any, **options: Any) -> Connection:
        self._refuse("session.connection()")
        return self.trusted_connection(*values, **options)

    def trusted_connection(self, *values: Any, **options: Any) -> Connection:
        """The connection, for the kit's own statements."""
        return super().connection(*values, **options)

    def bulk_save_objects(self, *values: Any, **options: Any) -> None:
        self._refuse("bulk_save_objects")
        super().bulk_save_objects(*values, **options)

    def bulk_insert_mappings(self, *values: Any, **options: Any) -> None:
        self._refuse("bulk_insert_mappings")
        super().bulk_insert_mappings(*values, **options)

    def bulk_update_mappings(self, *values: Any, **options: Any) -> None:
        self._refuse("bulk_update_mappings")
        super().bulk_update_mappings(*values, **options)

    def _refuse(self, name: str) -> None:
        if self.is_restricted:
            raise OwnershipError(f"{name} goes past the check of ownership: use session.add, update() or delete().")


@event.listens_for(ReadOnlySession, "before_flush")
@event.listens_for(ReadOnlySession, "transient_to_pending")
def refuse_to_write(session: Session, *_: object) -> None:
    raise ReadOnlyError(READ_ONLY_SESSION)


@event.listens_for(GuardedSession, "before_flush")
def keep_reserved_fields(session: GuardedSession, *_: object) -> None:
    if not CURRENT_PRINCIPAL.get().is_superuser:
        for row in (*session.new, *session.dirty):
            if isinstance(row, Entity):
                keep_reserved(row)


@event.listens_for(Entity, "before_insert", propagate=True)
@event.listens_for(Entity, "before_update", propagate=True)
@event.listens_for(Entity, "before_delete", propagate=True)
def check_flushed_row(_: object, __: object, row: Entity) -> None:
    """Within the flush, when a relationship that was changed has changed the foreign key too."""
    session = object_session(row)
    if isinstance(session, GuardedSession) and session.is_restricted:
        refuse_row_of_others(session, row)


def check_rows(session: GuardedSession, rows: Iterable[object]) -> None:
    """Check new rows as a flush would do it."""
    if CURRENT_PRINCIPAL.get().is_superuser:
        return
    for row in rows:
        if isinstance(row, Entity):
            keep_reserved(row)
            session.check_owner(row)


def check_new_row(row: Entity, *, is_restricted: bool) -> bool:
    """Check a new row without a session. False if that needs one: the row has its owner through a parent."""
    if is_restricted and row.belongs_to is not None and owned_parent(type(row)) is not None:
        return False
    keep_reserved(row)
    if is_restricted and (row.belongs_to is None or getattr(row, row.belongs_to) != CURRENT_PRINCIPAL.get().id):
        raise forbidden("This belongs to somebody else.")
    return True


def keep_reserved(row: Any) -> None:
    """What only superusers may set stays as it is, or as it is at first."""
    for name, first in row.reserved.items():
        before = get_history(row, name).deleted
        if inspect(row).key is None:
            setattr(row, name, first)
        elif before:
            setattr(row, name, before[0])


@event.listens_for(ReadOnlySession, "do_orm_execute")
@event.listens_for(GuardedSession, "do_orm_execute")
def check_statement(state: ORMExecuteState) -> Any:
    session, is_write = state.session, state.is_insert or state.is_update or state.is_delete
    if isinstance(session, ReadOnlySession) and (is_write or is_writing_text(state.statement)):
        refuse_to_write(session)
    if CURRENT_PRINCIPAL.get().is_superuser:
        return None
    is_restricted = session.info.get(RESTRICTED_READS) or session.info.get(RESTRICTED_WRITES)
    if is_restricted and isinstance(state.statement, TextClause):
        raise OwnershipError("A restricted session cannot tell whose rows text concerns: use select(), update() or delete().")  # fmt: skip  # noqa: E501
    if state.is_select and session.info.get(RESTRICTED_READS) and not state.is_column_load:
        restrict_select(state)
    if is_write and isinstance(session, GuardedSession) and session.is_restricted:
        return write_own_rows(session, state)
    return None


def is_writing_text(statement: object) -> bool:
    """Whether a `text()` writes, or may write: PostgreSQL would not refuse that on the connections of a ReadSession."""
    words = WORD.findall(str(statement).lower()) if isinstance(statement, TextClause) else []
    return bool(words) and (words[0] not in READING or (words[0] == "with" and not WRITING.isdisjoint(words)))


def restrict_select(state: ORMExecuteState) -> None:
    """Find only rows that belong to the principal."""
    if not state.is_orm_statement:
        refuse_tables(state)
    options = [
        with_loader_criteria(entity, owned_by_principal(entity), include_aliases=True) for entity in owned_entities()
    ]
    state.statement = state.statement.options(*options)


def refuse_tables(state: ORMExecuteState) -> None:
    """Tables themselves, and not their classes, are read past the criteria of the ORM."""
    tables = {id(entity.__table__): entity for entity in owned_entities()}  # type: ignore[attr-defined]
    statement: Any = state.statement
    for element in visitors.iterate(statement):
        if id(element) in tables:
            name = tables[id(element)].__name__
            raise OwnershipError(f"A restricted session cannot read the table of {name} itself: select({name}).")


def write_own_rows(session: GuardedSession, state: ORMExecuteState) -> Any:
    """The result of an INSERT, UPDATE or DELETE, if it concerns only rows that belong to the principal."""
    entity = target_of(state)
    if entity is None:
        return None
    if entity.belongs_to is None:
        raise forbidden("This belongs to somebody else.")
    if state.is_insert:
        rows = parameters_of(state)
        refuse_keys_of_others(session, entity, [row.get(entity.belongs_to) for row in rows])
        return None
    keys = keys_concerned(session, entity, state)
    refuse_ids_of_others(session, entity, keys)
    result = state.invoke_statement()
    if state.is_update:  # which may have given them to somebody else
        refuse_ids_of_others(session, entity, keys)
    return result


def target_of(state: ORMExecuteState) -> type[Entity] | None:
    """The entity that a statement changes; None if it changes a table that is no entity."""
    mapper = state.bind_mapper
    if state.is_orm_statement and mapper is not None:
        return mapper.class_ if issubclass(mapper.class_, Entity) else None
    table = getattr(state.statement, "table", None)
    for entity in entities():
        if table is entity.__table__:  # type: ignore[attr-defined]
            name = entity.__name__
            raise OwnershipError(f"A restricted session cannot change the table of {name} itself: update({name}).")
    return None


def parameters_of(state: ORMExecuteState) -> list[dict[str, Any]]:
    given: Any = state.parameters
    rows = [given] if isinstance(given, dict) else list(given or ())
    if not rows:
        raise OwnershipError("A restricted session inserts by session.add, or insert() with rows as parameters.")
    return rows


def keys_concerned(session: GuardedSession, entity: type[Entity], state: ORMExecuteState) -> list[Any]:
    """The ids of the rows that an UPDATE or DELETE concerns, which are locked."""
    given: Any = state.parameters
    if isinstance(given, list) and given and "id" in given[0]:
        return [row["id"] for row in given]
    table, where = table_of(entity), getattr(state.statement, "whereclause", None)
    concerned = select(table.c.id).select_from(table).with_for_update(of=table)
    concerned = concerned if where is None else concerned.where(where)
    parameters = given if isinstance(given, dict) else {}
    return list(session.trusted_connection().execute(concerned, parameters).scalars())


def refuse_ids_of_others(session: GuardedSession, entity: type[Entity], ids: Collection[Any]) -> None:
    table = table_of(entity)
    others = select(table.c.id).where(table.c.id.in_(ids), not_(owned_by_principal_in(entity))).limit(1)
    unowned = select(table.c.id).where(table.c.id.in_(ids), owner_column(entity).is_(None)).limit(1)
    connection = session.trusted_connection()
    if ids and (connection.execute(others).first() or connection.execute(unowned).first()):
        raise forbidden("This belongs to somebody else.")


def refuse_rows_of_others(session: Session, rows: Iterable[object]) -> None:
    """A 403, if one of these rows does not belong to the principal, or did not before it was changed."""
    for row in rows:
        if isinstance(row, Entity):
            refuse_row_of_others(session, row)


def refuse_row_of_others(session: Session, row: Entity) -> None:
    if row.belongs_to is None:
        raise forbidden("This belongs to somebody else.")
    history = get_history(row, row.belongs_to)
    keys = [*(history.added or ()), *(history.unchanged or ()), *(history.deleted or ())]
    was_null_at_first = inspect(row).key is None and history.deleted and None in history.deleted
    keys = [key for key in keys if key is not None] if was_null_at_first else keys
    refuse_keys_of_others(session, type(row), keys or [None])


def refuse_keys_of_others(session: Session, entity: type[Entity], keys: Collection[Any]) -> None:
    """A 403, if one of these values of `belongs_to` leads to somebody else, or to nobody."""
    parent, wanted = owned_parent(entity), set(keys)
    if parent is None:
        is_own = wanted == {CURRENT_PRINCIPAL.get().id} and None not in wanted
    else:
        table = table_of(parent)
        own = select(table.c.id).where(table.c.id.in_(wanted), owned_by_principal_in(parent))
        is_own = None not in wanted and wanted == set(connection_of(session).execute(own).scalars())
    if not is_own:
        raise forbidden("This belongs to somebody else.")


def connection_of(session: Session) -> Connection:
    return session.trusted_connection() if isinstance(session, GuardedSession) else session.connection()


def owned_by_principal(entity: type[Entity]) -> ColumnElement[bool]:
    """Whether a row belongs to the principal, as a condition for the ORM."""
    key, parent = getattr(entity, str(entity.belongs_to)), owned_parent(entity)
    if parent is None:
        condition: ColumnElement[bool] = key == CURRENT_PRINCIPAL.get().id
        return condition
    return key.in_(select(table_of(parent).c.id).where(owned_by_principal_in(parent)))  # type: ignore[no-any-return]


def owned_by_principal_in(entity: type[Entity]) -> ColumnElement[bool]:
    """The same as a condition on the table itself."""
    key, parent = owner_column(entity), owned_parent(entity)
    if parent is None:
        return key == CURRENT_PRINCIPAL.get().id
    return key.in_(select(table_of(parent).c.id).where(owned_by_principal_in(parent)))


def owner_column(entity: type[Entity]) -> ColumnElement[Any]:
    return table_of(entity).c[str(entity.belongs_to)]


def table_of(entity: type[Entity]) -> Table:
    table: Table = inspect(entity).local_table
    return table


@cache
def owned_parent(entity: type[Entity]) -> type[Entity] | None:
    """The entity through which a row has its owner; None if `belongs_to` leads to the owner at once."""
    seen, parent = {entity}, direct_parent(entity)
    following = parent
    while following is not None:
        if following in seen:
            raise OwnershipError(f"{entity.__name__}.belongs_to leads round in a circle, and never to a user.")
        seen.add(following)
        following = direct_parent(following)
    return parent


def direct_parent(entity: type[Entity]) -> type[Entity] | None:
    key = next(iter(owner_column(entity).foreign_keys), None)
    target = next((other for other in entities() if key is not None and table_of(other) is key.column.table), None)
    has_owner = target is not None and target.belongs_to not in (None, "id")
    return target if has_owner else None


def entities(parent: type[Entity] = Entity) -> Iterator[type[Entity]]:
    """All tables that are entities."""
    for child in parent.__subclasses__():
        if hasattr(child, "__table__"):
            yield child
        yield from entities(child)


def owned_entities() -> list[type[Entity]]:
    return [entity for entity in entities() if entity.belongs_to is not None]
