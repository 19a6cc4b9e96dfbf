"""Prints the SQL that sets timeouts of the database role, for PgBouncer: `python -m kit.database.role main:app`."""

import sys
from collections.abc import Iterator

from kit.applications import load_application
from kit.database.databases import Database
from kit.database.identifiers import quoted
from kit.database.postgresql_engines import server_settings


def commands(database: Database) -> Iterator[str]:
    """Yield an ALTER ROLE for each setting of `server_settings`, for the role in the database URL."""
    url = database.url
    role = quoted(url.username) if url.username else "CURRENT_USER"
    where = f" IN DATABASE {quoted(url.database)}" if url.database else ""
    for name, value in server_settings(database.pool).items():
        yield f"ALTER ROLE {role}{where} SET {name} = '{value}';"


def main(application: str) -> str | None:
    """Print the commands. Returns an error message, or None on success."""
    database: Database = load_application(application).runtime.database
    if database.is_sqlite:
        return "DATABASE_URL is a SQLite database, which has no roles."
    sys.stdout.write("\n".join(commands(database)) + "\n")
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
