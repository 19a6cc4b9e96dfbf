"""Samples: copies some rows of each table to the schema of PostgreSQL in which a migration is tried.

Copies whose foreign key refers to a row that was not copied are deleted.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, MetaData, Row, text

MAX_ROWS = 10_000
"""The maximum number of copied rows of a table. It bounds the time for a large database."""
FOREIGN_KEYS = """
SELECT conrelid::regclass::text AS child, confrelid::regclass::text AS parent, quote_ident(conname) AS name,
    pg_get_constraintdef(oid) AS definition,
    ARRAY(SELECT quote_ident(attname) FROM unnest(conkey) WITH ORDINALITY AS key (number, place)
        JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place) AS columns,
    ARRAY(SELECT quote_ident(attname) FROM unnest(confkey) WITH ORDINALITY AS key (number, place)
        JOIN pg_attribute ON attrelid = confrelid AND attnum = number ORDER BY place) AS referred
FROM pg_constraint WHERE contype = 'f' AND connamespace = to_regnamespace(current_schema())
"""


def copy_sample(connection: Connection, original: str) -> list[str]:
    """Copy up to `MAX_ROWS` rows of each table from the schema `original` to the current one.

    Returns the names of the tables that have more rows.
    """
    keys = connection.execute(text(FOREIGN_KEYS)).all()
    for key in keys:
        connection.execute(text(f"ALTER TABLE {key.child} DROP CONSTRAINT {key.name}"))
    larger = copy_tables(connection, original)
    while sum(remove_children(connection, key) for key in keys):
        pass
    for key in keys:
        connection.execute(text(f"ALTER TABLE {key.child} ADD CONSTRAINT {key.name} {key.definition}"))
    return larger


def copy_tables(connection: Connection, original: str) -> list[str]:
    metadata, larger = MetaData(), []
    metadata.reflect(connection)
    quoted = connection.dialect.identifier_preparer.quote
    tables = [table for name, table in sorted(metadata.tables.items()) if name != "alembic_version"]
    for table in tables:
        name = quoted(table.name)
        columns = ", ".join(quoted(column.name) for column in table.columns if column.computed is None)
        source = f"SELECT {columns} FROM {original}.{name} LIMIT {MAX_ROWS}"  # noqa: S608  names of our own
        connection.execute(text(f"DELETE FROM {name}"))  # noqa: S608  a migration may have inserted rows
        connection.execute(text(f"INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE {source}"))
        rest = f"SELECT EXISTS (SELECT 1 FROM {original}.{name} OFFSET {MAX_ROWS})"  # noqa: S608
        larger += [table.name] if connection.scalar(text(rest)) else []
    return larger


def remove_children(connection: Connection, key: Row[tuple[str, str, str, str, Sequence[str], Sequence[str]]]) -> int:
    """Delete the rows whose foreign key `key`, a row of `FOREIGN_KEYS`, refers to no row. Returns their number."""
    filled = " AND ".join(f"child.{column} IS NOT NULL" for column in key.columns)
    equal = " AND ".join(
        f"parent.{there} = child.{here}" for here, there in zip(key.columns, key.referred, strict=True)
    )
    missing = f"NOT EXISTS (SELECT 1 FROM {key.parent} AS parent WHERE {equal})"  # noqa: S608
    deleted = connection.execute(text(f"DELETE FROM {key.child} AS child WHERE {filled} AND {missing}"))  # noqa: S608
    return deleted.rowcount
