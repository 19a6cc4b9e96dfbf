"""Collations: `folding`, with which `q` searches, is the kit's own, so no migration has to make it."""

from sqlalchemy import Connection, text

BUILTIN, ICU = "provider = builtin, locale = 'C.UTF-8'", "provider = icu, locale = 'und'"


def ensure_folding(connection: Connection) -> None:
    """Create, unless it is there, the collation under which PostgreSQL's `lower` knows more than ASCII.

    SQLite needs none: it has our function `fold`.
    """
    if connection.dialect.name == "postgresql":
        provider = BUILTIN if (connection.dialect.server_version_info or (0,)) >= (17,) else ICU
        connection.execute(text(f"CREATE COLLATION IF NOT EXISTS folding ({provider})"))
