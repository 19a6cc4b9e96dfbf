"""Fast sessions: lets a `Database` open sessions that take shortcuts."""

import logging
from functools import partial

from kit.database.databases import Database
from kit.fast.read_sessions import find_as, open_read, read_row
from kit.fast.read_shortcuts import ReadShortcuts
from kit.fast.self_test import failing_shortcuts
from kit.fast.write_sessions import open_write
from kit.fast.write_shortcuts import WriteShortcuts

log = logging.getLogger("kit")
KNOWN_OPTIONS = frozenset({"isolation_level", "reading"})
"""Execution options of an engine that do not change a statement."""


def use_fast_sessions(
    database: Database, *, coalesce: bool, group: bool, without: frozenset[str] | None = None
) -> None:
    """Let a database open sessions that take shortcuts.

    `coalesce`: identical reads that run at the same time share a query. `group`: writes that arrive together share a
    transaction. `without`: the shortcuts to leave out (`get`, `pages`, `single insert`, `single update`,
    `bulk insert`); if None, those that fail the self-test.
    """
    reader, writer = database.primary.reader, database.primary.writer
    if any(engine.sync_engine.get_execution_options().keys() - KNOWN_OPTIONS for engine in (reader, writer)):
        log.warning("Shortcuts left out: an engine has execution options unknown to the shortcuts")
        return
    left_out = failing_shortcuts() if without is None else without
    get = "get" not in left_out
    reads = ReadShortcuts(reader, coalesce=coalesce, get=get, pages="pages" not in left_out)
    single, bulk = "single insert" not in left_out, "bulk insert" not in left_out
    update = "single update" not in left_out and not database.is_in_memory
    writes = WriteShortcuts(writer, group=group, get=get, single=single, bulk=bulk, update=update)
    database.read = partial(open_read, database, reads)
    database.read_row = partial(read_row, database, reads)
    database.find_as = partial(find_as, database, reads)  # type: ignore[method-assign]
    database.write = partial(open_write, database, writes)
