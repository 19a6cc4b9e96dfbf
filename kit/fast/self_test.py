"""Self-test: compares each shortcut with the ORM when the service starts. A shortcut that differs is disabled.

The checks need no server: they run on SQLite in memory, with SQLAlchemy's synchronous ORM.
"""

import inspect
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

import aiosqlite
import asyncpg
from sqlalchemy import event, util
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from kit.auth.ownership import ReadOnlySession
from kit.fast.connections import check_whole_responses
from kit.fast.driver import spawn
from kit.fast.listeners import Listeners
from kit.fast.probes import Probe, ProbeDatabase
from kit.fast.read_checks import check_json, check_loaded_rows, check_select_parts, check_statement_keys
from kit.fast.read_shortcuts import DATABASE, WHOLE_RESPONSES
from kit.fast.write_checks import (
    check_bulk_insert,
    check_insert_for_postgresql,
    check_single_insert,
    check_single_update,
)
from kit.models.entities import Entity

log = logging.getLogger("kit")


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


def check_drivers(_: ProbeDatabase) -> None:
    """Check that the drivers have the methods that execute statements."""
    for method in (asyncpg.Connection.fetch, asyncpg.Connection.fetchmany, aiosqlite.Connection.execute_fetchall):
        assert inspect.iscoroutinefunction(method) or callable(method), "the method is there"
    assert inspect.iscoroutinefunction(aiosqlite.Connection._execute), "functions can run in SQLite's thread"
    assert hasattr(aiosqlite.Connection, "_conn"), "they have the connection of sqlite3"
    assert callable(asyncpg.Connection.is_closed), "a connection knows that it is closed"


def check_greenlets(_: ProbeDatabase) -> None:
    """Check that a function in a greenlet of the kit can wait for a coroutine by `await_only`."""

    async def five() -> int:
        return 5

    results: list[int] = []
    run = spawn(lambda: results.append(util.await_only(five())))
    with suppress(StopIteration):
        run.send(None)
    assert results == [5], "the function gets the result"


def check_connections(_: ProbeDatabase) -> None:
    """Check that a response which is written by one call is the same as uvicorn's."""
    check_whole_responses()


CHECKS: list[tuple[Callable[[ProbeDatabase], None], frozenset[str]]] = [
    (check_drivers, DATABASE),
    (check_listeners, DATABASE),
    (check_greenlets, DATABASE),
    (check_statement_keys, frozenset({"get", "pages"})),
    (check_loaded_rows, frozenset({"get", "pages", "single update"})),
    (check_select_parts, frozenset({"pages"})),
    (check_json, frozenset({"pages"})),
    (check_single_insert, frozenset({"single insert"})),
    (check_insert_for_postgresql, frozenset({"single insert"})),
    (check_bulk_insert, frozenset({"bulk insert"})),
    (check_single_update, frozenset({"single update"})),
    (check_connections, frozenset({WHOLE_RESPONSES})),
]
"""The checks, each with the names of the shortcuts to disable if it fails."""


def failing_shortcuts(
    checks: Iterable[tuple[Callable[[ProbeDatabase], None], frozenset[str]]] = CHECKS,
) -> frozenset[str]:
    """Run the checks. Returns the names of the shortcuts to disable, and logs each failed check."""
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
