"""The plans of lists of heroes: no combination of a filter and a sort reads a large part of a large table."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlmodel import select

from heroes.hero import Hero, HeroQuery
from kit.database.databases import Database
from kit.database.migrations import upgrade
from kit.database.search_indexes import names_of_parts
from kit.query import known_plans
from kit.query.pages import plain_page
from tests.engines import url_for
from tests.kit.tales import asked

ROWS, MOST_REMOVED = 60_000, 10_000
NUMBERS = {
    "sqlite": f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) SELECT i FROM n)",  # noqa: S608
    "postgresql": f"generate_series(1, {ROWS}) AS n(i)",
}
TIMES = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', 1735689600 + i * 60, 'unixepoch')",
    "postgresql": "timestamptz '2025-01-01 00:00+00' + i * interval '1 minute'",
}
FILL = """INSERT INTO hero (version, created_at, updated_at, name, secret_name, age, power)
SELECT 1, {time}, {time}, 'Hero ' || (i * 7919 % 60013), 'Secret ' || i, 10 + i * 31 % 70, i * 7919 % 60013
FROM {numbers}"""
FILTERS: list[dict[str, Any]] = [
    {"age": 9999}, {"age": 40}, {"age__gte": 79}, {"age__gte": 20}, {"age__lt": 10}, {"age__isnull": "true"},
    {"age__ne": 40}, {"age__in": "11,12"}, {"power": 123456}, {"power__lte": 30}, {"power__gte": 60_000},
    {"power__gte": 100}, {"name": "Nobody"}, {"name__startswith": "Hero 59"}, {"name__startswith": "X"},
    {"secret_name": "Secret 7"}, {"team_id": 1}, {"team_id__isnull": "true"}, {"created_at__gte": "2030-01-01"},
    {"created_at__gte": "2025-02-10"}, {"created_at__lt": "2025-01-02"}, {"id__gt": 59_990}, {"id__in": "1,2,3"},
    {"age": 40, "power__lte": 30}, {"team_id__isnull": "true", "name__startswith": "X"},
]  # fmt: skip
SEARCHES: list[dict[str, Any]] = [{"q": "ero 599"}, {"q": "zzz"}, {"q": "hero"}, {"name__contains": "o 5999"}]
SHORT_SEARCHES: list[dict[str, Any]] = [{"q": "zq"}, {"q": "é"}, {"q": "he"}, {"name__contains": "zq"}]
"""Those that only SQLite finds by an index."""
SORTS = ["id", "-name", "secret_name", "-age", "age", "power", "-team_id", "created_at"]


@pytest.fixture(scope="session")
async def filled_url(engine: str, new_database: Any) -> str:
    url = str(await new_database())
    await upgrade(url_for(url))
    database = Database(url_for(url))
    async with database.writer.begin() as connection:
        await connection.execute(text(FILL.format(time=TIMES[engine].replace(":", "\\:"), numbers=NUMBERS[engine])))
    async with database.reader.connect() as connection:
        if engine == "postgresql":
            await connection.execute(text("VACUUM ANALYZE hero"))
    await database.dispose()
    return url


@pytest.fixture
async def database(filled_url: str) -> AsyncIterator[Database]:
    database = Database(url_for(filled_url))
    yield database
    await database.dispose()


async def statements_of(database: Database, **given: Any) -> list[tuple[str, Any]]:
    """Return the statements that read a page, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if "hero" in statement:
            found.append((statement, parameters))

    event.listen(database.reader.sync_engine, "before_cursor_execute", note)
    async with database.read() as session:
        await plain_page(session, asked(database, HeroQuery, **given), select(Hero))
    event.remove(database.reader.sync_engine, "before_cursor_execute", note)
    return found


def nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def check(database: Database, given: dict[str, Any]) -> None:
    """Assert that no statement of a page reads a large part of the table."""
    statements = await statements_of(database, **given)
    async with database.connect() as connection:
        for sql, parameters in statements:
            if database.is_sqlite:
                rows = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)).all()
                assert not [row[-1] for row in rows if row[-1] == "SCAN hero" and given["sort"] != "id"], (given, sql)
                continue
            ((found,),) = (await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)).all()
            (root,) = json.loads(found) if isinstance(found, str) else found
            for node in nodes(root["Plan"]):
                removed = node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
                assert removed <= MOST_REMOVED, (given, sql, node)
                is_scan = node["Node Type"].endswith("Seq Scan") and node.get("Relation Name") == "hero"
                assert not is_scan or removed + node["Actual Rows"] <= 2 * MOST_REMOVED, (given, sql, node)


@pytest.mark.untraced
@pytest.mark.parametrize("sort", SORTS)
async def test_no_filter_reads_a_large_part_of_the_table(
    database: Database, sort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_plans, "_known", {})
    async with database.connect() as connection:
        has_index = "ix_hero_search" in await connection.run_sync(names_of_parts) or database.is_sqlite
    chosen = [*FILTERS, *(SEARCHES if has_index else []), *(SHORT_SEARCHES if database.is_sqlite else [])]
    for given in chosen:
        await check(database, given | {"sort": sort})
        await check(database, given | {"sort": sort, "offset": 10, "limit": 5})
