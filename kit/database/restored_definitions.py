"""Restored definitions: the SQL that PostgreSQL stores when it reads its own SQL, as in a dump that is restored.

It stores `status IN ('a', 'b')` as `status = ANY (ARRAY['a', 'b']::text[])`. A dump has that text. When the dump is
restored, PostgreSQL stores it with casts in other places. Both are the same declaration of a model.
"""

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, text

CONDITION = """
SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conname = 'restored' AND conrelid = to_regclass(:table)
"""
Named = Mapping[tuple[str, str], str]


def restored_checks(connection: Connection, checks: Named) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the conditions of CHECKs as they are stored after a dump, with the tables and names."""
    for key, sql in checks.items():
        yield key, restored_condition(connection, key[0], sql)


def restored_expressions(connection: Connection, expressions: Named) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the expressions of generated columns as they are stored after a dump, with the tables and columns."""
    for key, sql in expressions.items():
        condition = restored_condition(connection, key[0], f"({sql}) IS NULL")
        yield key, condition.removeprefix("(").removesuffix(" IS NULL)")


def restored_condition(connection: Connection, table: str, sql: str) -> str:
    name = quoted(connection, table)
    connection.exec_driver_sql(f"ALTER TABLE {name} ADD CONSTRAINT restored CHECK ({sql})")
    condition = connection.scalar(text(CONDITION), {"table": name})
    connection.exec_driver_sql(f"ALTER TABLE {name} DROP CONSTRAINT restored")
    return str(condition)


def restored_indexes(connection: Connection, indexes: Named) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the statements that create indexes as they are stored after a dump. Creates these indexes anew."""
    for key, sql in indexes.items():
        name = quoted(connection, key[1])
        connection.exec_driver_sql(f"DROP INDEX {name}")
        connection.exec_driver_sql(sql)
        yield key, str(connection.scalar(text("SELECT pg_get_indexdef(to_regclass(:name))"), {"name": name}))


def quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)
