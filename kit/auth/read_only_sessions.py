"""Read-only sessions: the synchronous session of a `ReadSession`, which refuses everything that writes.

It is needed because the connections of a `ReadSession` are in autocommit: PostgreSQL would commit a write at once.
"""

import re
from typing import Any, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Select, TextClause, TextualSelect, UpdateBase, event
from sqlalchemy.engine import Compiled, ExecutionContext
from sqlalchemy.orm import FromStatement, ORMExecuteState, Session, SessionTransaction
from sqlalchemy.sql import visitors
from sqlalchemy.sql.functions import Function, FunctionElement

from kit.auth.checked_sessions import CheckedSession
from kit.auth.restricted_reads import parts_of

WORD = re.compile(r"[a-z_]+")
READING = frozenset({"select", "with", "values", "table", "explain", "show", "pragma"})
"""The first words of SQL statements that only read."""
WRITING = frozenset({"insert", "update", "delete", "merge"})
"""The words that mark a statement as writing, also within a WITH."""
IN_TRANSACTION = {"isolation_level": "READ COMMITTED"}
"""The execution options of a connection in a transaction in which each statement sees what is committed before it."""
SETTING = re.compile(r"\b(?:set_config|pg_(?:try_)?advisory_)", re.IGNORECASE)
"""The beginning of the names of functions whose effect lasts until the end of a transaction."""
HAS_SETTINGS = "has_settings"
"""The key in `Session.info` that is set in a transaction with such an effect: reads must not leave it."""
HIDES_WRITE: WeakKeyDictionary[Compiled, bool] = WeakKeyDictionary()
"""A cache of `refuse_hidden_write`: whether a compiled statement contains another that writes."""


class ReadOnlyError(RuntimeError):
    """Raised by writes on a ReadSession."""


def read_only() -> ReadOnlyError:
    return ReadOnlyError("A ReadSession does not write: take Session in a handler of POST, PUT, PATCH or DELETE.")


def is_writing_text(words: str) -> bool:
    """Return whether SQL text may write: True unless its first word only reads, and no WITH in it writes."""
    found = WORD.findall(words.lower())
    return not found or found[0] not in READING or (found[0] == "with" and not WRITING.isdisjoint(found))


def refuse_writing_statement(_: Connection, statement: object, *__: object) -> None:
    """Raise a ReadOnlyError for a statement that writes. Listens to `before_execute` of a session's connection."""
    is_text = isinstance(statement, TextClause)
    if isinstance(statement, UpdateBase) or (is_text and is_writing_text(str(statement))):
        raise read_only()


class ReadOnlySession(CheckedSession):
    """The synchronous session of a `ReadSession`. It refuses writes."""

    def begin(self, nested: bool = False) -> SessionTransaction:
        """Begin a transaction or savepoint, as SQLAlchemy does. On PostgreSQL it replaces autocommit."""
        if nested:
            self.begin_transaction()
            return super().begin(nested)
        transaction = super().begin()
        if self.is_on_postgresql:
            self.trusted_connection(execution_options=IN_TRANSACTION)
        return transaction

    @property
    def is_on_postgresql(self) -> bool:
        return self.bind_of().dialect.name == "postgresql"

    def begin_transaction(self) -> None:
        """On PostgreSQL, replace autocommit by a transaction, which cursors and savepoints need."""
        if not self.is_on_postgresql:
            return
        if self.trusted_connection().get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            self.commit()
            self.trusted_connection(execution_options=IN_TRANSACTION)

    def connection(self, bind_arguments: Any = None, execution_options: Any = None) -> Connection:
        """Return a read-only connection, in a transaction unless options are given."""
        connection = super().connection(bind_arguments, execution_options)
        if not execution_options:
            self.begin_transaction()
            connection = self.trusted_connection(bind_arguments)
        if not event.contains(connection, "before_execute", refuse_writing_statement):
            event.listen(connection, "before_execute", refuse_writing_statement)
        return connection

    def delete(self, instance: object) -> None:
        raise read_only()

    def _check_bulk(self) -> None:
        raise read_only()


@event.listens_for(ReadOnlySession, "transient_to_pending")
def refuse_to_add(session: Session, row: object) -> None:
    raise read_only()


@event.listens_for(ReadOnlySession, "before_flush")
def refuse_to_flush(session: Session, *_: object) -> None:
    if session.new or session.deleted or any(map(session.is_modified, session.dirty)):
        raise read_only()


def refuse_write(state: ORMExecuteState) -> None:
    """Raise a ReadOnlyError for a statement of a session that writes, or contains one that does."""
    statement: Any = state.statement
    core = statement.element if isinstance(statement, FromStatement) else statement
    is_reading_text = isinstance(core, TextClause) and not is_writing_text(str(core))
    if not (state.is_select or is_reading_text or isinstance(core, FunctionElement)):
        raise read_only()
    if not isinstance(core, Select) and any(map(is_writing, parts_of(state))):
        raise read_only()


def begin_for_cursor(session: ReadOnlySession, state: ORMExecuteState) -> None:
    """Begin a transaction on PostgreSQL for a statement whose rows a cursor of the database returns in parts."""
    options = state.execution_options
    if options.get("stream_results") or options.get("yield_per"):
        session.begin_transaction()


def begin_for_settings(session: ReadOnlySession, state: ORMExecuteState) -> None:
    """Begin a transaction on PostgreSQL for a statement whose effect lasts until the end of its transaction.

    These are `set_config`, as for row level security, and advisory locks. At the end of the session it is rolled back.
    """
    if state.bind_mapper is None and any(map(is_setting, parts_of(state))):  # no statement about rows
        session.begin_transaction()
        session.info[HAS_SETTINGS] = True


def is_setting(element: object) -> bool:
    """Return whether SQL text, or a function, changes a setting of the transaction, or takes an advisory lock."""
    if isinstance(element, TextClause):
        return SETTING.search(str(element)) is not None
    return isinstance(element, Function) and SETTING.match(element.name) is not None


def refuse_hidden_write(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: ExecutionContext, _: bool
) -> None:
    """Raise a ReadOnlyError for a SELECT that contains a write, such as `WITH … AS (DELETE …)` in PostgreSQL.

    Listens to `before_cursor_execute` of the read engine. The search takes time, so its result is stored for each
    compiled statement in SQLAlchemy's cache.
    """
    compiled = context.compiled
    if compiled is None:
        return
    if compiled not in HIDES_WRITE:
        parts: Any = visitors.iterate(cast("Any", compiled.statement))
        HIDES_WRITE[compiled] = any(map(is_writing, parts))
    if HIDES_WRITE[compiled]:
        raise read_only()


def is_writing(element: object) -> bool:
    """Return whether a statement, or a part of it, may write."""
    if isinstance(element, TextualSelect):
        return is_writing_text(str(element.element))
    return isinstance(element, UpdateBase)
