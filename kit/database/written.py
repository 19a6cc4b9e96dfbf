"""Written values: the table and columns that an INSERT, UPDATE or DELETE concerns, read from the text of the statement.

It is read only after a failure, so that nothing has to be recorded while statements are executed.
"""

import re
from collections.abc import Sequence

from sqlalchemy import Table

from kit.database.sqlite_reflection import closing, split, without_quoted
from kit.models.entities import known_tables

WRITES = re.compile(r'\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<name>\w+))')
VALUES = re.compile(r"\bVALUES\s*\(")
CLAUSES = re.compile(r"\b(?:SET|WHERE|RETURNING)\b")
ARGUMENT = re.compile(r"(?:query argument|portal parameter) \$(\d+)")
"""A pattern for the refused argument in an error message of asyncpg or PostgreSQL."""
Assignments = Sequence[tuple[str, str]]
"""The columns that a statement sets, each with its SQL expression."""


def table_of(statement: str) -> Table | None:
    """Return the table that a statement writes; None for other statements and unknown tables."""
    found = WRITES.match(statement)
    return known_tables().get((found["quoted"] or found["name"]).replace('""', '"')) if found else None


def assignments_of(statement: str) -> Assignments:
    """Return the columns that an INSERT or UPDATE sets; those of the first row, if an INSERT has several."""
    flat = without_quoted(statement)
    if not flat.lstrip().startswith("INSERT"):
        pairs = [part.partition("=") for part in split(clause(statement, "SET"))]
        return [(unquoted(name), expression) for name, _, expression in pairs if expression]
    opening = VALUES.search(flat)
    if opening is None:
        return []
    names, expressions = within(statement, flat.index("(")), within(statement, opening.end() - 1)
    return [(unquoted(name), expression) for name, expression in zip(names, expressions, strict=False)]


def within(sql: str, opening: int) -> list[str]:
    """Return the parts between the parenthesis at `opening` and the one that closes it."""
    return list(split(sql[opening + 1 : closing(sql, opening)]))


def clause(statement: str, word: str) -> str:
    """Return the text of a clause, such as WHERE, up to the next one; empty if the statement does not have it."""
    flat = without_quoted(statement)
    starts = [found for found in CLAUSES.finditer(flat) if is_outside(flat[: found.start()])]
    for found, following in zip(starts, [*starts[1:], None], strict=False):
        if found[0] == word:
            return statement[found.end() : following.start() if following else None].strip()
    return ""


def is_outside(flat: str) -> bool:
    """Return whether the text that follows is outside of parentheses."""
    return flat.count("(") == flat.count(")")


def unquoted(name: str) -> str:
    return name.strip().removeprefix('"').removesuffix('"').replace('""', '"')


def marks_in(sql: str) -> int:
    """Return the number of parameters of SQLite in an expression."""
    return without_quoted(sql).count("?")


def numbered(statement: str) -> str:
    """Return a statement of SQLite with parameters like those of PostgreSQL: `$1` in place of `?`."""
    if "$" in without_quoted(statement):  # it is of PostgreSQL, where `?` is an operator
        return statement
    parts, start = list[str](), 0
    for number, mark in enumerate(re.finditer(r"\?", without_quoted(statement)), 1):
        parts += statement[start : mark.start()], f"${number}"
        start = mark.end()
    return "".join([*parts, statement[start:]])


def column_of_argument(message: str, statement: str) -> str | None:
    """Return the column for whose argument a message says that it is not valid; None if it is not that of a column."""
    found = ARGUMENT.search(message)
    assignments = assignments_of(numbered(statement)) if found and WRITES.match(statement) else ()
    numbers = {name: [int(number) for number in re.findall(r"\$(\d+)", expression)] for name, expression in assignments}
    count = max((number for each in numbers.values() for number in each), default=0)
    if found is None or count == 0:
        return None
    number = int(found[1])
    if statement.lstrip().startswith("INSERT"):  # of several rows, each has as many arguments as the first
        number = (number - 1) % count + 1
    return next((name for name, own in numbers.items() if number in own), None)
