"""Checks of query plans: the statements that read a page of a list, and their output of EXPLAIN."""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import event
from sqlmodel import select

from kit.database.databases import Database
from kit.query.pages import plain_page
from tests.kit.tales import asked


async def statements_of(database: Database, kind: Any, *, restricted: bool = False, **given: Any) -> Any:
    """Return the statements that read a page, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if kind.model.__tablename__ in statement:
            found.append((statement, parameters))

    event.listen(database.reader.sync_engine, "before_cursor_execute", note)
    async with database.open_read(restricted=restricted) as session:
        await plain_page(session, asked(database, kind, **given), select(kind.model))
    event.remove(database.reader.sync_engine, "before_cursor_execute", note)
    return found


def nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def check_list(
    database: Database, kind: Any, given: dict[str, Any], most: int, *, restricted: bool = False
) -> None:
    """Assert that no statement of a page reads a large part of the table.

    On PostgreSQL no filter may remove more than `most` rows, and no sequential scan read more than twice as many. On
    SQLite no table may be scanned without an index, unless it is in the order of its ids.
    """
    name = kind.model.__tablename__
    statements = await statements_of(database, kind, restricted=restricted, **given)
    async with database.connect() as connection:
        for sql, parameters in statements:
            if database.is_sqlite:
                rows = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)).all()
                assert not [
                    row[-1] for row in rows if row[-1] == f"SCAN {name}" and given["sort"] not in ("id", "-id")
                ], (
                    given,
                    sql,
                )
                continue
            ((found,),) = (await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)).all()
            (root,) = json.loads(found) if isinstance(found, str) else found
            for node in nodes(root["Plan"]):
                removed = node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
                assert removed <= most, (given, sql, node)
                is_scan = node["Node Type"].endswith("Seq Scan") and node.get("Relation Name") == name
                assert not is_scan or removed + node["Actual Rows"] <= 2 * most, (given, sql, node)
