"""System names: names of tables and columns that SQLite or PostgreSQL reserves, and that work on the other only."""

from sqlalchemy import Table

SYSTEM_TABLES = {"pg_": "PostgreSQL", "sqlite_": "SQLite"}
"""The prefixes of tables of the system: SQLite refuses others, and PostgreSQL takes `pg_class` for its own table."""
SYSTEM_COLUMNS = dict.fromkeys(("cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"), "PostgreSQL") | {"rowid": "SQLite"}
"""The columns of every table that have no declaration."""


def system_of_table(name: str) -> str | None:
    """Return the database that has tables of its own with such a name; None for other names."""
    return next((system for prefix, system in SYSTEM_TABLES.items() if name.lower().startswith(prefix)), None)


def system_of_column(name: str) -> str | None:
    """Return the database in which every table has a column of this name; None for other names."""
    return SYSTEM_COLUMNS.get(name.lower())


def refuse_system_names(table: Table) -> None:
    """Raise a TypeError for a table or a column with a name of the system."""
    if system := system_of_table(table.name):
        raise TypeError(
            f"The table {table.name} has a name that {system} keeps for tables of its own: give it another name, as in "
            f'`__tablename__ = "my_{table.name}"`.'
        )
    for name in table.columns.keys():  # noqa: SIM118  the collection yields columns
        if system := system_of_column(table.columns[name].name):
            raise TypeError(
                f"{table.name}.{name} has the name of a column that {system} has in every table: give it another name, "
                f"such as `{name}_value`."
            )
