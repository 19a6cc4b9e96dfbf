"""Collations: creates `folding`, the collation of PostgreSQL that the search parameter `q` needs."""

from sqlalchemy import Connection, text

BUILTIN, ICU = "provider = builtin, locale = 'C.UTF-8'", "provider = icu, locale = 'und'"


def ensure_folding(connection: Connection) -> None:
    """Create the collation if it does not exist. Under it, PostgreSQL's `lower` converts all of Unicode.

    SQLite uses the kit's function `fold` instead.
    """
    if connection.dialect.name == "postgresql":
        provider = BUILTIN if (connection.dialect.server_version_info or (0,)) >= (17,) else ICU
        connection.execute(text(f"CREATE COLLATION IF NOT EXISTS folding ({provider})"))
