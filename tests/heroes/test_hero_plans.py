"""The plans of lists of heroes: no combination of a filter and a sort reads a large part of a large table."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from heroes.hero import HeroQuery
from kit.database.databases import Database
from kit.database.migrations import upgrade
from kit.database.search_indexes import names_of_parts
from kit.query import known_plans
from tests.engines import url_for
from tests.explained import check_list

ROWS, PART, MOST_REMOVED = 60_000, 5000, 10_000
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
FROM {numbers} WHERE i > {start} AND i <= {start} + {part}"""
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
"""Searches for which only SQLite uses an index."""
SORTS = ["id", "-name", "secret_name", "-age", "age", "power", "-team_id", "created_at"]


@pytest.fixture(scope="session")
async def filled_url(engine: str, new_database: Any) -> str:
    url = str(await new_database())
    await upgrade(url_for(url))
    database = Database(url_for(url))
    words = {"time": TIMES[engine].replace(":", "\\:"), "numbers": NUMBERS[engine], "part": PART}
    for start in range(0, ROWS, PART):  # each within the statement timeout, on a busy machine too
        async with database.writer.begin() as connection:
            await connection.execute(text(FILL.format(**words, start=start)))
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
        await check_list(database, HeroQuery, given | {"sort": sort}, MOST_REMOVED)
        await check_list(database, HeroQuery, given | {"sort": sort, "offset": 10, "limit": 5}, MOST_REMOVED)
