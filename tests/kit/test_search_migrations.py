"""Search indexes stay correct when migrations alter their tables, and autogenerate leaves them alone."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import comparison, search_indexes
from kit.database.migrating import engine_for
from kit.database.search_indexes import SearchTables, ensure_search, names_of_parts
from kit.database.search_sql import SEARCHED, SearchIndex, want_search, wanted_of
from tests.kit.tales import TABLES, Song, Tale

pytestmark = pytest.mark.no_fast_path

INSERT = """INSERT INTO kit_song (id, version, created_at, updated_at, title)
VALUES (printf('%032d', {0}), 1, '2026-01-01', '2026-01-01', '{1}')"""


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[AsyncConnection]:
    """Provide a SQLite database with two songs, of which the first was deleted, so that row ids have a gap."""
    engine = engine_for(sa.make_url(f"sqlite+aiosqlite:///{tmp_path}/a.db"))
    async with engine.connect() as connection:
        await connection.run_sync(lambda sync: Tale.metadata.create_all(sync, tables=TABLES))
        await connection.run_sync(ensure_search)
        for number, title in enumerate(["Hymn", "Psalm", "Chorale"]):
            await connection.exec_driver_sql(INSERT.format(number, title))
        await connection.exec_driver_sql("DELETE FROM kit_song WHERE title = 'Hymn'")
        yield connection
    await engine.dispose()


async def migrate(connection: AsyncConnection, change: Callable[[Operations], Any]) -> None:
    def run(sync: sa.Connection) -> None:
        change(Operations(MigrationContext.configure(sync)))
        ensure_search(sync)

    await connection.run_sync(run)


FOUND = """SELECT title FROM kit_song WHERE rowid IN (
    SELECT rowid FROM kit_song_search WHERE kit_song_search MATCH ?1 UNION SELECT changed FROM kit_song_search_changes
) AND lower(title) LIKE '%' || ?1 || '%'"""


async def found(connection: AsyncConnection, word: str) -> list[Any]:
    """Return the songs that the index finds."""
    return list((await connection.exec_driver_sql(FOUND, (word,))).scalars())


async def parts(connection: AsyncConnection, table: str = "song") -> set[str]:
    return {name for name in await connection.run_sync(names_of_parts) if table in name}


def rebuild(op: Operations) -> None:
    with op.batch_alter_table("kit_song", recreate="always"):
        pass


async def test_a_rebuilt_table_has_its_index(connection: AsyncConnection) -> None:
    await migrate(connection, rebuild)
    assert await found(connection, "psalm") == ["Psalm"]
    await connection.exec_driver_sql(INSERT.format(7, "Canon"))
    assert await found(connection, "canon") == ["Canon"]


async def test_an_index_goes_with_its_column_and_comes_back_with_it(connection: AsyncConnection) -> None:
    await migrate(connection, lambda op: op.drop_index("ix_kit_song_title", "kit_song"))
    await connection.exec_driver_sql("ALTER TABLE kit_song RENAME COLUMN title TO name")
    await connection.exec_driver_sql(INSERT.replace("title)", "name)").format(7, "Canon"))
    await migrate(connection, lambda op: None)
    assert await parts(connection) == set()
    await migrate(connection, lambda op: op.alter_column("kit_song", "name", new_column_name="title"))
    assert await found(connection, "canon") == ["Canon"]


async def test_columns_can_be_dropped(connection: AsyncConnection) -> None:
    await migrate(connection, lambda op: op.drop_column("kit_song", "version"))
    assert await found(connection, "psalm") == ["Psalm"]


async def test_a_searched_column_can_be_dropped(connection: AsyncConnection) -> None:
    def drop(op: Operations) -> None:
        with op.batch_alter_table("kit_tale") as batch:
            batch.drop_constraint("ck_kit_tale_moral", type_="check")
            batch.drop_column("moral")

    assert await parts(connection, "tale")
    await migrate(connection, drop)
    assert await parts(connection, "tale") == set()


async def test_an_index_goes_with_its_table(connection: AsyncConnection) -> None:
    await migrate(connection, lambda op: op.drop_table("kit_song"))
    assert await parts(connection) == set()


async def test_the_index_of_a_dropped_table_is_dropped(connection: AsyncConnection) -> None:
    await migrate(connection, lambda op: op.execute("DROP TABLE kit_song"))
    assert await parts(connection) == set()


async def test_the_index_of_a_renamed_table_is_dropped(connection: AsyncConnection) -> None:
    await migrate(connection, lambda op: op.rename_table("kit_song", "hymn"))
    assert await parts(connection) == set()
    await connection.exec_driver_sql(INSERT.replace("kit_song", "hymn").format(7, "Canon"))


async def test_autogenerate_leaves_search_indexes_alone(connection: AsyncConnection) -> None:
    def differences(sync: sa.Connection) -> list[Any]:
        options = {"target_metadata": Tale.metadata, "autogenerate_plugins": comparison.PLUGINS}
        return list(compare_metadata(MigrationContext.configure(sync, opts=options), Tale.metadata))

    assert await connection.run_sync(differences) == []


async def test_without_fts5_a_warning_says_so(
    connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = wanted_of(Song.__table__)  # type: ignore[attr-defined]
    assert index is not None
    await connection.run_sync(search_indexes.drop_fts5, "kit_song")
    statements = {name: sql.replace("trigram", "nothing") for name, sql in index.fts5().items()}
    monkeypatch.setattr(SearchIndex, "fts5", lambda self: statements)
    await connection.run_sync(search_indexes.create_fts5, index)
    assert "this SQLite has no FTS5 with trigrams" in caplog.text
    monkeypatch.setattr(SearchIndex, "fts5", lambda self: {"a": "CREATE nonsense"})
    with pytest.raises(sa.exc.OperationalError):
        await connection.run_sync(search_indexes.create_fts5, index)


async def test_a_file_is_read_again_after_a_second(connection: AsyncConnection, tmp_path: Path) -> None:
    index = wanted_of(Song.__table__)  # type: ignore[attr-defined]
    assert index is not None
    tables = SearchTables(str(tmp_path / "a.db"))
    assert not tables.has(index)  # the transaction of the fixture is open
    await connection.commit()
    assert not tables.has(index)
    tables.due = 0
    assert tables.has(index)
    assert not SearchTables(None).has(index)
    assert not SearchTables(str(tmp_path / "none.db")).has(index)


def test_a_table_without_searched_columns_has_no_index() -> None:
    table = sa.Table("nothing", sa.MetaData(), sa.Column("id", sa.Integer))
    want_search(table, ["name"])
    assert table.info[SEARCHED] == ()
    assert wanted_of(table) is None
