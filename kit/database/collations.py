"""Collations: creates `folding`, the PostgreSQL collation for the search parameter `q`."""

from sqlalchemy import Connection, text

BUILTIN, ICU = "provider = builtin, locale = 'C.UTF-8'", "provider = icu, locale = 'und'"


def ensure_folding(connection: Connection) -> None:
    """Create the collation if it does not exist. With it, PostgreSQL's `lower` converts all letters of Unicode.

    On SQLite it does nothing: there the function `fold` does this.
    """
    if connection.dialect.name == "postgresql":
        provider = BUILTIN if (connection.dialect.server_version_info or (0,)) >= (17,) else ICU
        connection.execute(text(f"CREATE COLLATION IF NOT EXISTS folding ({provider})"))
