"""The functions of SQL that the kit adds to each connection with SQLite."""

from typing import Any

from kit.database.folding import fold
from kit.models.decimal_forms import decimal_of


def add_functions(connection: Any) -> None:
    """Add `fold` and `decimal_of` to a connection of Python's `sqlite3` or of SQLAlchemy."""
    connection.create_function("fold", 1, fold, deterministic=True)
    connection.create_function("decimal_of", -1, decimal_of, deterministic=True)
