"""Texts in statements of SQLite: refuses those that PostgreSQL refuses, with the character NUL or a lone surrogate.

SQLite would store a NUL, and end the text there in some functions. The error has PostgreSQL's code and the form of
asyncpg's message, so that the problem (RFC 9457) is the same.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

REFUSED_TEXT = "22021"
"""The SQLSTATE of PostgreSQL for characters that it does not have in its encoding."""


class Cursor(sqlite3.Cursor):
    """A cursor that raises a DataError for a refused text in the parameters."""

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        refuse_nul(parameters)
        try:
            return super().execute(sql, parameters)
        except UnicodeEncodeError:
            raise refusal(is_surrogate, parameters) from None

    def executemany(self, sql: str, rows: Iterable[Any], /) -> Self:
        rows = list(rows)
        for parameters in rows:
            refuse_nul(parameters)
        try:
            return super().executemany(sql, rows)
        except UnicodeEncodeError:
            parameters = next(row for row in rows if any(map(is_surrogate, values_of(row))))
            raise refusal(is_surrogate, parameters) from None


class Connection(sqlite3.Connection):
    """A connection whose cursors refuse texts. The methods of `sqlite3.Connection` would use other cursors."""

    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return self.cursor().execute(sql, parameters)  # type: ignore[no-any-return]

    def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
        return self.cursor().executemany(sql, rows)  # type: ignore[no-any-return]


def refuse_nul(parameters: Any) -> None:
    if any(map(has_nul, values_of(parameters))):
        raise refusal(has_nul, parameters)


def values_of(parameters: Any) -> Iterable[Any]:
    return parameters.values() if isinstance(parameters, Mapping) else parameters


def has_nul(value: Any) -> bool:
    return isinstance(value, str) and "\0" in value


def is_surrogate(value: Any) -> bool:
    """Return whether a value is a text with a surrogate, which UTF-8 cannot encode."""
    return isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value)


def refusal(is_refused: Callable[[Any], bool], parameters: Any) -> sqlite3.DataError:
    """Return the error for the first parameter that is refused."""
    number = next(number for number, value in enumerate(values_of(parameters), 1) if is_refused(value))
    failure = sqlite3.DataError(f"invalid input for query argument ${number}: a NUL, or a lone surrogate")
    failure.sqlite_errorname = REFUSED_TEXT
    return failure
