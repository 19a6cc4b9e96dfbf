"""The plans of lists of any resource: no combination of one filter and one sort reads a large part of a table.

The tables have 12,000 rows, and 1,000 are many: the plans are the same as with ten times as many of both.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from kit.database.databases import Database
from kit.database.search_indexes import ensure_search, names_of_parts
from kit.http.principals import Principal
from kit.query import known_plans, plans, totals
from tests.engines import url_for
from tests.explained import check_list
from tests.kit.bookshop import NoteQuery
from tests.kit.probes import acting_as
from tests.kit.service import create_tables
from tests.kit.tales import TABLES, SongQuery, Tale, TaleQuery

ROWS, MOST, FEW = 12_000, 1000, 30
"""The number of rows, the value of `MOST` in the kit for these tests, and the number of notes of the first member."""
NUMBERS = {
    "sqlite": f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) SELECT i FROM n)",  # noqa: S608
    "postgresql": f"generate_series(1, {ROWS}) AS n(i)",
}
TIMES = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', 1735689600 + i * 7919 % 12007 * 60, 'unixepoch')",
    "postgresql": "timestamptz '2025-01-01 00:00+00' + i * 7919 % 12007 * interval '1 minute'",
}
IDS = {"sqlite": "printf('%032x', i)", "postgresql": "CAST(lpad(to_hex(i), 32, '0') AS uuid)"}
FILLS = [
    """INSERT INTO kit_tale (version, created_at, updated_at, title, pages, stars)
       SELECT 1, {time}, {time}, 'Tale ' || (i * 7919 % 12007), i * 31 % 10000, CASE WHEN i % 3 = 0 THEN i % 10 END
       FROM {numbers}""",
    """INSERT INTO kit_song (id, version, created_at, updated_at, title)
       SELECT {id}, 1, {time}, {time}, 'Song ' || (i * 7919 % 12007) FROM {numbers}""",
    """INSERT INTO kit_member (id, version, created_at, updated_at, username, email, is_superuser)
       SELECT i, 1, {time}, {time}, 'member-' || i, 'm' || i || '@example.com', false FROM {numbers} WHERE i < 3""",
    """INSERT INTO kit_note (version, created_at, updated_at, text, fine, owner_id)
       SELECT 1, {time}, {time}, 'Note ' || (i * 7919 % 12007), i * 31 % 10000,
       CASE WHEN i % {part} = 0 THEN 1 ELSE 2 END
       FROM {numbers}""",
]
VALUES: dict[Any, dict[str, list[Any]]] = {
    TaleQuery: {
        "id": [1, 6000, ROWS, ROWS + 1],
        "title": ["Tale 7", "Tale 5", "Nothing", "Tale"],
        "pages": [0, 17, 5000, 9999],
        "stars": [0, 3, 9, 10],
    },
    SongQuery: {"title": ["Song 7", "Song 5", "Nothing", "Song"]},
    NoteQuery: {
        "id": [1, 6000, ROWS, ROWS + 1],
        "text": ["Note 7", "Note 5", "Nothing", "Note"],
        "fine": ["0.10", "50.00", "99.99", "100.00"],
        "owner_id": [1, 2, 3],
        "created_at": ["2024-01-01", "2025-01-05", "2030-01-01"],
    },
}
"""Values of each field for filters: of few, of many and of no rows."""

LIMITS = [("owner_id__ne", 2)]
"""`ne` that leaves hardly any rows reads all of them: docs/speed.md."""


@pytest.fixture(scope="session")
async def filled_url(engine: str, new_database: Any) -> str:
    url = str(await new_database())
    database = Database(url_for(url))
    await create_tables(database)
    async with database.writer.begin() as connection:
        await connection.run_sync(lambda sync: Tale.metadata.create_all(sync, tables=TABLES))
        await connection.run_sync(ensure_search)
    words = {"time": TIMES[engine].replace(":", "\\:"), "numbers": NUMBERS[engine], "id": IDS[engine]}
    for fill in FILLS:
        async with database.writer.begin() as connection:
            await connection.execute(text(fill.format(**words, part=ROWS // FEW)))
    if engine == "postgresql":
        async with database.reader.connect() as connection:
            await connection.execute(text("VACUUM ANALYZE"))
    await database.dispose()
    return url


@pytest.fixture
async def database(filled_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    for module in (plans, totals):
        monkeypatch.setattr(module, "MOST", MOST)
    for name in ("_known", "_scanned"):
        monkeypatch.setattr(known_plans, name, {})
    database = Database(url_for(filled_url))
    yield database
    await database.dispose()


def filters_of(kind: Any) -> Iterator[dict[str, Any]]:
    """Yield each filter that a resource documents, with each of the values."""
    for name, (field, operator) in kind.conditions.items():
        if operator == "isnull":
            yield from ({name: "true"}, {name: "false"})
        elif operator == "in" and field in VALUES[kind]:
            yield {name: ",".join(map(str, VALUES[kind][field][:2]))}
        else:
            yield from ({name: value} for value in VALUES[kind].get(field, ()) if (name, value) not in LIMITS)


def sorts_of(kind: Any) -> list[str]:
    return [sign + name for name in dict.fromkeys(["id", *kind.sorts]) for sign in ("", "-")]


@pytest.mark.untraced
@pytest.mark.parametrize("kind", VALUES)
async def test_no_filter_of_a_resource_reads_a_large_part_of_its_table(database: Database, kind: Any) -> None:
    async with database.connect() as connection:
        parts = await connection.run_sync(names_of_parts)
    has_index = database.is_sqlite or f"ix_{kind.model.__tablename__}_search" in parts
    for given in filters_of(kind):
        if has_index or not any(name.endswith("contains") for name in given):
            for sort in sorts_of(kind):
                await check_list(database, kind, given | {"sort": sort, "limit": 10}, MOST)


@pytest.mark.untraced
@pytest.mark.parametrize("member", [1, 2, 3])
async def test_a_list_of_own_rows_reads_few_rows_of_others(database: Database, member: int) -> None:
    with acting_as(Principal(member)):
        for given in ({}, {"fine__gte": "50.00"}, {"text": "Note 7"}, {"created_at__gte": "2025-01-05"}):
            for sort in sorts_of(NoteQuery):
                await check_list(database, NoteQuery, given | {"sort": sort, "limit": 10}, MOST, restricted=True)
