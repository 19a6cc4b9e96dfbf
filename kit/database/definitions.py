"""Definitions: the SQL of CHECKs, indexes, triggers and functions, as the database itself stores it.

PostgreSQL rewrites expressions when it stores them, so their text differs from that of the models. For a comparison,
the tables of the models are created in a scratch schema, or in a SQLite database in memory, and read from there.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, event, text

from kit.database.restored_definitions import restored_checks, restored_expressions, restored_indexes
from kit.database.sqlite_functions import add_functions
from kit.database.sqlite_reflection import GENERATED, CompleteSQLiteDialect, computed, has_autoincrement, plain

SCRATCH = "scratch_of_a_comparison"
"""The scratch schema of PostgreSQL. Its creation is rolled back, so other transactions never see it."""
Named = dict[tuple[str, str], str]
"""SQL by the pair of table and name."""


@dataclass(frozen=True)
class Definitions:
    """The conditions of CHECKs, the statements that create indexes, triggers and functions, and defaults of columns."""

    checks: Named = field(default_factory=dict)
    indexes: Named = field(default_factory=dict)
    triggers: Named = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    defaults: Named = field(default_factory=dict)
    """The defaults of columns, except those of ids that PostgreSQL generates."""
    computed: Named = field(default_factory=dict)
    """The expressions of generated columns."""
    numbered: frozenset[str] = frozenset()
    """The tables with AUTOINCREMENT, which only SQLite has."""


def is_changed(stored: str | None, declared: str | None) -> bool:
    """Return whether two definitions differ, ignoring spaces and the quotation marks of names. None: not defined."""
    return plain(stored or "") != plain(declared or "")


def stored_definitions(connection: Connection) -> Definitions:
    """Return the definitions in the database."""
    if connection.dialect.name == "sqlite":
        return of_sqlite(connection)
    return of_postgresql(connection, str(connection.scalar(text("SELECT current_schema()"))))


def model_definitions(connection: Connection, metadata: MetaData, stored: Definitions) -> Definitions:
    """Return the definitions that `create_all` makes from the models, in the same database system.

    Those that differ from the `stored` ones are in the form that a restored dump gives them.
    """
    if connection.dialect.name == "sqlite":
        return made_in_memory(metadata)
    return made_in_scratch(connection, metadata, stored)


def made_in_memory(metadata: MetaData) -> Definitions:
    engine = create_engine("sqlite://")
    event.listen(engine, "connect", lambda driver, _: add_functions(driver))
    with engine.begin() as connection:
        metadata.create_all(connection)
        definitions = of_sqlite(connection)
    engine.dispose()
    return definitions


def made_in_scratch(connection: Connection, metadata: MetaData, stored: Definitions) -> Definitions:
    with connection.begin_nested() as savepoint:
        path = connection.scalar(text("SHOW search_path"))
        connection.execute(text(f"CREATE SCHEMA {SCRATCH}"))
        connection.execute(text(f"SET LOCAL search_path TO {SCRATCH}, {path}"))
        metadata.create_all(connection, checkfirst=False)
        definitions = as_restored(connection, of_postgresql(connection, SCRATCH), stored)
        savepoint.rollback()
    return definitions


def as_restored(connection: Connection, made: Definitions, stored: Definitions) -> Definitions:
    """Return the definitions, with those that differ from the stored ones as they are after a dump was restored."""
    checks = dict(restored_checks(connection, changed(stored.checks, made.checks)))
    computed = dict(restored_expressions(connection, changed(stored.computed, made.computed)))
    indexes = dict(restored_indexes(connection, changed(stored.indexes, made.indexes)))
    indexes = {key: without_schema(sql, SCRATCH) for key, sql in indexes.items()}
    return replace(made, checks=made.checks | checks, computed=made.computed | computed, indexes=made.indexes | indexes)


def changed(stored: Named, made: Named) -> Named:
    """Return the definitions that differ from stored ones of the same name."""
    return {key: sql for key, sql in made.items() if key in stored and is_changed(stored[key], sql)}


def of_sqlite(connection: Connection) -> Definitions:
    """Return the definitions of a SQLite database, read from `sqlite_master`. It has no functions."""
    rows = connection.exec_driver_sql("SELECT type, tbl_name, name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    kinds = {kind: {(row.tbl_name, row.name): row.sql for row in rows if row.type == kind} for kind in KINDS}
    tables = [row.name for row in rows if row.type == "table"]
    dialect = CompleteSQLiteDialect()
    checks = {
        (table, check["name"]): check["sqltext"]
        for table in tables
        for check in dialect.get_check_constraints(connection, table)
    }
    defaults = {
        (table, name): default for table, name, default in connection.exec_driver_sql(SQLITE_DEFAULTS) if default
    }
    generated = {
        (row.name, column): expression
        for row in rows
        if row.type == "table" and GENERATED.search(row.sql)
        for column, expression in computed(row.sql)
    }
    numbered = frozenset(table for table in tables if has_autoincrement(connection, table))
    return Definitions(checks, kinds["index"], kinds["trigger"], {}, defaults, generated, numbered)


KINDS = ("index", "trigger")
SQLITE_DEFAULTS = """
SELECT sqlite_master.name, columns.name, columns.dflt_value
FROM sqlite_master JOIN pragma_table_xinfo(sqlite_master.name) AS columns WHERE sqlite_master.type = 'table'
"""
DEFAULTS = """
SELECT relname, attname, pg_get_expr(adbin, adrelid)
FROM pg_attrdef JOIN pg_class ON pg_class.oid = adrelid JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
WHERE relnamespace = to_regnamespace(:schema) AND (attgenerated <> '') = :generated
AND pg_get_expr(adbin, adrelid) NOT LIKE 'nextval(%'
"""
CHECKS = """
SELECT relname, conname, pg_get_expr(conbin, conrelid)
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE contype = 'c' AND connamespace = to_regnamespace(:schema)
"""
INDEXES = """
SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = :schema
AND to_regclass(quote_ident(schemaname) || '.' || quote_ident(indexname)) NOT IN
    (SELECT conindid FROM pg_constraint WHERE contype IN ('p', 'u', 'x'))
"""
TRIGGERS = """
SELECT relname, tgname, pg_get_triggerdef(pg_trigger.oid)
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE NOT tgisinternal AND relnamespace = to_regnamespace(:schema)
"""
FUNCTIONS = """
SELECT '', proname || '(' || pg_get_function_identity_arguments(oid) || ')', pg_get_functiondef(oid) FROM pg_proc
WHERE prokind IN ('f', 'p') AND pronamespace = to_regnamespace(:schema)
AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
"""


def of_postgresql(connection: Connection, schema: str) -> Definitions:
    def named(query: str, **parameters: Any) -> Named:
        rows = connection.execute(text(query), {"schema": schema, **parameters})
        return {(table, name): without_schema(sql, schema) for table, name, sql in rows}

    functions = {name: sql for (_, name), sql in named(FUNCTIONS).items()}
    defaults, generated = named(DEFAULTS, generated=False), named(DEFAULTS, generated=True)
    return Definitions(named(CHECKS), named(INDEXES), named(TRIGGERS), functions, defaults, generated)


def without_schema(sql: str, schema: str) -> str:
    return re.sub(rf"\b{schema}\.", "", sql)
