"""SQLite's file: a change of it is noticed before a COMMIT, and before some reads."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from kit import Database
from kit.database import sqlite_file
from kit.database.errors import FAILURES, code_of
from kit.models.entities import Entity
from tests.engines import url_for
from tests.kit.bookshop import REGISTRY, Shelf


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture(params=[True, False], ids=["fast", "plain"])
async def on_file(request: pytest.FixtureRequest, file: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Provide a database in a file of its own, whose reads are always checked."""
    monkeypatch.setattr(sqlite_file, "READS_UNCHECKED_SECONDS", -1)
    database = Database(url_for(f"sqlite:///{file}"))
    if request.param:
        fast = pytest.importorskip("kit.fast.databases")
        fast.use_fast_sessions(database, coalesce=False, group=True, without=frozenset())
    async with database.writer.begin() as connection:
        await connection.run_sync(REGISTRY.metadata.create_all)
    return database


async def store(database: Database, name: str) -> None:
    async with database.write() as session:
        session.add(Shelf(name=name, room="B"))
        await session.prepare_commit()
        await session.commit()


async def read(database: Database, ident: int) -> Entity | None:
    async with database.read() as session:
        return await session.get(Shelf, ident)


async def failure_of(database: Database, *, is_read: bool = False) -> str:
    with pytest.raises(FAILURES) as raised:
        await (read(database, 1) if is_read else store(database, "lost"))
    return code_of(raised.value)


def move(file: Path, target: Path) -> None:
    file.rename(target)


async def test_a_moved_file_is_not_created_again_and_is_used_when_it_is_back(on_file: Database, file: Path) -> None:
    await store(on_file, "A")
    move(file, moved := file.with_suffix(".moved"))
    assert [await failure_of(on_file, is_read=is_read) for is_read in (False, True, False)] == ["SQLITE_CANTOPEN"] * 3
    assert not file.exists()  # noqa: ASYNC240  fast
    move(moved, file)
    await store(on_file, "B")
    assert await read(on_file, 1)
    assert await read(on_file, 2)
    await on_file.dispose()


async def test_a_read_notices_it_too(on_file: Database, file: Path) -> None:
    await store(on_file, "A")
    assert await read(on_file, 1)
    move(file, file.with_suffix(".moved"))
    assert await failure_of(on_file, is_read=True) == "SQLITE_CANTOPEN"
    await on_file.dispose()


async def test_the_file_is_opened_again_when_the_last_connection_to_the_former_one_is_closed(
    on_file: Database, file: Path
) -> None:
    await store(on_file, "A")
    async with on_file.reader.connect() as reader:
        await reader.execute(text("SELECT 1"))
        move(file, moved := file.with_suffix(".moved"))
        assert await failure_of(on_file) == "SQLITE_CANTOPEN"
        move(moved, file)
        Path(f"{file}-wal").unlink()  # noqa: ASYNC240  fast
        with pytest.raises(OperationalError, match="the former one is still open"):
            await store(on_file, "B")
    await store(on_file, "C")
    await on_file.dispose()


async def test_a_copy_in_place_of_the_file_is_noticed(on_file: Database, file: Path) -> None:
    await store(on_file, "A")
    copy = file.with_suffix(".copy")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    move(copy, file)
    assert await failure_of(on_file) == "SQLITE_CANTOPEN"
    await store(on_file, "B")
    assert await read(on_file, 2)
    await on_file.dispose()


async def test_a_folder_that_does_not_exist_is_an_error_of_the_database(tmp_path: Path) -> None:
    database = Database(url_for(f"sqlite:///{tmp_path}/nowhere/a.db"))
    with pytest.raises(OperationalError, match="unable to open database file"):
        await store(database, "A")
