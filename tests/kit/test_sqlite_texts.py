"""Texts in statements of SQLite: those that PostgreSQL refuses are refused by each method of a connection."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from kit.database.sqlite_texts import Connection


@pytest.mark.parametrize("execute", [Connection.execute, Connection.executemany])
@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_a_text_is_refused_by_each_method_of_a_connection(execute: Any, text: str) -> None:
    with closing(sqlite3.connect(":memory:", factory=Connection)) as connection:
        connection.execute("CREATE TABLE texts (text)")
        rows: Any = [("b",), (text,)] if execute is Connection.executemany else (text,)
        with pytest.raises(sqlite3.DataError, match=r"invalid input for query argument \$1"):
            execute(connection, "INSERT INTO texts VALUES (?)", rows)
