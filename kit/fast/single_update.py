"""Single updates: one row, locked, changed and stored by the driver in its own transaction, without the ORM.

    start --lock--> row is locked --store--> row is stored --commit--> committed
                    row is locked, or stored --close--> rolled back

The statements are those of the ORM: SELECT … FOR UPDATE, an UPDATE of the changed columns if the version is still the
same, and COMMIT.
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, inspect, select, update
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.orm.attributes import instance_state, set_attribute
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.sql.compiler import SQLCompiler

from kit.fast import driver
from kit.fast.driver_values import bind_processors
from kit.fast.mappings import EntityMapping
from kit.fast.read_sessions import detached, in_power_of_two, select_by_ids
from kit.fast.selects import MAX_STATEMENTS, CompiledSelect
from kit.fast.single_insert import DriverTransaction, are_plain
from kit.models.entities import Entity, now
from kit.models.times import MICROSECOND

SET_BY_ORM = frozenset({"id", "version", "deleted_at"})
"""The fields whose changes have to be stored by the ORM."""


class CompiledUpdate:
    """The compiled UPDATE … RETURNING id of some fields of one row, on condition that its version is unchanged."""

    def __init__(self, mapping: EntityMapping, names: Sequence[str], dialect: Dialect) -> None:
        key, version = mapping.columns["id"], mapping.columns["version"]
        values = {mapping.columns[name]: bindparam(f"new_{name}", type_=mapping.columns[name].type) for name in names}
        statement = (
            update(inspect(mapping.entity).local_table)
            .where(key == bindparam("old_id", type_=key.type), version == bindparam("old_version", type_=version.type))
            .values(values)
        )
        compiled = statement.returning(key).compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self.sql, self.parameters = str(compiled), bind_processors(compiled, dialect)

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the arguments in the order of the text. Raises the exception of a column type that refuses a value."""
        return [values[name] if process is None else process(values[name]) for name, process in self.parameters]


_compiled = lru_cache(MAX_STATEMENTS)(CompiledUpdate)


class RowUpdate(NamedTuple):
    """A changed row, with its UPDATE and the converted arguments."""

    row: Any
    statement: CompiledUpdate
    arguments: Sequence[Any]

    def finish(self) -> None:
        """Set the new version of the row, and mark its changes as stored."""
        state: Any = instance_state(self.row)
        self.row.__dict__["version"] += 1
        state._commit_all(state.dict)


class NeedsORM(Exception):  # noqa: N818  not an error: the ORM stores the change
    """Raised if the changes of a row have to be stored by the ORM."""


def update_of(row: Entity, mapping: EntityMapping, dialect: Dialect) -> RowUpdate | None:
    """Set `updated_at` of a locked row, and return its UPDATE; None if nothing was changed. Raises `NeedsORM`."""
    changed = _changed_fields(row, mapping)
    if not changed:
        return None
    if not SET_BY_ORM.isdisjoint(changed):
        raise NeedsORM
    values = row.__dict__
    if "updated_at" not in changed:
        moment = max(now(), values["updated_at"] + MICROSECOND)
        set_attribute(row, "updated_at", moment)  # as SQLModel sets it, in half the time
        row.model_fields_set.add("updated_at")
        changed.append("updated_at")
    if not are_plain(values.values()):
        raise NeedsORM
    statement = _compiled(mapping, (*sorted(changed), "version"), dialect)
    new = {f"new_{name}": values[name] for name in changed}
    new |= {"new_version": values["version"] + 1, "old_version": values["version"], "old_id": values["id"]}
    return RowUpdate(row, statement, statement.arguments(new))


def _changed_fields(row: Entity, mapping: EntityMapping) -> list[str]:
    """Return the fields whose values differ from those in the database, compared as the ORM does. Raises `NeedsORM`."""
    state: Any = instance_state(row)
    values, attributes = row.__dict__, mapping.manager
    before = state.committed_state
    if not (before.keys() <= mapping.columns.keys() <= values.keys()):  # a relationship, or a value that was deleted
        raise NeedsORM
    return [name for name, value in before.items() if attributes[name].impl.is_equal(values[name], value) is not True]


class SingleUpdate(DriverTransaction):
    """The transaction in which one row is read and changed."""

    def __init__(self, engine: Engine, mapping: EntityMapping) -> None:
        super().__init__(engine)
        self.mapping = mapping

    async def lock(self, ident: Any) -> Any:
        """Begin a transaction, and return the row with this id, locked; None if it does not exist."""
        compiled = compiled_lock(self.mapping, self.engine.dialect)
        values = (await self._lock(compiled, [ident])).get(ident)
        return None if values is None else detached(self.mapping, self.mapping.identity_key((ident,)), values)

    async def lock_all(self, idents: Sequence[Any], **timeouts: float | None) -> dict[Any, Mapping[str, Any]]:
        """Begin a transaction, and lock the rows with these ids, except those that are locked (SKIP LOCKED).

        Returns the values of the locked rows, by id. `timeouts` are those of `driver.begin`.
        """
        ids = in_power_of_two(idents)
        compiled = compiled_locks(self.mapping, len(ids), self.engine.dialect)
        return await self._lock(compiled, ids, **timeouts)

    async def _lock(
        self, compiled: CompiledSelect, ids: Sequence[Any], **timeouts: float | None
    ) -> dict[Any, Mapping[str, Any]]:
        process = compiled.parameters[0][1]
        arguments = ids if process is None else list(map(process, ids))
        connection = await self.connect()
        step = driver.lock(connection, compiled.sql, arguments, **timeouts)
        rows = compiled.converted(await self.execute_step(step, compiled.sql, arguments))
        found = [dict(zip(self.mapping.columns, row, strict=True)) for row in rows]
        return {values["id"]: values for values in found}

    async def store(self, change: RowUpdate) -> None:
        """Execute the UPDATE. Raises a `StaleDataError` if no row was updated, as the ORM does."""
        await self.store_all([change])
        change.finish()

    async def store_all(self, changes: Sequence[RowUpdate]) -> None:
        """Execute the UPDATEs of several rows with the same statement. Raises as `store`."""
        assert self.connection is not None
        sql, rows = changes[0].statement.sql, [change.arguments for change in changes]
        stored = await self.execute_step(driver.write(self.connection, "update", sql, rows), sql, rows[0])
        if len(stored) != len(rows):
            table = self.mapping.entity.__tablename__
            raise StaleDataError(f"UPDATE of {table} matched {len(stored)} rows, not {len(rows)}.")


class LeadingUpdate(SingleUpdate):
    """The single update of a leader (`group_commit`). If its row is locked, the collecting batch starts first."""

    async def lock(self, ident: Any) -> Any:
        values = (await self.lock_all([ident])).get(ident)
        if values is not None:
            return detached(self.mapping, self.mapping.identity_key((ident,)), values)
        await self.close()  # lets the collecting batch start
        return await super().lock(ident)


@cache
def select_locked(mapping: EntityMapping) -> Select[Any]:
    """Return the SELECT … FOR UPDATE of all columns of the row whose id is the parameter `id`."""
    key = mapping.columns["id"]
    return select(*mapping.columns.values()).where(key == bindparam("id", type_=key.type)).with_for_update()


@cache
def compiled_lock(mapping: EntityMapping, dialect: Dialect) -> CompiledSelect:
    """Return the compiled statement of `select_locked`."""
    return CompiledSelect(select_locked(mapping), None, dialect)


@cache
def compiled_locks(mapping: EntityMapping, number: int, dialect: Dialect) -> CompiledSelect:
    """Return the compiled SELECT … FOR UPDATE SKIP LOCKED of rows by id, with `number` ids as parameters.

    `number` is a power of two (see `in_power_of_two`).
    """
    return CompiledSelect(select_by_ids(mapping, number).with_for_update(skip_locked=True), None, dialect)
