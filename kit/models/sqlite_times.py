"""Times on SQLite: `func.now()` and the like are written in the form in which the columns store times.

SQLite's own CURRENT_TIMESTAMP has no fraction. Times are compared as texts there, so it would be sorted before a time
of the same second, and a filter would not find it.
"""

from typing import Any

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import current_time, current_timestamp, localtime, localtimestamp, now

from kit.models.moments import CurrentTimestamp, Now

NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
"""The current time on SQLite, in UTC, to the millisecond, in the form in which the column of a `datetime` stores it."""
NOW_TIME = "strftime('%H:%M:%f000', 'now')"
"""The same for the column of a `time`."""


@compiles(Now, "sqlite")
@compiles(CurrentTimestamp, "sqlite")
@compiles(now, "sqlite")
@compiles(current_timestamp, "sqlite")
@compiles(localtimestamp, "sqlite")
def _moment(*_: Any, **__: Any) -> str:
    return NOW


@compiles(current_time, "sqlite")
@compiles(localtime, "sqlite")
def _time(*_: Any, **__: Any) -> str:
    return NOW_TIME
