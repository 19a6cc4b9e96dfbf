"""Write checks of the self-test: they compare rows that the driver has stored with the rows that the ORM loads."""

from decimal import Decimal
from typing import Any, cast

from sqlalchemy import inspect
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state, set_committed_value

from kit.fast.array_insert import ArrayInsert
from kit.fast.bulk_insert import are_alike, set_ids
from kit.fast.deferred import REGISTRY, DeferredSession, SessionEntry, new_entry
from kit.fast.persistent_rows import add_flushed, add_many_flushed, leave_untracked
from kit.fast.probes import ASYNCPG, Probe, ProbeDatabase, probe, values_of
from kit.fast.read_sessions import detached
from kit.fast.revocable_sessions import RevocableSession
from kit.fast.single_insert import NewRow, is_insertable
from kit.fast.single_update import update_of


class ProbeSession(DeferredSession):
    """A deferred session with one attached row."""

    def __init__(self, row: Probe) -> None:
        self.row, self.state, self.entry = row, cast("Any", instance_state(row)), new_entry()
        REGISTRY.data[self.entry] = SessionEntry(self, REGISTRY._remove, self.entry)
        self.state.session_id = self.entry

    def _open(self) -> None:
        self.state._detach()
        super().__init__()
        self.sync_session.add(self.row)


def check_attached_rows(database: ProbeDatabase) -> None:
    """Check that a row which was added to a deferred session belongs to it, and can be changed without a lookup."""
    new, stored = ProbeSession(probe()), ProbeSession(database.stored())
    assert inspect(new.row).pending, "a new row is pending"
    assert inspect(new.row).session is new.sync_session, "the session is created by a lookup"
    leave_untracked(stored.state)
    stored.row.name = "b"
    assert "sync_session" not in vars(stored), "a change needs no session"
    assert inspect(stored.row).persistent, "a stored row is persistent"
    assert stored.sync_session.is_modified(stored.row), "the session knows the change"
    unused = ProbeSession(probe())
    unused.state._detach()
    assert inspect(unused.row).transient, "the row of a closed session is transient"


def check_single_insert(database: ProbeDatabase) -> None:
    """Check that a row which the driver inserts is loaded equal by the ORM, and is flushed for its session."""
    row = probe()
    assert is_insertable(row, database.mapping), "a complete row needs no ORM"
    new = NewRow.of(row, database.mapping, database.engine.dialect)
    with RevocableSession(database.engine, expire_on_commit=False) as session:
        session.add(row)
        assert len(session._new) == 1, "the session has one new row"
        assert session._transaction is not None, "the session has begun"
        assert not session._transaction._connections, "the session has no connection"
        with database.cursor() as cursor:
            set_committed_value(row, "id", cursor.execute(new.statement.sql, new.arguments).fetchone()[0])
            cursor.connection.commit()
        add_flushed(session, row)
        assert inspect(row).persistent, "the row is persistent"
        assert session._is_clean(), "the session has nothing to write"
        session.commit()
    with Session(database.engine) as plain:
        assert values_of(plain.get(Probe, row.id)) == values_of(row), "the values are those of the row"


def check_insert_for_postgresql(database: ProbeDatabase) -> None:
    """Check that the INSERT for asyncpg has a parameter for each argument."""
    new = NewRow.of(probe(), database.mapping, ASYNCPG)
    assert f"${len(new.arguments)}" in new.statement.sql, "each argument has its parameter"
    assert "RETURNING" in new.statement.sql, "the id is returned"


def check_bulk_insert(database: ProbeDatabase) -> None:
    """Check that rows which can share one INSERT are recognised, and that they are stored as the ORM would."""
    assert are_alike([probe(), probe()], database.mapping), "rows of one entity are alike"
    assert not are_alike([probe(), database.stored()], database.mapping), "a row that is stored is not alike"

    rows = [probe(), probe()]
    set_ids(rows, [101, 102])
    statement = ArrayInsert(database.mapping, database.engine.dialect, has_id=True)
    with RevocableSession(database.engine, expire_on_commit=False) as session:
        with database.cursor() as cursor:
            cursor.executemany(statement.sql, statement.arguments(rows))
            cursor.connection.commit()
        add_many_flushed(session, rows)
        assert all(inspect(row).persistent for row in rows), "the rows are persistent"
        assert session._is_clean(), "the session has nothing to write"
    with Session(database.engine) as plain:
        assert all(values_of(plain.get(Probe, row.id)) == values_of(row) for row in rows), (
            "the values are those of the rows"
        )
    arrays = ArrayInsert(database.mapping, ASYNCPG, has_id=False)
    assert "unnest(" in arrays.sql, "the columns are arrays"
    assert len(arrays.arguments([probe(), probe()])[0]) == len(rows), "an array has a value for each row"


def check_single_update(database: ProbeDatabase) -> None:
    """Check that a row which the driver has updated is loaded equal by the ORM, with a new version and time."""
    before = database.stored()
    row = detached(database.mapping, database.mapping.identity_key((before.id,)), values_of(before))
    assert update_of(row, database.mapping, ASYNCPG) is None, "a row that is read has no changes"
    row.name, row.price, row.note = "b", Decimal("3.50"), None
    change = update_of(row, database.mapping, database.engine.dialect)
    assert change is not None, "changes are noticed"
    with database.cursor() as cursor:
        assert cursor.execute(change.statement.sql, change.arguments).fetchall() == [(row.id,)], "one row is changed"
        cursor.connection.commit()
    change.finish()
    with Session(database.engine) as plain:
        assert values_of(plain.get(Probe, row.id)) == values_of(row), "the values are those of the row"
    assert (row.version, row.updated_at > before.updated_at) == (2, True), "the version and the time rise"
    assert update_of(row, database.mapping, ASYNCPG) is None, "a stored row has no changes"
