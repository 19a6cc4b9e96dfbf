"""Databases that open sessions with shortcuts."""

import logging
from functools import partial

from kit.database.databases import Database
from kit.fast.read_sessions import ReadShortcuts, open_read
from kit.fast.self_test import failing_shortcuts
from kit.fast.write_sessions import WriteShortcuts, open_write

log = logging.getLogger("kit")
KNOWN_OPTIONS = frozenset({"isolation_level", "reading"})
"""Execution options of an engine that change nothing in a statement."""


def use_fast_sessions(
    database: Database, *, coalesce: bool, group: bool, without: frozenset[str] | None = None
) -> None:
    """Let a database open sessions that take shortcuts.

    `coalesce`: requests that read the same at the same time share a query. `group`: inserts that arrive together share
    a transaction. `without` are shortcuts to leave out (`get`, `pages`, `single insert`, `bulk insert`); those that
    fail the self-test if it is None.
    """
    reader, writer = database.primary.reader, database.primary.writer
    if any(engine.sync_engine.get_execution_options().keys() - KNOWN_OPTIONS for engine in (reader, writer)):
        log.warning("Shortcuts left out: an engine has execution options that they do not know")
        return
    out = failing_shortcuts() if without is None else without
    reads = ReadShortcuts(reader, coalesce=coalesce, get="get" not in out, pages="pages" not in out)
    single, bulk = "single insert" not in out, "bulk insert" not in out
    writes = WriteShortcuts(writer, group=group, get="get" not in out, single=single, bulk=bulk)
    database.read = partial(open_read, database, reads)
    database.write = partial(open_write, database, writes)
