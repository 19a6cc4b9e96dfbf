"""The plans of lists: which statement reads the rows of a search, and what an offset passes over."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlmodel import select

from kit.database import search_sql
from kit.database.databases import Database
from kit.database.search_indexes import ensure_search
from kit.query import known_plans, offsets, plans, totals
from kit.query.pages import plain_page
from tests.engines import url_for
from tests.kit.tales import PAGES, TABLES, Tale, TaleQuery, asked, use_fast_sessions

ROWS = 40


@pytest.fixture
async def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """Provide a database of SQLite with tales, of which more than 8 are many."""
    for module in (plans, totals):
        monkeypatch.setattr(module, "MOST", 8)
    for module, name in ((known_plans, "_known"), (known_plans, "_scanned"), (offsets, "_lengths")):
        monkeypatch.setattr(module, name, {})
    monkeypatch.setattr(search_sql, "MOST_CHANGES", 1)  # FTS5 has all rows
    database = Database(url_for(f"sqlite:///{tmp_path}/tales.db"))
    async with database.writer.begin() as connection:
        await connection.run_sync(lambda sync: Tale.metadata.create_all(sync, tables=TABLES))
        await connection.run_sync(ensure_search)
    async with database.write() as session, session.begin():
        session.add_all(Tale(id=n, title=f"Tale {n:02}", pages=n % 20, stars=n % 4 or None) for n in range(1, ROWS + 1))
    use_fast_sessions(database)
    yield database
    await database.dispose()


@pytest.fixture(params=PAGES)
def page_of(request: pytest.FixtureRequest) -> Any:
    return PAGES[request.param]


async def read(database: Database, page_of: Any, **given: Any) -> Any:
    async with database.read() as session:
        return await page_of(session, asked(database, TaleQuery, **given), select(Tale))


def ids(page: Any) -> list[int]:
    return [row.id for row in page.rows]


async def test_a_short_text_is_found_at_the_end_of_a_text_too(database: Database, page_of: Any) -> None:
    assert ids(await read(database, page_of, q="39")) == [39]
    assert ids(await read(database, page_of, q="9", sort="-id")) == [39, 29, 19, 9]
    assert ids(await read(database, page_of, q="zq")) == []


async def test_the_mark_of_the_end_of_texts_is_in_no_text(database: Database, page_of: Any) -> None:
    for text in ("\x01", "9\x01", "39\x01\x01", "\U0010ffff", "a\ufffe"):
        assert ids(await read(database, page_of, q=text)) == []


@pytest.mark.parametrize("q", ["tale", "ta"])
async def test_a_search_that_finds_much_is_counted_and_combined_with_filters(
    database: Database, page_of: Any, q: str
) -> None:
    page = await read(database, page_of, q=q, count="true", limit=3)
    assert (page.total, len(page.rows)) == (ROWS, 3)
    page = await read(database, page_of, q=q, pages=7, count="true", sort="-id")
    assert (page.total, ids(page)) == (2, [27, 7])
    page = await read(database, page_of, q=q, pages__gte=5, count="true", sort="-id", limit=2)
    assert (page.total, ids(page)) == (ROWS * 3 // 4, [39, 38])
    page = await read(database, page_of, q=q, count="estimated", limit=2)
    assert page.estimate == ROWS


async def test_a_search_and_a_part_of_a_field_are_combined(database: Database, page_of: Any) -> None:
    page = await read(database, page_of, q="tale", title__contains="39", count="true")
    assert (page.total, ids(page)) == (1, [39])


async def test_the_search_index_is_not_read_whole(database: Database) -> None:
    statements: list[str] = []
    event.listen(database.reader.sync_engine, "before_cursor_execute", lambda *values: statements.append(values[2]))
    await read(database, plain_page, q="tale", sort="-pages", limit=2)
    assert any("MATCH" in one and "LIMIT" in one for one in statements)
    assert not any("MATCH" in one for one in statements if one is not statements[0])


@pytest.mark.parametrize("sort", ["stars", "-stars"])
async def test_an_offset_beyond_the_rows_with_a_key_is_found_by_their_number(
    database: Database, page_of: Any, sort: str
) -> None:
    whole = ids(await read(database, page_of, sort=sort))
    for offset in (*range(28, 36), 29, 100):
        assert ids(await read(database, page_of, sort=sort, offset=offset, limit=4)) == whole[offset : offset + 4]


async def test_numbers_of_rows_are_forgotten_when_there_are_many(
    database: Database, page_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (known_plans, offsets):
        monkeypatch.setattr(module, "MAX_KEPT", 1)
    for offset in (30, 31):
        await read(database, page_of, sort="stars", offset=offset)
        await read(database, page_of, sort="-stars", offset=offset)
        await read(database, page_of, sort="-id", pages__gte=offset % 2)
        await read(database, page_of, sort="-id", pages__lt=offset)
    assert (len(offsets._lengths), len(known_plans._known), len(known_plans._scanned)) == (1, 1, 1)


def read_statements(database: Database) -> list[str]:
    """Return a list to which each statement of a read is added."""
    statements: list[str] = []
    event.listen(database.reader.sync_engine, "before_cursor_execute", lambda *values: statements.append(values[2]))
    return statements


async def test_what_was_chosen_for_other_values_is_tried_first(database: Database) -> None:
    statements = read_statements(database)
    for pages in (1, 2):
        assert len((await read(database, plain_page, pages__gte=pages, sort="-id", limit=2)).rows) == 2
    assert ["first_rows" in one for one in statements] == [False, True, False, True, False]
    assert ids(await read(database, plain_page, pages__gte=19, sort="-id", limit=3)) == [39, 19]
    assert ["first_rows" in one for one in statements[5:]] == [True, False, False]


async def test_one_request_chooses_again_while_others_use_the_old_plan(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await read(database, plain_page, pages=3, sort="-id")
    ((key, (method, _)),) = known_plans._known.items()
    known_plans._known[key] = method, 0.0
    query = asked(database, TaleQuery, pages=3, sort="-id")
    database_id = id(database.reader.sync_engine)
    assert known_plans.known_method(query, database_id) is None
    assert known_plans.known_method(query, database_id) == method


async def test_a_sort_whose_first_rows_are_many_is_late(database: Database) -> None:
    page = await read(database, plain_page, pages__gte=0, sort="stars", limit=40)
    assert len(page.rows) == ROWS
