"""What is sent to a database: through the ORM, and past it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection

from kit.fast import rows
from kit.fast import single_insert as lone


@contextmanager
def noting(engine: AsyncEngine, note: Callable[[Any, str], None]) -> Iterator[None]:
    """In the block, each statement of this engine is noted, with the driver's connection that executes it."""

    def executing(connection: Connection, _: object, statement: str, *__: object) -> None:
        note(connection.connection.driver_connection, statement)

    ask, execute = rows.ask_on, lone.execute

    def asking(connection: PoolProxiedConnection, asked: Engine, sql: str, arguments: list[Any]) -> Any:
        if asked.pool is engine.sync_engine.pool:
            note(connection.driver_connection, sql)
        return ask(connection, asked, sql, arguments)

    async def storing(connection: PoolProxiedConnection, sql: str, *arguments: Any) -> Any:
        note(connection.driver_connection, sql)
        return await execute(connection, sql, *arguments)

    event.listen(engine.sync_engine, "before_cursor_execute", executing)
    try:
        with patch.object(rows, "ask_on", asking), patch.object(lone, "execute", storing):
            yield
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", executing)


@contextmanager
def statements_of(engine: AsyncEngine) -> Iterator[list[str]]:
    """The SQL that this engine executes in the block."""
    seen: list[str] = []
    with noting(engine, lambda _, statement: seen.append(statement)):
        yield seen
