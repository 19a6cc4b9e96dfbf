"""Update handlers: a request that changes one row stores it without the ORM, exactly as the ORM does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import event, inspect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_object_session
from sqlalchemy.orm import object_session
from sqlalchemy.orm.exc import StaleDataError
from sqlmodel import col, select

from kit.database.databases import Database
from kit.database.errors import RolledBack
from kit.fast import driver
from kit.fast.update_handlers import UpdateHandler, awaits_only_get
from kit.fast.write_sessions import FastWriteSession
from kit.http.principals import Principal
from tests.kit.fast.notes import Colour, FastLabel, FastNote, FastReply, note, store
from tests.kit.probes import acting_as


async def patch(note_id: int, session: Any) -> None:
    row = await session.get(FastNote, note_id)
    row.stars = 1


async def patch_twice(note_id: int, session: Any) -> None:
    (await session.get(FastNote, note_id)).stars = 1
    await session.flush()


async def patch_by_another(note_id: int, session: Any, other: Any) -> None:
    await other.load(FastNote, note_id)


async def patch_of_a_global(note_id: int) -> None:
    await GLOBAL.get(FastNote, note_id)


async def patch_in_a_stream(session: Any) -> Any:
    yield await session.get(FastNote, 1)


def made_without_source() -> Callable[..., Any]:
    names: dict[str, Any] = {}
    exec("async def handler(session):\n    return await session.get(1)", names)  # noqa: S102  such a handler
    handler: Callable[..., Any] = names["handler"]
    return handler


GLOBAL: Any = None
CHANGING = {"PATCH"}


@asynccontextmanager
async def changing(database: Database, change: UpdateHandler | None = None) -> AsyncIterator[Any]:
    """Provide a session as a handler like `patch` gets it."""
    async with database.write() as session:
        assert isinstance(session, FastWriteSession)
        session.update_handler = change or UpdateHandler(CHANGING, patch)
        yield session


async def change(database: Database, ident: Any = 1, **values: Any) -> FastNote:
    """Change a note as a request does."""
    async with changing(database) as session:
        row: FastNote = await session.get(FastNote, ident)
        for name, value in values.items():
            setattr(row, name, value)
        await session.prepare_commit()
        await session.commit()
        return row


async def stored(database: Database) -> FastNote:
    async with database.read() as session:
        return (await session.exec(select(FastNote))).one()


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (patch, True),
        (patch_twice, False),
        (patch_by_another, False),
        (patch_of_a_global, False),
        (patch_in_a_stream, False),
        (made_without_source(), False),
        (UpdateHandler, False),
    ],
)
def test_a_handler_that_awaits_only_a_get_is_an_update_handler(handler: Any, expected: bool) -> None:
    assert awaits_only_get(handler) is expected


def test_a_read_is_no_update_handler() -> None:
    assert not UpdateHandler({"GET"}, patch).is_possible


async def test_a_change_is_stored_as_the_orm_stores_it(
    database: Database, plain: Database, direct_sql: list[str]
) -> None:
    await store(plain, note("a", id=1, owner_id=3))
    before = await stored(plain)
    row = await change(database, stars=5, colour=Colour.BLUE)
    after = await stored(plain)
    assert direct_sql == []
    assert {**vars(row), "_sa_instance_state": None} == {**vars(after), "_sa_instance_state": None}
    assert (after.version, after.stars, after.colour, after.owner_id) == (2, 5, Colour.BLUE, 3)
    assert after.updated_at > before.updated_at


async def test_a_change_needs_four_commands(database: Database, plain: Database, commands: list[str]) -> None:
    await store(plain, note("a", id=1))
    await change(database, stars=5)
    assert [command.split()[0] for command in commands] == ["BEGIN", "SELECT", "UPDATE", commands[-1].split()[0]]
    assert commands[-1].endswith("COMMIT")


async def test_a_row_that_is_set_to_its_own_values_keeps_its_version(
    database: Database, plain: Database, commands: list[str]
) -> None:
    await store(plain, note("a", id=1))
    row = await change(database, text="a", stars=None)
    assert row.version == (await stored(plain)).version == 1
    assert not any(command.startswith("UPDATE") for command in commands)


async def test_a_time_that_is_set_is_kept(database: Database, plain: Database) -> None:
    await store(plain, note("a", id=1))
    moment = (await stored(plain)).created_at.replace(year=2030)
    await change(database, updated_at=moment)
    assert (await stored(plain)).updated_at == moment


async def test_a_row_that_does_not_exist_is_none(database: Database) -> None:
    async with changing(database) as session:
        assert await session.get(FastNote, 1) is None
        await session.prepare_commit()
        await session.commit()
        assert session.update is None


async def test_two_changes_of_a_row_wait_for_each_other(database: Database, plain: Database) -> None:
    await store(plain, note("a", id=1, stars=0))

    async def increase() -> None:
        async with changing(database) as session:
            row = await session.get(FastNote, 1)
            row.stars += 1
            await session.prepare_commit()
            await session.commit()

    await asyncio.gather(*(increase() for _ in range(5)))
    after = await stored(plain)
    assert (after.stars, after.version) == (5, 6)


async def test_a_change_that_is_not_committed_is_rolled_back(database: Database, plain: Database) -> None:
    await store(plain, note("a", id=1))
    async with changing(database) as session:
        (await session.get(FastNote, 1)).stars = 5
        await session.prepare_commit()
    assert (await stored(plain)).stars is None


async def test_a_refused_change_raises_the_exception_of_sqlalchemy(database: Database, plain: Database) -> None:
    await store(plain, note("a", id=1), note("b", id=2))
    async with changing(database) as session:
        (await session.get(FastNote, 1)).text = "b"
        with pytest.raises(IntegrityError, match="UPDATE fast_note"):
            await session.prepare_commit()
        assert session.update is None
        assert not session.info.get("has_committed")
    await change(database, text="c")


async def test_a_change_that_the_database_leaves_out_is_stale(
    database: Database, plain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(plain, note("a", id=1))

    async def nothing(*_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(driver, "write", nothing)
    with pytest.raises(StaleDataError):
        await change(database, stars=5)


async def test_a_cancelled_wait_for_a_lock_releases_its_connection(database: Database, plain: Database) -> None:
    await store(plain, note("a", id=1))
    async with changing(database) as session:
        await session.get(FastNote, 1)
        waiting = asyncio.create_task(change(database, stars=5))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await change(database, stars=6)


USES: dict[str, Callable[[Any, Any], Any]] = {
    "a statement": lambda session, _: session.exec(select(FastNote)),
    "a second get": lambda session, _: session.get(FastNote, 2),
    "a rollback": lambda session, _: session.rollback(),
    "a flush": lambda session, _: session.flush(),
}


@pytest.mark.parametrize("use", USES)
async def test_another_use_of_the_session_runs_the_request_again(database: Database, plain: Database, use: str) -> None:
    await store(plain, note("a", id=1))
    handler = UpdateHandler(CHANGING, patch)
    async with changing(database, handler) as session:
        row = await session.get(FastNote, 1)
        with pytest.raises(RolledBack):
            await USES[use](session, row)
        with pytest.raises(RolledBack):
            await session.commit()
    assert not handler.is_possible
    async with changing(database, handler) as session:
        row = await session.get(FastNote, 1)
        assert row in session


CHANGES: dict[str, Callable[[Any], Any]] = {
    "its version": lambda row: setattr(row, "version", 7),
    "its id": lambda row: setattr(row, "id", 7),
    "an expression": lambda row: setattr(row, "stars", col(FastNote.version) + 1),
    "a deleted value": lambda row: delattr(row, "stars"),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_that_needs_the_orm_runs_again(database: Database, plain: Database, name: str) -> None:
    await store(plain, note("a", id=1))
    handler = UpdateHandler(CHANGING, patch)
    async with changing(database, handler) as session:
        CHANGES[name](await session.get(FastNote, 1))
        with pytest.raises(RolledBack):
            await session.prepare_commit()
    assert not handler.is_possible
    assert (await stored(plain)).version == 1


async def test_a_change_of_a_relationship_runs_again(database: Database, plain: Database) -> None:
    await store(plain, FastReply(text="b", id=1))
    async with changing(database) as session:
        reply = await session.get(FastReply, 1)
        with pytest.raises(RolledBack):
            reply.note = note("a")


async def test_a_row_that_is_added_again_is_stored_once(database: Database, plain: Database) -> None:
    await store(plain, note("a", id=1))
    async with changing(database) as session:
        row = await session.get(FastNote, 1)
        row.stars = 5
        session.add(row)
        await session.prepare_commit()
        await session.commit()
        assert row in session
    assert (await stored(plain)).stars == 5


async def test_another_new_row_runs_the_request_again(database: Database, plain: Database) -> None:
    await store(plain, note("a", id=1))
    async with changing(database) as session:
        await session.get(FastNote, 1)
        session.add(note("b"))
        with pytest.raises(RolledBack):
            await session.prepare_commit()


LOOKS: dict[str, Callable[[Any], Any]] = {
    "its state": lambda row: inspect(row).persistent,
    "its session": object_session,
    "its asynchronous session": async_object_session,
}


@pytest.mark.parametrize("name", LOOKS)
async def test_a_look_at_the_session_of_a_row_runs_the_request_again(
    database: Database, plain: Database, name: str
) -> None:
    await store(plain, note("a", id=1))
    handler = UpdateHandler(CHANGING, patch)
    async with changing(database, handler) as session:
        row = await session.get(FastNote, 1)
        row.stars = 5
        with pytest.raises(RolledBack):
            LOOKS[name](row)
    assert not handler.is_possible


async def test_a_row_is_persistent_after_the_commit_and_detached_after_the_session(
    database: Database, plain: Database, commands: list[str]
) -> None:
    await store(plain, note("a", id=1))
    async with changing(database) as session:
        row = await session.get(FastNote, 1)
        row.stars = 5
        await session.prepare_commit()
        await session.commit()
        assert inspect(row).persistent
        assert object_session(row) is session.sync_session
    assert inspect(row).detached
    assert len(commands) == 4


async def test_a_row_of_a_failed_handler_is_detached(database: Database, plain: Database) -> None:
    await store(plain, note("a", id=1))
    async with changing(database) as session:
        row = await session.get(FastNote, 1)
        row.stars = 5
    assert inspect(row).detached
    row.stars = 6


async def test_a_session_that_is_used_before_changes_rows_by_the_orm(database: Database, plain: Database) -> None:
    await store(plain, note("a", id=1))
    async with changing(database) as session:
        await session.exec(select(FastNote))
        assert await session.get(FastNote, 1) in session


async def test_a_listener_to_updates_is_called(database: Database, plain: Database) -> None:
    await store(plain, note("a", id=1))
    seen: list[Any] = []

    def listen(_: Any, __: Any, row: Any) -> None:
        seen.append(row)

    event.listen(FastNote, "after_update", listen)
    try:
        await change(database, stars=5)
    finally:
        event.remove(FastNote, "after_update", listen)
    assert len(seen) == 1


async def test_a_restricted_member_changes_rows_by_the_orm(database: Database, plain: Database) -> None:
    await store(plain, note("a", id=1, owner_id=3))
    with acting_as(Principal(3)):
        async with database.write(restricted=True) as session:
            session.update_handler = UpdateHandler(CHANGING, patch)  # type: ignore[attr-defined]
            assert await session.get(FastNote, 1) in session


async def test_a_uuid_names_a_row_to_change(database: Database, plain: Database) -> None:
    await store(plain, label := FastLabel(text="a"))
    async with changing(database) as session:
        row = await session.get(FastLabel, label.id)
        row.text = "b"
        await session.prepare_commit()
        await session.commit()
    async with plain.read() as session:
        assert (await session.exec(select(FastLabel.text))).one() == "b"
