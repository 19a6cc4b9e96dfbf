"""Self-test: compares each shortcut with the ORM when the service starts. A shortcut that differs is disabled.

The checks need no server: they run on SQLite in memory, with SQLAlchemy's synchronous ORM.
"""

import inspect
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import aiosqlite
import asyncpg
from sqlalchemy import event, util
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from kit.auth.ownership import ReadOnlySession
from kit.fast.connections import check_whole_bodies, check_whole_responses
from kit.fast.driver import spawn
from kit.fast.listeners import Listeners
from kit.fast.probes import Probe, ProbeDatabase
from kit.fast.read_checks import check_json, check_loaded_rows, check_select_parts, check_statement_keys
from kit.fast.read_shortcuts import DATABASE, WHOLE_RESPONSES
from kit.fast.write_checks import (
    check_attached_rows,
    check_bulk_insert,
    check_insert_for_postgresql,
    check_single_insert,
    check_single_update,
)
from kit.models.entities import Entity

log = logging.getLogger("kit")


def check_listeners(database: ProbeDatabase) -> None:
    """Check that a listener is noticed as soon as it is added, and until it is removed.

    Libraries may have added listeners for all entities before. Then the shortcuts are not taken, which is logged.
    """
    listeners, session = Listeners(database.engine), ReadOnlySession(database.engine)
    targets = [(Session, "do_orm_execute"), (session, "after_begin"), (Entity, "load"), (database.engine, "commit")]
    targets += [(Engine, "before_cursor_execute"), (database.engine, "handle_error")]
    if not listeners.listen_to_read(session, Probe):
        for target, name in targets:
            assert _is_noticed(target, name, lambda: listeners.listen_to_read(session, Probe)), f"{name} is noticed"
    if not listeners.listen_to_insert(session, Probe):
        is_noticed = _is_noticed(Probe, "before_insert", lambda: listeners.listen_to_insert(session, Probe))
        assert is_noticed, "before_insert is noticed"
    for kind, watched in (("reads", listeners.of_reads), ("inserts", listeners.of_inserts)):
        (found,) = watched.values()
        if modules := found.other_modules():
            log.warning("Shortcuts are not taken for %s, because %s listens to all.", kind, ", ".join(modules))


def _is_noticed(target: Any, name: str, listens: Callable[[], bool]) -> bool:
    """Add a listener and remove it. Returns whether `listens` was true in between, and false afterwards."""
    event.listen(target, name, _ignore, **({"propagate": True} if target is Entity else {}))
    is_noticed = listens()
    event.remove(target, name, _ignore)
    return is_noticed and not listens()


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
    check_whole_bodies()


CHECKS: list[tuple[Callable[[ProbeDatabase], None], frozenset[str]]] = [
    (check_drivers, DATABASE),
    (check_listeners, DATABASE),
    (check_greenlets, DATABASE),
    (check_attached_rows, DATABASE),
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
