"""Limits of statements on SQLite: a negative LIMIT or OFFSET is refused, as PostgreSQL does.

SQLite takes a negative LIMIT for none, and would return all rows of a list whose parameter `limit` has no bound.
"""

import re
from typing import Any

from kit.database.errors import OutOfRange

AT_END = re.compile(r"LIMIT (?:\?|\? OFFSET \?|-1 OFFSET \?)\s*\Z")
"""The end of a statement with a limit. With an offset only, SQLAlchemy writes `LIMIT -1`."""


def refuse_negative_limit(_: Any, cursor: Any, statement: str, parameters: Any, context: Any, is_many: bool) -> None:
    """Raise `OutOfRange` for a negative LIMIT or OFFSET. Listens to `before_cursor_execute`."""
    found = AT_END.search(statement)
    if found is not None and any(isinstance(value, int) and value < 0 for value in parameters[-found[0].count("?") :]):
        raise OutOfRange("LIMIT and OFFSET must not be negative.")
