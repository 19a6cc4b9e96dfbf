"""Group commit: rows that arrive together share a transaction, without effect on the result of any request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import PoolProxiedConnection
from sqlmodel import col, select

from kit.auth.checked_sessions import NotStored
from kit.database.databases import Database
from kit.database.errors import RolledBack
from kit.fast import batches, driver, group_commit, single_insert
from kit.models.entities import Entity
from tests.kit.fast.held_batches import HeldBatches, checked_out, repeated
from tests.kit.fast.notes import FastLabel, FastNote, FastReply, note
from tests.kit.probes import at_commit, execute
from tests.waiting import TIMEOUT_SECONDS, until

pytestmark = pytest.mark.each_engine

LONG = TIMEOUT_SECONDS
"""The timeout of waiting tests, in seconds."""
on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")
Make = Callable[[], Entity]
Step = Callable[[Any], Awaitable[Any]]


async def post(database: Database, make: Make, before_commit: Step | None = None) -> Entity:
    """Store a row as a request does."""

    async def attempt() -> Entity:
        async with database.write() as session:
            session.add(row := make())
            await session.prepare_commit()
            if before_commit:
                await before_commit(row)
            await session.commit()
            return row

    return await repeated(attempt)


class HeldInserts(HeldBatches):
    """Holds the first INSERT until `opened` is set, so that later ones form a batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
        super().__init__(monkeypatch, database)
        self.sizes: list[int] = []
        """The number of rows of each transaction."""
        self.lock_timeouts: list[float | None] = []
        self.insert = driver.insert
        monkeypatch.setattr(driver, "insert", self.store)

    async def store(self, connection: PoolProxiedConnection, sql: str, rows: Sequence[Any], *timeouts: Any) -> Any:
        self.sizes.append(len(rows))
        self.lock_timeouts += timeouts[:1]
        await self.opened.wait()
        if len(rows) > 1 and self.failures:
            raise self.failures.pop()
        return await self.insert(connection, sql, rows, *timeouts)

    async def enter(self, *makes: Make, before_commit: Step | None = None) -> list[asyncio.Task[Entity]]:
        """Start these requests. The first one inserts; the others wait for it."""
        return await self.started([post(self.database, make, before_commit) for make in makes])


@pytest.fixture
def inserts(monkeypatch: pytest.MonkeyPatch, database: Database) -> HeldInserts:
    return HeldInserts(monkeypatch, database)


def notes(*texts: str) -> list[Make]:
    return [lambda text=text: note(text) for text in texts]  # type: ignore[misc]


def replies(*note_ids: int | None) -> list[Make]:
    return [lambda n=n, ident=ident: FastReply(text=f"{n}", note_id=ident) for n, ident in enumerate(note_ids)]  # type: ignore[misc]


async def stored(database: Database, entity: Any = FastNote) -> list[str]:
    async with database.write() as session:
        return sorted((await session.exec(select(entity.text))).all())


async def test_rows_that_arrive_during_an_insert_share_a_transaction(inserts: HeldInserts, plain: Database) -> None:
    rows = await inserts.finish(await inserts.enter(*notes(*"abcdefgh")))
    assert inserts.sizes == [1, 7]
    async with plain.read() as session:
        for row in rows:
            assert (await session.get(FastNote, row.id)).text == row.text  # type: ignore[union-attr]


async def test_rows_with_ids_share_a_transaction_too(inserts: HeldInserts, plain: Database) -> None:
    await inserts.finish(await inserts.enter(*(lambda text=text: FastLabel(text=text) for text in "abc")))
    assert inserts.sizes == [1, 2]
    assert await stored(plain, FastLabel) == ["a", "b", "c"]


async def test_a_full_batch_starts_at_once(
    inserts: HeldInserts, plain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_ROWS", 3)
    tasks = [asyncio.create_task(post(inserts.database, make)) for make in notes(*"abcdefgh")]
    await until(lambda: inserts.waiting == 1)
    await inserts.finish(tasks)
    assert sorted(inserts.sizes) == [1, 1, 3, 3]
    assert await stored(plain) == list("abcdefgh")


async def test_a_batch_does_not_wait_for_a_slow_transaction(
    inserts: HeldInserts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAIT_SECONDS", 0.01)
    tasks = [asyncio.create_task(post(inserts.database, make)) for make in notes("a", "b")]
    await until(lambda: sum(inserts.group.open.values()) == 2)
    assert len(await inserts.finish(tasks)) == 2


async def test_a_row_that_is_refused_does_not_affect_the_others(inserts: HeldInserts, plain: Database) -> None:
    results = await inserts.finish(await inserts.enter(*notes("a", "b", "a", "c")))
    assert [result is IntegrityError for result in results] == [False, False, True, False]
    assert await stored(plain) == ["a", "b", "c"]
    assert checked_out(inserts.database) == 0


async def test_a_row_that_is_refused_at_commit_does_not_affect_the_others(
    inserts: HeldInserts, plain: Database
) -> None:
    results = await inserts.finish(await inserts.enter(*replies(None, None, 77, None)))
    assert [result is IntegrityError for result in results] == [False, False, True, False]
    assert await stored(plain, FastReply) == ["0", "1", "3"]
    assert checked_out(inserts.database) == 0
    assert inserts.sizes[:2] == [1, 3]
    assert set(inserts.sizes[2:]) == {1}
    assert any(inserts.group.alone_until.values())


async def test_a_request_that_fails_after_its_row_was_stored_does_not_affect_the_others(
    inserts: HeldInserts, plain: Database
) -> None:
    async def fail_for_b(row: Any) -> None:
        if row.text == "b":
            raise LookupError("no answer")

    results = await inserts.finish(await inserts.enter(*notes("a", "b", "c", "d"), before_commit=fail_for_b))
    assert [result is LookupError for result in results] == [False, True, False, False]
    assert await stored(plain) == ["a", "c", "d"]


async def test_a_request_cancelled_before_the_start_is_removed(inserts: HeldInserts, plain: Database) -> None:
    first, gone, other = await inserts.enter(*notes("a", "b", "c"))
    gone.cancel()
    await until(lambda: inserts.waiting == 1)
    await inserts.finish([first, other])
    assert await stored(plain) == ["a", "c"]


async def test_a_batch_without_members_does_not_start(inserts: HeldInserts) -> None:
    first, gone = await inserts.enter(*notes("a", "b"))
    gone.cancel()
    await until(lambda: inserts.waiting == 0)
    await inserts.finish([first])
    assert inserts.sizes == [1]


async def test_a_batch_whose_requests_are_all_cancelled_is_cancelled(
    inserts: HeldInserts, plain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAIT_SECONDS", 0)
    tasks = [asyncio.create_task(post(inserts.database, make)) for make in notes("a", "b", "c")]
    await until(lambda: not inserts.group.collecting and bool(inserts.sizes))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await until(lambda: checked_out(inserts.database) == 0)
    assert not any(inserts.group.open.values())
    assert await stored(plain) == []


@pytest.mark.parametrize("failure", [ConnectionResetError("cut"), OSError("away"), TimeoutError("too slow")])
async def test_a_connection_lost_before_the_commit_fails_no_request(
    inserts: HeldInserts, plain: Database, failure: Exception
) -> None:
    inserts.failures.append(failure)
    await inserts.finish(await inserts.enter(*notes("a", "b", "c")))
    assert await stored(plain) == ["a", "b", "c"]


async def test_a_programming_error_is_raised_to_every_member(inserts: HeldInserts, plain: Database) -> None:
    inserts.failures.append(LookupError("no such table"))
    results = await inserts.finish(await inserts.enter(*notes("a", "b", "c")))
    assert results[1:] == [LookupError, LookupError]
    assert await stored(plain) == ["a"]


@pytest.mark.parametrize("is_lost", [True, False])
async def test_an_interrupted_commit_is_not_retried(
    inserts: HeldInserts, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    control = driver.control

    async def broken(connection: Any, command: str) -> None:
        if command.endswith("COMMIT") and len(inserts.sizes) == 2:
            await (asyncio.sleep(LONG) if not is_lost else asyncio.sleep(0))
            raise ConnectionResetError("cut")
        await control(connection, command)

    monkeypatch.setattr(driver, "control", broken)
    monkeypatch.setattr(batches, "COMMIT_TIMEOUT", 0.1)

    async def once(make: Make) -> Entity:
        async with inserts.database.write() as session:
            session.add(row := make())
            await session.prepare_commit()
            await session.commit()
            return row

    tasks = [asyncio.create_task(once(make)) for make in notes("a", "b", "c")]
    await until(lambda: inserts.waiting == 2)
    results = await inserts.finish(tasks)
    assert [issubclass(result, OSError) for result in results[1:]] == [True, True]
    await until(lambda: checked_out(inserts.database) == 0)


@on_postgresql
async def test_a_request_that_waits_for_a_lock_delays_no_other(inserts: HeldInserts, plain: Database) -> None:
    async with plain.write() as session:
        session.add(note("a", id=5))
        await session.flush()
        tasks = await inserts.enter(*(lambda n=n: note(n, stars=1) for n in ("b", "c", "a", "d")))
        inserts.opened.set()
        await until(lambda: [task.done() for task in tasks] == [True, True, False, True])
    results = await inserts.finish(tasks)
    assert [getattr(result, "text", None) for result in results] == ["b", "c", "a", "d"]
    assert inserts.lock_timeouts[1:] == [batches.LOCK_TIMEOUT_SECONDS, *[None] * 3]


async def test_a_statement_after_the_insert_removes_its_row_from_the_batch(
    inserts: HeldInserts, plain: Database
) -> None:
    async def look(session: Any, row: Any) -> None:
        session.add(row)
        await session.prepare_commit()
        if row.text == "b":
            assert row in (await session.exec(select(FastNote).where(col(FastNote.text) == "b"))).all()
        await session.commit()

    async def request(text: str) -> Any:
        for _ in range(10):
            try:
                async with inserts.database.write() as session:
                    await look(session, row := note(text))
                    return row
            except RolledBack:
                continue
        raise AssertionError("it ran too often")

    tasks = [asyncio.create_task(request(text)) for text in "abc"]
    await until(lambda: inserts.waiting == 2)
    await inserts.finish(tasks)
    assert await stored(plain) == ["a", "b", "c"]


async def test_without_group_commit_each_row_has_its_transaction(unshared: Database, direct_sql: list[str]) -> None:
    await asyncio.gather(*(post(unshared, make) for make in notes(*"abcd")))
    assert len(direct_sql) == 4
    assert await stored(unshared) == ["a", "b", "c", "d"]


async def test_a_connection_that_cannot_be_rolled_back_is_not_reused(
    unshared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, commands = driver.control, []

    async def broken(connection: Any, command: str) -> None:
        commands.append(command)
        if command == "ROLLBACK":
            raise ConnectionResetError
        await control(connection, command)

    monkeypatch.setattr(driver, "control", broken)
    session = unshared.write()
    session.add(note("a"))
    await session.prepare_commit()
    with pytest.raises(ConnectionResetError):
        await session.close()
    assert commands[-1] == "ROLLBACK"
    assert checked_out(unshared) == 0
    monkeypatch.undo()
    assert await stored(unshared) == []


async def test_an_insert_is_compiled_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await post(database, lambda: note("a"))
    monkeypatch.setattr(single_insert.CompiledInsert, "__init__", lambda *_, **__: pytest.fail("compiled again"))
    await post(database, lambda: note("b"))


async def test_a_transaction_of_an_ended_event_loop_is_discarded(database: Database, inserts: HeldInserts) -> None:
    inserts.opened.set()
    await post(database, lambda: note("a"))
    inserts.group.open[FastNote, True] = 1
    inserts.group.loop = None
    await asyncio.wait_for(post(database, lambda: note("b")), LONG / 2)
    assert inserts.sizes == [1, 1]


@asynccontextmanager
async def trigger(database: Database, when: str, condition: str, action: str) -> AsyncIterator[None]:
    """Create a trigger for the block. For each new note that meets the condition, it runs a command and skips the note.

    `action` is for PostgreSQL. SQLite skips it only.
    """
    if database.is_sqlite:
        made = [f"CREATE TRIGGER strike BEFORE INSERT ON fast_note WHEN {condition} BEGIN SELECT RAISE(IGNORE); END"]
        undone = "DROP TRIGGER strike"
    else:
        body = f"BEGIN IF {condition} THEN {action} END IF; RETURN NEW; END"
        made = [
            f"CREATE FUNCTION strike() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
            f"CREATE {when} INSERT ON fast_note FOR EACH ROW EXECUTE FUNCTION strike()",
        ]
        undone = "DROP FUNCTION strike CASCADE"
    await execute(database, *made)
    try:
        yield
    finally:
        await execute(database, undone)


@on_postgresql
async def test_a_deferred_constraint_that_waits_for_a_lock_fails_no_request(
    inserts: HeldInserts, plain: Database
) -> None:
    async with at_commit(plain, "fast_note", "pg_advisory_xact_lock(7) WHERE NEW.text <> ''a''"):
        async with plain.writer.begin() as holder:
            await holder.execute(text("SELECT pg_advisory_xact_lock(7)"))
            tasks = await inserts.enter(*notes(*"abcd"))
            inserts.opened.set()
            await until(lambda: len(inserts.sizes) > 2)  # the batch has failed, and its rows are stored one by one
        await inserts.finish(tasks)
    assert await stored(plain) == list("abcd")
    assert inserts.sizes == [1, 3, 1, 1, 1]


@on_postgresql
async def test_slow_deferred_triggers_of_a_batch_do_not_add_up(
    inserts: HeldInserts, plain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_SECONDS", 0.2)
    async with at_commit(plain, "fast_note", "pg_sleep(0.15)"):
        results = await inserts.finish(await inserts.enter(*notes(*"abcdefghi")))
    assert [result.text for result in results] == list("abcdefghi")
    assert inserts.sizes == [1, 8, *[1] * 8]


@on_postgresql
async def test_slow_triggers_of_a_batch_do_not_add_up(
    inserts: HeldInserts, plain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_SECONDS", 0.2)
    async with trigger(plain, "TRIGGER strike BEFORE", "true", "PERFORM pg_sleep(0.1);"):
        results = await inserts.finish(await inserts.enter(*notes(*"abcdef")))
    assert [result.text for result in results] == list("abcdef")
    assert inserts.sizes == [1, 5, *[1] * 5]
    assert checked_out(inserts.database) == 0


async def test_a_row_that_a_trigger_leaves_out_shifts_no_ids(inserts: HeldInserts, plain: Database) -> None:
    async with trigger(plain, "TRIGGER strike BEFORE", "NEW.text = 'b'", "RETURN NULL;"):
        results = await inserts.finish(await inserts.enter(*notes(*"abcd")))
    assert [result is NotStored for result in results] == [False, True, False, False]
    async with plain.read() as session:
        named = {row.id: row.text for row in await session.exec(select(FastNote))}
    assert named == {row.id: row.text for row in results if row is not NotStored}


async def test_a_row_with_an_id_that_a_trigger_leaves_out_is_not_acknowledged(
    inserts: HeldInserts, plain: Database
) -> None:
    async with trigger(plain, "TRIGGER strike BEFORE", "NEW.text = 'b'", "RETURN NULL;"):
        makes: list[Make] = [lambda text=text, n=n: note(text, id=10**6 + n) for n, text in enumerate("abc")]  # type: ignore[misc]
        results = await inserts.finish(await inserts.enter(*makes))
    assert [result is NotStored for result in results] == [False, True, False]
    assert await stored(plain) == ["a", "c"]


async def test_a_session_that_shares_no_transaction_is_in_no_batch(inserts: HeldInserts, plain: Database) -> None:
    tasks = await inserts.enter(*notes("a", "b"))
    alone = inserts.database.write()
    alone.shares_transaction = False
    alone.add(note("c"))
    inserts.opened.set()
    async with alone:
        await alone.prepare_commit()
        await alone.commit()
    await inserts.finish(tasks)
    assert sorted(inserts.sizes) == [1, 1, 1]
    assert await stored(plain) == ["a", "b", "c"]
