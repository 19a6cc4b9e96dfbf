"""Engines: the settings of the connection pool, and the two engines of a database."""

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.database.errors import DRIVER_ERRORS, with_origin


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The settings of the connection pool; sizes in connections, times in seconds."""

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
        """Close the connections."""
        await self.writer.dispose()
        await self.reader.dispose()

    def abandon(self) -> None:
        """Forget the connections, without closing them."""
        self.writer.sync_engine.dispose(close=False)
        self.reader.sync_engine.dispose(close=False)


UNWRAPPED = (ConnectionError, TimeoutError, OverflowError, *DRIVER_ERRORS)


def name_origin(context: ExceptionContext) -> Exception | None:
    """Replace driver exceptions that SQLAlchemy does not wrap by database errors. A listener to `handle_error`."""
    is_unwrapped = context.sqlalchemy_exception is None
    if is_unwrapped and isinstance(context.original_exception, UNWRAPPED):
        return with_origin(context.original_exception)
    return None
