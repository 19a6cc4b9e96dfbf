"""Self-test: at start each shortcut is compared with its plain counterpart; a shortcut that differs is left out.

The checks need no server. They run on SQLite in memory, with SQLAlchemy's synchronous ORM as the plain counterpart.
"""

import inspect as signatures
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import aiosqlite
import asyncpg
from sqlalchemy import Integer, bindparam, event, inspect, select, util
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import col
from sqlmodel import select as sqlmodel_select

from kit.auth.ownership import ReadOnlySession
from kit.fast.array_insert import ArrayInsert
from kit.fast.bulk_insert import are_alike, set_ids
from kit.fast.driver import spawn
from kit.fast.listeners import Listeners
from kit.fast.persistent_rows import add_flushed, add_loaded, add_many_flushed
from kit.fast.plain_selects import has_only_known_parts
from kit.fast.probes import Probe, ProbeDatabase, ProbeRead, probe
from kit.fast.read_sessions import detached, select_by_id
from kit.fast.revocable_sessions import RevocableSession
from kit.fast.selects import CompiledSelect, cache_key
from kit.fast.single_insert import NewRow, is_insertable
from kit.fast.single_update import update_of
from kit.http.encoding import to_json
from kit.models.entities import Entity

log = logging.getLogger("kit")
ASYNCPG: Dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]


def check_loaded_rows(database: ProbeDatabase) -> None:
    """Check that a row made of a driver's values equals the row that the ORM loads, and is persistent."""
    ident = database.stored().id
    compiled = select_by_id(database.mapping, 1, database.engine.dialect)
    with database.cursor() as cursor:
        found = cursor.execute(compiled.sql, [ident]).fetchall()
    values = dict(zip(database.mapping.columns, compiled.converted(found)[0], strict=True))
    with Session(database.engine) as session, Session(database.engine) as plain:
        key = database.mapping.identity_key((ident,))
        row, expected = add_loaded(session, detached(database.mapping, key, values)), plain.get(Probe, ident)
        assert row in session, "the session has the row"
        assert session.get(Probe, ident) is row, "the session finds the row by its id"
        assert _values(row) == _values(expected), "the values are those that the ORM loads"
        assert inspect(row).persistent, "the row is persistent"
        assert not session.dirty, "the row is unchanged"
    assert inspect(row).detached, "the row is detached when the session is closed"


def check_greenlets(_: ProbeDatabase) -> None:
    """Check that a function that runs in a greenlet of the kit can wait for a coroutine."""

    async def five() -> int:
        return 5

    results: list[int] = []
    run = spawn(lambda: results.append(util.await_only(five())))
    with suppress(StopIteration):
        run.send(None)
    assert results == [5], "the function gets the result"


def check_statement_keys(_: ProbeDatabase) -> None:
    """Check that statements which differ in values only have the same cache key, and share a compiled statement."""
    first, second = (select(col(Probe.id)).where(col(Probe.name) == name) for name in ("a", "b"))
    first_key, second_key = cache_key(first), cache_key(second)
    assert first_key is not None, "a select has a cache key"
    assert second_key is not None, "a select has a cache key"
    assert first_key.key == second_key.key, "the key does not depend on values"
    assert "b" in CompiledSelect(first, first_key, ASYNCPG).arguments(second_key, {}), "values are exchanged"
    opened = select(col(Probe.id)).limit(bindparam("number", type_=Integer))
    key = cache_key(opened)
    assert key is not None, "a select has a cache key"
    assert CompiledSelect(opened, key, ASYNCPG).arguments(key, {"number": 3}) == [3], "values may be open"


def check_single_insert(database: ProbeDatabase) -> None:
    """Check that a row which the driver inserts equals the ORM's, and counts as flushed in the session."""
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
        assert _values(plain.get(Probe, row.id)) == _values(row), "the values are those of the row"


def check_insert_for_postgresql(database: ProbeDatabase) -> None:
    """Check that the INSERT for asyncpg has a parameter for each argument."""
    new = NewRow.of(probe(), database.mapping, ASYNCPG)
    assert f"${len(new.arguments)}" in new.statement.sql, "each argument has its parameter"
    assert "RETURNING" in new.statement.sql, "the id is returned"


def check_bulk_insert(database: ProbeDatabase) -> None:
    """Check that rows which can share one INSERT are recognised, and a stored row among them is noticed."""
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
        assert all(_values(plain.get(Probe, row.id)) == _values(row) for row in rows), (
            "the values are those of the rows"
        )
    arrays = ArrayInsert(database.mapping, ASYNCPG, has_id=False)
    assert "unnest(" in arrays.sql, "the columns are arrays"
    assert len(arrays.arguments([probe(), probe()])[0]) == len(rows), "an array has a value for each row"


def check_single_update(database: ProbeDatabase) -> None:
    """Check that a row which the driver changes equals the row that the ORM would have changed."""
    before = database.stored()
    row = detached(database.mapping, database.mapping.identity_key((before.id,)), _values(before))
    assert update_of(row, database.mapping, ASYNCPG) is None, "a row that is read has no changes"
    row.name, row.price, row.note = "b", Decimal("3.50"), None
    change = update_of(row, database.mapping, database.engine.dialect)
    assert change is not None, "changes are noticed"
    with database.cursor() as cursor:
        assert cursor.execute(change.statement.sql, change.arguments).fetchall() == [(row.id,)], "one row is changed"
        cursor.connection.commit()
    change.finish()
    with Session(database.engine) as plain:
        assert _values(plain.get(Probe, row.id)) == _values(row), "the values are those of the row"
    assert (row.version, row.updated_at > before.updated_at) == (2, True), "the version and the time rise"
    assert update_of(row, database.mapping, ASYNCPG) is None, "a stored row has no changes"


def check_listeners(database: ProbeDatabase) -> None:
    """Check that a listener is noticed as soon as it is added, and until it is removed."""
    listeners = Listeners(database.engine)
    session = ReadOnlySession(database.engine)
    targets = [(Session, "do_orm_execute"), (session, "after_begin"), (Entity, "load"), (database.engine, "commit")]
    for target, name in (*targets, (Engine, "before_cursor_execute"), (database.engine, "handle_error")):
        assert not listeners.listen_to_read(session, Probe), "there is no listener"
        options = {"propagate": True} if target is Entity else {}
        event.listen(target, name, _ignore, **options)
        is_noticed = listeners.listen_to_read(session, Probe)
        event.remove(target, name, _ignore)
        assert is_noticed, f"a listener to {name} is noticed"
    event.listen(Probe, "before_insert", _ignore)
    is_noticed = listeners.listen_to_insert(session, Probe)
    event.remove(Probe, "before_insert", _ignore)
    assert is_noticed, "a listener to before_insert is noticed"
    assert not listeners.listen_to_insert(session, Probe), "there is no listener"


def _ignore(*_: object, **__: object) -> None: ...


def check_select_parts(_: ProbeDatabase) -> None:
    """Check that a select with conditions and joins is recognised as plain, and no select with other parts."""
    plain = sqlmodel_select(Probe)
    for statement in (plain, plain.where(col(Probe.name) == "a"), plain.join(Probe, col(Probe.id) == 1)):
        assert has_only_known_parts(statement), "conditions and joins are known"
    for statement in (plain.limit(1), plain.order_by(col(Probe.id)), plain.distinct(), plain.with_for_update()):
        assert not has_only_known_parts(statement), "other parts are noticed"


def check_json(_: ProbeDatabase) -> None:
    """Check that `to_json` writes values as pydantic does."""
    shown = {name: getattr(probe(), name) for name in ProbeRead.model_fields}
    assert to_json(shown) == ProbeRead(**shown).model_dump_json().encode(), "the JSON is that of pydantic"


def check_drivers(_: ProbeDatabase) -> None:
    """Check that the drivers have the methods that execute statements."""
    for method in (asyncpg.Connection.fetch, asyncpg.Connection.fetchmany, aiosqlite.Connection.execute_fetchall):
        assert signatures.iscoroutinefunction(method) or callable(method), "the method is there"
    assert signatures.iscoroutinefunction(aiosqlite.Connection._execute), "functions can run in SQLite's thread"
    assert hasattr(aiosqlite.Connection, "_conn"), "they have the connection of sqlite3"
    assert callable(asyncpg.Connection.is_closed), "a connection knows that it is closed"


def _values(row: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name != "_sa_instance_state"}


ALL = frozenset({"get", "pages", "single insert", "single update", "bulk insert"})
CHECKS: list[tuple[Callable[[ProbeDatabase], None], frozenset[str]]] = [
    (check_drivers, ALL),
    (check_listeners, ALL),
    (check_greenlets, ALL),
    (check_statement_keys, frozenset({"get", "pages"})),
    (check_loaded_rows, frozenset({"get", "pages", "single update"})),
    (check_select_parts, frozenset({"pages"})),
    (check_json, frozenset({"pages"})),
    (check_single_insert, frozenset({"single insert"})),
    (check_insert_for_postgresql, frozenset({"single insert"})),
    (check_bulk_insert, frozenset({"bulk insert"})),
    (check_single_update, frozenset({"single update"})),
]
"""The checks, with the shortcuts that are left out if a check fails."""


def failing_shortcuts(
    checks: Iterable[tuple[Callable[[ProbeDatabase], None], frozenset[str]]] = CHECKS,
) -> frozenset[str]:
    """Run the checks. Returns the shortcuts to leave out, and logs each failed check."""
    failing: set[str] = set()
    database = ProbeDatabase()
    for check, shortcuts in checks:
        try:
            check(database)
        except Exception as failure:
            names = ", ".join(sorted(shortcuts))
            log.warning("Shortcuts left out (%s): %s failed: %r", names, check.__name__, failure)
            failing |= shortcuts
    database.engine.dispose()
    return frozenset(failing)
