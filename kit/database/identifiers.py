"""Identifiers: names of tables and columns in SQL text."""


def quoted(name: str) -> str:
    """Return a name in the quotes of standard SQL, in which it may contain any character."""
    return '"' + name.replace('"', '""') + '"'
