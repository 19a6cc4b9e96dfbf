"""Fast databases: lets a `Database` open sessions that take shortcuts."""

import logging
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module

from kit.database.databases import Database
from kit.fast.read_sessions import find_as, open_read, read_row
from kit.fast.read_shortcuts import ALL, ReadShortcuts
from kit.fast.write_sessions import open_write
from kit.fast.write_shortcuts import WriteShortcuts

log = logging.getLogger("kit")
KNOWN_OPTIONS = frozenset({"isolation_level", "reading"})
"""Execution options of an engine that do not change how statements are executed by the driver."""
LeaveOut = Callable[[frozenset[str]], None]
"""A function that disables the shortcuts with these names, and enables the others."""


def use_fast_sessions(
    database: Database, *, coalesce: bool, group: bool, without: frozenset[str] | None = None
) -> LeaveOut:
    """Let a database open sessions that take shortcuts. Returns a function that changes which ones are disabled.

    `coalesce`: concurrent reads share a query. `group`: writes that arrive together share a transaction. `without`: the
    names in `ALL` of the shortcuts to disable; if None, those that fail the self-test.
    """
    reader, writer = database.primary.reader, database.primary.writer
    if any(engine.sync_engine.get_execution_options().keys() - KNOWN_OPTIONS for engine in (reader, writer)):
        log.warning("Shortcuts left out: an engine has execution options unknown to the shortcuts")
        return lambda _: None
    reads = ReadShortcuts(reader, coalesce=coalesce)
    writes = WriteShortcuts(writer, group=group, may_update=not database.is_in_memory)
    database.read = partial(open_read, database, reads)
    database.read_row = partial(read_row, database, reads)
    database.find_as = partial(find_as, database, reads)  # type: ignore[method-assign]
    database.write = partial(open_write, database, writes)

    def leave_out(names: frozenset[str]) -> None:
        reads.leave_out(names)
        writes.leave_out(names)

    leave_out(failing_shortcuts() if without is None else without)
    return leave_out


@cache
def failing_shortcuts() -> frozenset[str]:
    """Return the names of the shortcuts that fail the self-test; of all if the self-test cannot be imported.

    The self-test runs once in a process: its result depends on the installed libraries only.
    """
    try:
        self_test = import_module("kit.fast.self_test")  # imported late, as it declares tables
    except (ImportError, AttributeError) as failure:
        log.warning("Shortcuts left out: %s", failure)
        return ALL
    failing: frozenset[str] = self_test.failing_shortcuts()
    return failing


def is_tested() -> bool:
    """Return whether the self-test has run in this process."""
    return failing_shortcuts.cache_info().currsize > 0
