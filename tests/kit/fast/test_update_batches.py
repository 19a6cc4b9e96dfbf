"""Update batches: rows that are changed together share a transaction, without effect on the result of any request."""

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import PoolProxiedConnection
from sqlmodel import col, select

from kit.database.databases import Database
from kit.database.errors import RolledBack
from kit.fast import batches, driver, group_commit
from kit.fast.batches import Member
from kit.fast.single_update import SingleUpdate
from kit.fast.update_batches import UpdateBatch, UpdateMember
from kit.fast.update_handlers import UpdateHandler
from tests.kit.fast.held_batches import HeldBatches, checked_out, repeated
from tests.kit.fast.notes import FastNote, note, store
from tests.kit.fast.test_update_handlers import changing
from tests.kit.probes import execute
from tests.waiting import TIMEOUT_SECONDS, until

pytestmark = pytest.mark.each_engine

LONG = TIMEOUT_SECONDS
"""The timeout of waiting tests, in seconds."""
on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")
Change = Callable[[Any], Any]
"""Changes a row as a handler does, without waiting. What it raises is the failure of the handler."""


def increase(row: Any) -> None:
    row.stars = (row.stars or 0) + 1


def rename(name: str) -> Change:
    return lambda row: setattr(row, "text", name)


def nothing(_: Any) -> None:
    """Change nothing."""


def refuse(_: Any) -> None:
    raise LookupError("another version")


async def request(database: Database, ident: Any, change: Change, handler: UpdateHandler | None = None) -> Any:
    """Change a row as a request does. Returns the row."""

    async def attempt() -> Any:
        async with changing(database, handler) as session:
            row = await session.get(FastNote, ident)
            change(row)
            await session.prepare_commit()
            await session.commit()
            return row

    return await repeated(attempt)


class HeldChanges(HeldBatches):
    """Holds the first transaction at its lock until `opened` is set, so that later changes form a batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
        super().__init__(monkeypatch, database)
        self.locks: list[int] = []
        """The number of ids in each SELECT … FOR UPDATE. The fast path pads them to a power of two."""
        self.stored: list[int] = []
        """The number of rows of each UPDATE."""
        self.lock, self.write = driver.lock, driver.write
        monkeypatch.setattr(driver, "lock", self.hold)
        monkeypatch.setattr(driver, "write", self.store)

    async def hold(self, connection: PoolProxiedConnection, sql: str, arguments: Sequence[Any], **options: Any) -> Any:
        self.locks.append(len(arguments))
        await self.opened.wait()
        return await self.lock(connection, sql, arguments, **options)

    async def store(self, connection: PoolProxiedConnection, kind: str, sql: str, rows: Sequence[Any]) -> Any:
        self.stored.append(len(rows))
        if len(rows) > 1 and self.failures:
            raise self.failures.pop()
        return await self.write(connection, kind, sql, rows)

    async def enter(self, *changes: tuple[int, Change]) -> list[asyncio.Task[Any]]:
        """Start these requests. The first one locks its row; the others wait for it."""
        return await self.started([request(self.database, ident, change) for ident, change in changes])


@pytest.fixture
async def changes(monkeypatch: pytest.MonkeyPatch, database: Database, plain: Database) -> HeldChanges:
    """Provide held changes, and the notes 1 to 8, named a to h."""
    await store(plain, *(note(name, id=n) for n, name in enumerate("abcdefgh", 1)))
    return HeldChanges(monkeypatch, database)


async def stars(database: Database) -> dict[int, tuple[int | None, int]]:
    """Return the stars and the version of each note that was changed."""
    async with database.read() as session:
        rows = await session.exec(select(FastNote).where(col(FastNote.version) > 1))
        return {row.id: (row.stars, row.version) for row in rows}


def increased(*idents: int) -> list[tuple[int, Change]]:
    return [(ident, increase) for ident in idents]


async def test_changes_that_arrive_together_share_a_transaction(
    changes: HeldChanges, plain: Database, commands: list[str]
) -> None:
    rows = await changes.finish(await changes.enter(*increased(1, 2, 3, 4)))
    assert [(row.id, row.stars, row.version) for row in rows] == [(n, 1, 2) for n in (1, 2, 3, 4)]
    assert await stars(plain) == dict.fromkeys((1, 2, 3, 4), (1, 2))
    assert (changes.locks, changes.stored) == ([1, 4], [1, 3])
    assert sum(command.endswith("COMMIT") for command in commands) == 2


async def test_changes_of_different_fields_share_a_transaction(changes: HeldChanges, plain: Database) -> None:
    tasks = await changes.enter((1, increase), (2, increase), (3, rename("x")), (4, increase))
    await changes.finish(tasks)
    assert sorted(changes.stored) == [1, 1, 2]
    assert await stars(plain) == {1: (1, 2), 2: (1, 2), 3: (None, 2), 4: (1, 2)}


async def test_after_a_shared_transaction_the_next_is_shared_at_once(changes: HeldChanges, plain: Database) -> None:
    await changes.finish(await changes.enter(*increased(1, 2, 3)))
    await asyncio.gather(*(request(changes.database, *one) for one in increased(1, 2, 3, 4)))
    assert changes.locks == [1, 2, 4]
    await request(changes.database, 5, increase)
    await request(changes.database, 6, increase)
    assert changes.stored == [1, 2, 4, 1, 1]
    assert not changes.group.shared


async def test_a_full_batch_of_changes_starts_at_once(changes: HeldChanges, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_ROWS", 2)
    tasks = [asyncio.create_task(request(changes.database, *one)) for one in increased(1, 2, 3, 4)]
    await until(lambda: changes.waiting == 1)
    await changes.finish(tasks)
    assert sorted(changes.stored) == [1, 1, 2]


async def test_two_changes_of_the_same_row_are_in_different_transactions(changes: HeldChanges, plain: Database) -> None:
    rows = await changes.finish(await changes.enter(*increased(1, 2, 3)))
    changes.opened.clear()
    tasks = [asyncio.create_task(request(changes.database, *one)) for one in increased(1, 2, 2, 2, 3, 1)]
    await changes.finish(tasks)
    assert len(rows) == 3
    assert await stars(plain) == {1: (3, 4), 2: (4, 5), 3: (2, 3)}
    assert checked_out(changes.database) == 0


async def test_a_handler_that_fails_does_not_affect_the_others(changes: HeldChanges, plain: Database) -> None:
    results = await changes.finish(await changes.enter((1, increase), (2, increase), (3, refuse), (4, increase)))
    assert [result is LookupError for result in results] == [False, False, True, False]
    assert await stars(plain) == {1: (1, 2), 2: (1, 2), 4: (1, 2)}
    assert changes.stored == [1, 2]


async def test_an_unchanged_row_is_not_stored(changes: HeldChanges, plain: Database) -> None:
    rows = await changes.finish(await changes.enter((1, increase), (2, nothing), (3, increase)))
    assert rows[1].version == 1
    assert await stars(plain) == {1: (1, 2), 3: (1, 2)}
    assert changes.stored == [1, 1]


@pytest.mark.parametrize("change", [nothing, refuse])
async def test_a_batch_without_changes_stores_nothing(changes: HeldChanges, plain: Database, change: Change) -> None:
    await changes.finish(await changes.enter((1, increase), (2, change), (3, change)))
    await until(lambda: checked_out(changes.database) == 0)
    assert await stars(plain) == {1: (1, 2)}
    assert changes.stored == [1]


async def test_a_row_that_does_not_exist_does_not_affect_the_others(changes: HeldChanges, plain: Database) -> None:
    tasks = await changes.enter((1, increase), (77, nothing), (3, increase))
    assert (await changes.finish(tasks))[1] is None
    assert await stars(plain) == {1: (1, 2), 3: (1, 2)}


async def test_a_refused_change_does_not_affect_the_others(changes: HeldChanges, plain: Database) -> None:
    results = await changes.finish(await changes.enter((1, increase), (2, increase), (3, rename("a")), (4, increase)))
    assert [result is IntegrityError for result in results] == [False, False, True, False]
    assert await stars(plain) == {1: (1, 2), 2: (1, 2), 4: (1, 2)}
    assert checked_out(changes.database) == 0


@pytest.mark.parametrize("failure", [ConnectionResetError("cut"), TimeoutError("too slow"), RolledBack()])
async def test_a_failure_before_the_commit_fails_no_change(
    changes: HeldChanges, plain: Database, failure: Exception
) -> None:
    changes.failures.append(failure)
    await changes.finish(await changes.enter(*increased(1, 2, 3)))
    assert await stars(plain) == dict.fromkeys((1, 2, 3), (1, 2))
    assert checked_out(changes.database) == 0


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("UPDATE fast_note SET stars = 10 WHERE id = 2", 11),
        ("UPDATE fast_note SET text = 'x' WHERE id = 2", 1),
        ("DELETE FROM fast_note WHERE id = 2", None),
    ],
)
async def test_a_row_that_was_changed_after_its_batch_had_failed_is_read_again(
    changes: HeldChanges, plain: Database, monkeypatch: pytest.MonkeyPatch, sql: str, expected: int | None
) -> None:
    """A batch that fails releases its locks before its members lock their rows alone."""
    lock_alone, seen = UpdateMember._lock_alone, list[Any]()

    async def after_another_change(member: UpdateMember) -> Any:
        if member.ident == 2 and not seen:
            seen.append(member)
            await execute(plain, sql)
        return await lock_alone(member)

    def increase_if_present(row: Any) -> None:
        if row is not None:
            increase(row)

    monkeypatch.setattr(UpdateMember, "_lock_alone", after_another_change)
    results = await changes.finish(await changes.enter((1, increase), (2, increase_if_present), (3, rename("a"))))
    assert results[2] is IntegrityError
    assert (results[1] and results[1].stars) == expected
    assert len(seen) == 1


async def test_a_request_cancelled_before_the_start_leaves_the_batch(changes: HeldChanges, plain: Database) -> None:
    first, gone, other = await changes.enter(*increased(1, 2, 3))
    gone.cancel()
    await until(lambda: changes.waiting == 1)
    await changes.finish([first, other])
    assert await stars(plain) == {1: (1, 2), 3: (1, 2)}


async def test_the_outcome_for_a_request_that_was_cancelled_is_dropped() -> None:
    member = Member(SimpleNamespace(members=[], missing_votes=0))  # type: ignore[arg-type]  # what it uses of a batch
    member.outcome.cancel()
    member.receive(RolledBack())
    assert not member.outcome.done()


async def test_a_batch_whose_only_request_was_cancelled_takes_others(changes: HeldChanges, plain: Database) -> None:
    first, gone = await changes.enter(*increased(1, 2))
    gone.cancel()
    await until(lambda: changes.waiting == 0)
    other = asyncio.create_task(request(changes.database, 3, increase))
    await until(lambda: changes.waiting == 1)
    await changes.finish([first, other])
    assert await stars(plain) == {1: (1, 2), 3: (1, 2)}


async def test_a_batch_whose_requests_are_all_cancelled_is_cancelled(
    changes: HeldChanges, plain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAIT_SECONDS", 0)
    tasks = [asyncio.create_task(request(changes.database, *one)) for one in increased(1, 2, 3)]
    await until(lambda: not changes.group.collecting and bool(changes.locks))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await until(lambda: checked_out(changes.database) == 0)
    assert not any(changes.group.open.values())
    assert await stars(plain) == {}


async def test_a_request_that_ends_after_its_change_was_stored_does_not_affect_the_others(
    changes: HeldChanges, plain: Database
) -> None:
    async def store_only(ident: int) -> None:
        async with changing(changes.database) as session:
            increase(await session.get(FastNote, ident))
            await session.prepare_commit()
            raise LookupError("no response")

    tasks = await changes.enter(*increased(1, 2, 3))
    tasks.append(asyncio.create_task(store_only(4)))
    await until(lambda: changes.waiting == 3)
    results = await changes.finish(tasks)
    assert [result is LookupError for result in results] == [False, False, False, True]
    assert await stars(plain) == dict.fromkeys((1, 2, 3), (1, 2))
    assert changes.stored[:2] == [1, 3]


async def test_a_request_cancelled_while_others_change_their_rows_does_not_affect_them(
    changes: HeldChanges, plain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = await changes.enter(*increased(1, 2, 3))
    decide = UpdateBatch.decide

    def cancel_second(batch: UpdateBatch) -> None:
        decide(batch)
        if batch.undecided == 1:
            tasks[1].cancel()  # its change waits for that of the third request

    monkeypatch.setattr(UpdateBatch, "decide", cancel_second)
    results = await changes.finish(tasks)
    assert results[1] is asyncio.CancelledError
    assert await stars(plain) == {1: (1, 2), 3: (1, 2)}


async def test_rows_that_cannot_be_locked_together_are_locked_alone(
    changes: HeldChanges, plain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> Any:
        raise RolledBack

    tasks = await changes.enter(*increased(1, 2, 3))
    monkeypatch.setattr(SingleUpdate, "lock_all", refuse)
    await changes.finish(tasks)
    assert await stars(plain) == dict.fromkeys((1, 2, 3), (1, 2))
    assert changes.stored == [1, 1, 1]


async def test_a_request_cancelled_before_the_update_does_not_affect_the_others(
    changes: HeldChanges, plain: Database
) -> None:
    async def cancelled(ident: int) -> None:
        async with changing(changes.database) as session:
            increase(await session.get(FastNote, ident))
            asyncio.current_task().cancel()  # type: ignore[union-attr]  # a task runs
            await session.prepare_commit()

    tasks = await changes.enter(*increased(1, 2, 3))
    tasks.append(asyncio.create_task(cancelled(4)))
    await until(lambda: changes.waiting == 3)
    results = await changes.finish(tasks)
    assert results[3] is asyncio.CancelledError
    assert await stars(plain) == dict.fromkeys((1, 2, 3), (1, 2))


async def test_another_use_of_the_session_leaves_the_batch(changes: HeldChanges, plain: Database) -> None:
    async def read_more(ident: int) -> None:
        async with changing(changes.database) as session:
            await session.get(FastNote, ident)
            await session.exec(select(FastNote))

    tasks = await changes.enter(*increased(1, 2, 3))
    tasks.append(asyncio.create_task(read_more(4)))
    await until(lambda: changes.waiting == 3)
    assert (await changes.finish(tasks))[3] is RolledBack
    assert await stars(plain) == dict.fromkeys((1, 2, 3), (1, 2))
    assert changes.stored == [1, 2]


@on_postgresql
@pytest.mark.parametrize("locked", [1, 2])
async def test_a_row_that_another_has_locked_delays_no_other(
    changes: HeldChanges, plain: Database, locked: int
) -> None:
    """Neither the leader (1) nor a batch waits for a lock."""
    async with plain.writer.begin() as holder:
        await holder.execute(text(f"SELECT FROM fast_note WHERE id = {locked} FOR UPDATE"))
        tasks = await changes.enter(*increased(1, 2, 3))
        changes.opened.set()
        await until(lambda: [task.done() for task in tasks] == [n != locked for n in (1, 2, 3)])
    await changes.finish(tasks)
    assert await stars(plain) == dict.fromkeys((1, 2, 3), (1, 2))


@on_postgresql
async def test_an_update_that_waits_for_a_lock_delays_no_other(changes: HeldChanges, plain: Database) -> None:
    async with plain.write() as session:
        session.add(note("x", id=100))
        await session.flush()
        tasks = await changes.enter((1, increase), (2, increase), (3, rename("x")))
        changes.opened.set()
        await until(lambda: [task.done() for task in tasks] == [True, True, False])
    await changes.finish(tasks)
    assert await stars(plain) == {1: (1, 2), 2: (1, 2), 3: (None, 2)}


@on_postgresql
async def test_slow_triggers_of_changes_do_not_add_up(
    changes: HeldChanges, plain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_SECONDS", 0.2)
    body = "BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END"
    await execute(
        plain,
        f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
        "CREATE TRIGGER slow BEFORE UPDATE ON fast_note FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    try:
        await changes.finish(await changes.enter(*increased(1, 2, 3, 4, 5)))
    finally:
        await execute(plain, "DROP FUNCTION slow CASCADE")
    assert await stars(plain) == dict.fromkeys((1, 2, 3, 4, 5), (1, 2))
    assert changes.stored == [1, 4, *[1] * 4]


@pytest.mark.parametrize("is_lost", [True, False])
async def test_an_interrupted_commit_of_changes_is_not_retried(
    changes: HeldChanges, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    control = driver.control

    async def broken(connection: Any, command: str) -> None:
        if command.endswith("COMMIT") and len(changes.stored) == 2:
            await (asyncio.sleep(LONG) if not is_lost else asyncio.sleep(0))
            raise ConnectionResetError("cut")
        await control(connection, command)

    async def once(ident: int) -> None:
        async with changing(changes.database) as session:
            increase(await session.get(FastNote, ident))
            await session.prepare_commit()
            await session.commit()

    monkeypatch.setattr(driver, "control", broken)
    monkeypatch.setattr(batches, "COMMIT_TIMEOUT", 0.1)
    tasks = [asyncio.create_task(once(ident)) for ident in (1, 2, 3)]
    await until(lambda: changes.waiting == 2)
    results = await changes.finish(tasks)
    assert all(issubclass(result, OSError) for result in results[1:])
    await until(lambda: checked_out(changes.database) == 0)


async def test_a_listener_to_updates_keeps_a_change_out_of_batches(changes: HeldChanges, plain: Database) -> None:
    seen: list[Any] = []

    def listen(_: Any, __: Any, row: Any) -> None:
        seen.append(row.id)

    event.listen(FastNote, "after_update", listen)
    try:
        await asyncio.gather(*(request(changes.database, *one) for one in increased(1, 2, 3)))
    finally:
        event.remove(FastNote, "after_update", listen)
    assert sorted(seen) == [1, 2, 3]
    assert changes.locks == []
    assert await stars(plain) == dict.fromkeys((1, 2, 3), (1, 2))


async def test_after_a_commit_was_refused_changes_have_their_own_transactions(
    changes: HeldChanges, plain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = driver.control

    async def refused(connection: Any, command: str) -> None:
        if command.endswith("COMMIT") and changes.stored == [1, 2]:
            raise RolledBack
        await control(connection, command)

    monkeypatch.setattr(driver, "control", refused)
    await changes.finish(await changes.enter(*increased(1, 2, 3)))
    assert await stars(plain) == dict.fromkeys((1, 2, 3), (1, 2))
    assert changes.stored == [1, 2, 1, 1]


async def test_without_group_commit_each_change_has_its_transaction(
    unshared: Database, plain: Database, commands: list[str]
) -> None:
    await store(plain, *(note(name, id=n) for n, name in enumerate("abc", 1)))
    await asyncio.gather(*(request(unshared, *one) for one in increased(1, 2, 3)))
    assert sum(command.endswith("COMMIT") for command in commands) == 3
    assert await stars(plain) == dict.fromkeys((1, 2, 3), (1, 2))
