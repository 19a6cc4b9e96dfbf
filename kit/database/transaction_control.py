"""Transaction control: refuses SQL text that ends a transaction, which SQLAlchemy would not notice.

After such a COMMIT or ROLLBACK the session goes on as if nothing had ended, and its own COMMIT stores nothing.
SAVEPOINT, RELEASE and ROLLBACK TO are allowed.
"""

import re
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import InvalidRequestError

ENDING = re.compile(
    r"""(?: \s | --[^\n]*(?:\n|$) | /\*.*?\*/ )*         # blanks and comments before the first word
    (?: COMMIT | END | ABORT | ROLLBACK (?! (?:\s+(?:WORK|TRANSACTION))? \s+TO\b ) | PREPARE\s+TRANSACTION )\b
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""The beginning of a statement that ends a transaction."""


def refuse_ending_texts(engine: Engine) -> None:
    """Refuse SQL text that ends a transaction on the connections of an engine."""
    event.listen(engine, "before_cursor_execute", refuse_ending)


def refuse_ending(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
    """Raise an InvalidRequestError for SQL text that ends the transaction. Listens to `before_cursor_execute`."""
    if ENDING.match(statement) and connection.in_transaction():
        raise InvalidRequestError(
            f"SQLAlchemy does not notice that {statement.strip()[:40]!r} ends its transaction: write "
            "`await session.commit()` or `await session.rollback()`."
        )
