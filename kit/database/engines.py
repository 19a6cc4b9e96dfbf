"""Engines: the settings of connection pools, and the pair of engines of a database, for writing and for reading."""

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.database.errors import DRIVER_ERRORS, OF_VALUES, with_origin


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The settings of the connection pool and of its connections. Sizes are in connections, times in seconds."""

    size: int = 30
    overflow: int = 0
    timeout: float = 3
    recycle: float = 1800
    pre_ping: bool = False
    application_name: str = "service"
    statement_timeout: float = 10
    lock_timeout: float = 5
    slow_statement: float = 0.2
    jit: bool = False
    echo: bool = False


class Engines(NamedTuple):
    """The two engines of a database, which may share one pool."""

    writer: AsyncEngine
    reader: AsyncEngine

    async def dispose(self) -> None:
        """Close the connections of both engines."""
        await self.writer.dispose()
        await self.reader.dispose()

    def abandon(self) -> None:
        """Drop the connections of both engines without closing them."""
        self.writer.sync_engine.dispose(close=False)
        self.reader.sync_engine.dispose(close=False)


UNWRAPPED = (ConnectionError, TimeoutError, OverflowError, *DRIVER_ERRORS)


def name_origin(context: ExceptionContext) -> Exception | None:
    """Replace a driver exception that SQLAlchemy does not wrap by a database error. Listens to `handle_error`.

    An exception that a column type raises for a value is replaced too.
    """
    is_unwrapped = context.sqlalchemy_exception is None
    if isinstance(context.original_exception, UNWRAPPED if is_unwrapped else OF_VALUES):
        return with_origin(context.original_exception)
    return None
