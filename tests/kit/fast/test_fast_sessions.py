"""Fast sessions: reads, writes and the session afterwards behave as with plain sessions."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, func, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, close_all_sessions, object_session
from sqlalchemy.orm.exc import FlushError
from sqlmodel import Field, col, select

from kit.auth.checked_sessions import NotStored
from kit.auth.ownership import RESTRICTED_READS
from kit.database.databases import Database
from kit.database.sessions import ReadSession, WriteSession
from kit.fast import locked_reads
from kit.fast.bodies import defaults_of
from kit.fast.databases import use_fast_sessions
from kit.fast.locked_reads import locked
from kit.fast.mappings import mapping_of
from kit.fast.single_insert import is_insertable
from kit.http.principals import Principal
from kit.http.problems import Problem
from kit.models.entities import Entity
from tests.kit.bookshop import Shelf, ShelfCreate
from tests.kit.fast.conftest import opened
from tests.kit.fast.notes import Colour, FastAside, FastLabel, FastNote, FastReply, note, store
from tests.kit.probes import acting_as, left_out

on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True, scope="session")


async def texts(database: Database) -> list[str]:
    async with database.read() as session:
        return [row.text for row in await session.exec(select(FastNote).order_by(col(FastNote.id)))]


def values(row: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name != "_sa_instance_state"}


@pytest.mark.parametrize("microsecond", [0, 1, 500_000])
async def test_a_row_equals_the_row_of_the_orm(database: Database, plain: Database, microsecond: int) -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, microsecond, UTC)
    await store(
        database, note('é\u2028"\\', price=Decimal("0.10"), colour=Colour.BLUE, created_at=when), FastLabel(text="b")
    )
    for entity in (FastNote, FastLabel):
        async with plain.read() as through, database.read() as direct_sql:
            expected = (await through.exec(select(entity))).one()
            got = await direct_sql.get(entity, expected.id)
            assert values(got) == values(expected)


async def test_a_row_is_persistent_until_the_session_is_closed(database: Database, plain: Database) -> None:
    await store(plain, row := note("a"))
    async with database.read() as session:
        got = await session.get(FastNote, row.id)
        assert got in session
        assert await session.get(FastNote, row.id) is got
        assert not session.dirty
        await session.refresh(got, ["replies"])
        assert got is not None
        assert got.replies == []
    assert inspect(got).detached


async def test_a_row_that_is_requested_twice_is_read_once(
    database: Database, plain: Database, direct_sql: list[str]
) -> None:
    await store(plain, row := note("a"))
    session = database.read()
    got = await session.get(FastNote, row.id)
    assert got is not None
    assert await session.get(FastNote, row.id) is got
    assert len(direct_sql) == 1
    await session.close()
    assert inspect(got).detached


async def test_an_open_session_gets_rows_without_the_orm(
    database: Database, plain: Database, direct_sql: list[str]
) -> None:
    await store(plain, row := note("a"))
    async with database.read() as session:
        session.info["purpose"] = "a test"
        got = await session.get(FastNote, row.id)
        assert got in session
        assert await session.get(FastNote, row.id) is got
    assert len(direct_sql) == 1


async def test_a_session_that_was_not_used_is_closed(database: Database, direct_sql: list[str]) -> None:
    await database.read().close()
    await database.write().close()
    assert direct_sql == []


async def test_an_absent_row_is_none(database: Database) -> None:
    async with database.read() as session:
        assert await session.get(FastNote, 777) is None


async def test_concurrent_readers_get_separate_objects(
    database: Database, plain: Database, direct_sql: list[str]
) -> None:
    await store(plain, *(rows := [note(f"{number}") for number in range(20)]))
    database.read().shortcuts.coalescer.is_shared = True  # type: ignore[attr-defined]

    async def get(ident: int) -> FastNote | None:
        async with database.read() as session:
            return await session.get(FastNote, ident)

    got = await asyncio.gather(*(get(row.id) for row in [*rows, rows[0]]), get(777))
    assert [one and one.text for one in got] == [*(row.text for row in rows), "0", None]
    assert got[0] is not got[20]
    assert len(direct_sql) == 1


async def test_concurrent_reads_of_a_row_by_one_session_return_the_same_object(
    database: Database, plain: Database
) -> None:
    await store(plain, row := note("a"))
    async with database.read() as session:
        one, other = await asyncio.gather(session.get(FastNote, row.id), session.get(FastNote, row.id))
        assert one is other is not None


async def test_without_coalescing_each_reader_has_a_query(
    unshared: Database, plain: Database, direct_sql: list[str]
) -> None:
    await store(plain, row := note("a"))
    async with unshared.read() as one, unshared.read() as other:
        await asyncio.gather(one.get(FastNote, row.id), other.get(FastNote, row.id))
    assert len(direct_sql) == 2


@pytest.mark.parametrize(
    "options", [{"populate_existing": True}, {"execution_options": {"x": 1}}, {"with_for_update": True}]
)
async def test_a_get_with_options_is_left_to_the_orm(
    database: Database, plain: Database, direct_sql: list[str], options: dict[str, Any]
) -> None:
    await store(plain, row := note("a"))
    async with database.read() as session:
        assert await session.get(FastNote, row.id, **options)
    assert direct_sql == []


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Provide the ids of the rows that were read for writing without the ORM."""
    seen: list[Any] = []

    def noted(session: Any, mapping: Any, ident: Any) -> Any:
        seen.append(ident)
        return locked(session, mapping, ident)

    monkeypatch.setattr(locked_reads, "locked", noted)
    return seen


async def test_a_row_read_for_writing_is_updated_like_a_row_of_the_orm(
    database: Database, plain: Database, loads: list[Any]
) -> None:
    await store(plain, row := note("a"))
    async with database.write() as session:
        got = await session.get(FastNote, row.id)
        assert got in session
        assert got is not None
        assert values(got) == values(row)
        assert not session.is_modified(got)
        assert await session.get(FastNote, row.id) is got
        got.text = "b"
        await session.commit()
        assert got.version == row.version + 1
    assert (loads, await texts(plain)) == ([row.id], ["b"])


async def test_a_row_read_for_writing_is_deleted_like_a_row_of_the_orm(database: Database, plain: Database) -> None:
    await store(plain, row := note("a"), note("b"))
    async with database.write() as session:
        await session.delete(await session.get(FastNote, row.id))
        await session.commit()
    assert await texts(plain) == ["b"]


async def test_a_row_is_loaded_again_after_a_rollback(database: Database, plain: Database) -> None:
    await store(plain, row := note("a"))
    async with database.write() as session:
        got = await session.get(FastNote, row.id)
        assert got is not None
        got.text = "b"
        await session.rollback()
        await session.refresh(got)
        assert got.text == "a"
        assert await session.get(FastNote, 777) is None


async def test_two_sessions_that_read_a_row_for_writing_update_it_in_turn(database: Database, plain: Database) -> None:
    await store(plain, row := note("a", stars=0))

    async def add_star() -> None:
        async with database.write() as session:
            got = await session.get(FastNote, row.id)
            assert got is not None
            got.stars = (got.stars or 0) + 1
            await session.commit()

    await asyncio.gather(*(add_star() for _ in range(8)))
    async with plain.read() as session:
        stored = await session.get(FastNote, row.id)
        assert stored is not None
        assert (stored.stars, stored.version) == (8, row.version + 8)


@pytest.mark.parametrize("what", ["new", "changed", "options", "tuple"])
async def test_a_get_for_writing_with_options_is_left_to_the_orm(
    database: Database, plain: Database, loads: list[Any], what: str
) -> None:
    await store(plain, row := note("a"), other := note("b"))
    async with database.write() as session:
        if what == "new":
            session.add(note("c"))
        if what == "changed":
            changed = await session.get(FastNote, other.id)
            assert changed is not None
            changed.text = "d"
            loads.clear()
        options = {"populate_existing": True} if what == "options" else {}
        assert await session.get(FastNote, (row.id,) if what == "tuple" else row.id, **options)
    assert loads == []


async def test_a_listener_is_called_for_a_row_read_for_writing(database: Database, plain: Database) -> None:
    await store(plain, row := note("a"))
    heard: list[Any] = []

    def hear(loaded: FastNote, _: object) -> None:
        heard.append(loaded.id)

    event.listen(FastNote, "load", hear)
    try:
        async with database.write() as session:
            await session.get(FastNote, row.id)
    finally:
        event.remove(FastNote, "load", hear)
    assert heard == [row.id]


@pytest.mark.parametrize("as_ident", [lambda ident: (ident,), lambda ident: {"id": ident}])
async def test_an_ident_may_have_each_form_that_is_documented(
    database: Database, plain: Database, as_ident: Any
) -> None:
    await store(plain, row := note("a"))
    async with database.read() as session:
        assert (await session.get(FastNote, as_ident(row.id))).text == "a"  # type: ignore[union-attr]


async def test_a_session_that_has_begun_keeps_its_connection(database: Database, direct_sql: list[str]) -> None:
    async with database.read() as session:
        await session.connection()
        await session.get(FastNote, 1)
    assert direct_sql == []


async def test_a_restricted_session_is_left_to_the_orm(database: Database, direct_sql: list[str]) -> None:
    with acting_as(Principal(7)):
        session = database.read()
        session.info[RESTRICTED_READS] = True
        await session.get(FastNote, 1)
        await session.close()
    assert direct_sql == []


async def test_a_session_with_restricted_reads_is_left_to_the_orm(
    database: Database, plain: Database, direct_sql: list[str]
) -> None:
    await store(plain, own := note("a", owner_id=7), other := note("b", owner_id=8))
    with acting_as(Principal(7)):
        async with database.read(restricted=True) as session:
            assert await session.get(FastNote, own.id)
            assert await session.get(FastNote, other.id) is None
    assert direct_sql == []


async def test_a_failure_is_that_of_the_orm(database: Database, plain: Database) -> None:
    failures = []
    for one in (plain, database):
        async with one.read() as session:
            with pytest.raises((DBAPIError, OverflowError)) as caught:
                await session.get(FastNote, 2**70)
            failures.append((type(caught.value), str(caught.value).partition("\n")[0]))
    assert failures[0] == failures[1]


async def test_a_refused_insert_fails_as_in_the_orm(database: Database, plain: Database) -> None:
    await store(plain, note("a"))
    failures = []
    for one in (plain, database):
        with pytest.raises(IntegrityError) as caught:
            await store(one, note("a"))
        failure = caught.value
        failures.append((str(failure.orig), type(failure.orig), failure.statement and failure.statement[:22]))
    assert failures[0] == failures[1]
    await store(database, note("b"))


async def test_a_single_new_row_is_stored_without_the_orm(database: Database, direct_sql: list[str]) -> None:
    async with database.write() as session:
        session.add(row := note("a"))
        await session.prepare_commit()
        assert row in session
        assert inspect(row).persistent
        await session.commit()
        assert not session.in_transaction()
    assert inspect(row).detached
    assert len(direct_sql) == 1
    assert await texts(database) == ["a"]


async def test_a_row_that_is_added_twice_is_stored_once(database: Database, direct_sql: list[str]) -> None:
    async with database.write() as session:
        row = note("a")
        session.add(row)
        session.add(row)
        await session.prepare_commit()
        await session.commit()
    assert len(direct_sql) == 1
    assert await texts(database) == ["a"]


async def test_a_new_row_belongs_to_its_session_until_that_is_closed(database: Database, direct_sql: list[str]) -> None:
    async with database.write() as session:
        session.add(row := note("a"))
        row.text = "b"
        assert not session.is_open
        assert inspect(row).pending
        assert object_session(row) is session.sync_session
        await session.prepare_commit()
        await session.commit()
    assert inspect(row).detached
    assert len(direct_sql) == 1


async def test_a_stored_row_belongs_to_its_session_until_that_is_closed(database: Database) -> None:
    async with database.write() as session:
        session.add(row := note("a"))
        await session.prepare_commit()
        await session.commit()
        assert object_session(row) is session.sync_session
        row.stars = 5
        assert session.dirty
    assert inspect(row).detached


async def test_a_new_row_is_transient_after_a_rollback(database: Database) -> None:
    async with database.write() as session:
        session.add(row := note("a"))
        await session.rollback()
        assert inspect(row).transient
        session.add(row)
        assert inspect(row).pending


async def test_a_row_that_was_read_belongs_to_its_session_until_that_is_closed(
    database: Database, plain: Database, direct_sql: list[str]
) -> None:
    await store(plain, note("a", id=1))
    async with database.read() as session:
        row = await session.get(FastNote, 1)
        assert not session.is_open
        assert inspect(row).persistent
        assert row in session
    assert inspect(row).detached
    assert len(direct_sql) == 1


async def test_a_row_of_an_abandoned_session_is_detached(database: Database, plain: Database) -> None:
    await store(plain, note("a", id=1))
    session = database.read()
    row = await session.get(FastNote, 1)
    del session
    assert inspect(row).detached


async def test_a_session_that_was_not_created_is_left_out_of_a_loop_over_all_sessions(database: Database) -> None:
    async with database.write() as session:
        session.add(row := note("a"))
        close_all_sessions()
        assert not session.is_open
        assert inspect(row).pending


async def test_a_refused_insert_of_an_open_session_stores_nothing(database: Database, plain: Database) -> None:
    await store(plain, note("a"))
    async with database.write() as session:
        session.add(row := note("a"))
        assert row in session
        with pytest.raises(IntegrityError):
            await session.prepare_commit()
        assert row not in session
        session.add(note("b"))
        await session.prepare_commit()
        await session.commit()
    assert await texts(database) == ["a", "b"]


async def test_a_row_that_was_stored_is_unchanged_for_the_next_session(
    database: Database, direct_sql: list[str]
) -> None:
    await store(database, row := note("a"))
    assert len(direct_sql) == 1
    assert not inspect(row).modified
    async with database.write() as session:
        session.add(row)
        assert not session.dirty
        row.stars = 4
        await session.commit()
    assert row.version == 2


async def test_a_row_with_an_id_generated_in_python_keeps_it(
    database: Database, plain: Database, direct_sql: list[str]
) -> None:
    ident = (label := FastLabel(text="a")).id
    await store(database, label)
    async with plain.read() as session:
        assert await session.get(FastLabel, ident)
    assert len(direct_sql) == 1


async def test_a_row_that_is_not_committed_is_not_stored(database: Database) -> None:
    async with database.write() as session:
        session.add(note("a"))
        await session.prepare_commit()
    async with database.write() as session:
        session.add(row := note("b"))
        await session.prepare_commit()
        await session.rollback()
        assert row not in session
    session = database.write()
    session.add(note("c"))
    await session.prepare_commit()
    await session.close()
    assert await texts(database) == []


async def test_a_statement_after_the_insert_is_in_its_transaction(database: Database) -> None:
    async with database.write() as session:
        session.add(row := note("a"))
        await session.prepare_commit()
        ident = row.id
        assert (await session.exec(select(func.count()).select_from(FastNote))).one() == 1
        assert row.id == ident
        session.add(note("b"))
        await session.commit()
    assert await texts(database) == ["a", "b"]


async def test_changes_after_the_insert_are_stored_too(database: Database, plain: Database) -> None:
    async with database.write() as session:
        session.add(row := note("a"))
        await session.prepare_commit()
        row.stars = 5
        session.add(note("b"))
        await session.commit()
        ident = row.id
    async with plain.read() as session_:
        got = await session_.get(FastNote, ident)
        assert got is not None
        assert (got.stars, got.version) == (5, 2)
    assert await texts(database) == ["a", "b"]


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_savepoint_after_the_insert_contains_later_changes(database: Database, is_kept: bool) -> None:
    async with database.write() as session:
        session.add(row := note("a"))
        await session.prepare_commit()
        savepoint = await session.begin_nested()
        session.add(note("b"))
        await (savepoint.commit() if is_kept else savepoint.rollback())
        await session.refresh(row)
        await session.commit()
    assert await texts(database) == ["a", "b"][: 1 + is_kept]


async def test_a_row_may_be_refreshed_or_expired_after_the_insert(database: Database) -> None:
    async with database.write() as session:
        session.add(row := note("a"))
        await session.prepare_commit()
        await session.refresh(row)
        assert row.text == "a"
        await session.commit()
    async with database.write() as session:
        session.add(row := note("b"))
        await session.prepare_commit()
        session.expire(row)
        await session.exec(select(FastNote))
        assert row.text == "b"
        await session.commit()
    assert await texts(database) == ["a", "b"]


async def two(session: Any) -> None:
    session.add_all([note("a"), note("b")])


async def after_a_look(session: Any) -> None:
    await session.exec(select(FastNote.id))
    session.add(note("a"))


async def with_an_expression(session: Any) -> None:
    session.add(note("a", stars=1))
    next(iter(session.new)).stars = func.length("abc")


async def without_a_value(session: Any) -> None:
    session.add(note("a", version=None))


async def with_a_version(session: Any) -> None:
    session.add(note("a", version=7))


@pytest.mark.parametrize("work", [two, after_a_look, with_an_expression, without_a_value, with_a_version])
async def test_rows_that_need_the_orm_are_left_to_the_orm(database: Database, direct_sql: list[str], work: Any) -> None:
    async with database.write() as session:
        await work(session)
        await session.prepare_commit()
        await session.commit()
    assert direct_sql == []
    async with database.read() as reading:
        (row, *_) = (await reading.exec(select(FastNote))).all()
        assert (row.text, row.version, row.stars) == ("a", 1, 3 if work is with_an_expression else None)


async def test_a_value_that_its_type_refuses_fails_as_in_the_orm(database: Database, plain: Database) -> None:
    failures = []
    for one in (plain, database):
        with pytest.raises(Exception, match="timezone") as caught:
            await store(one, note("a", created_at=datetime(2026, 1, 1)))  # noqa: DTZ001  that is refused
        failures.append((type(caught.value), str(caught.value).partition("\n")[0]))
    assert failures[0] == failures[1]


async def test_a_row_that_was_stored_before_is_updated(database: Database) -> None:
    await store(database, note("a"))
    async with database.read() as reading:
        row = (await reading.exec(select(FastNote))).one()
    async with database.write() as session:
        session.add(row)
        row.text = "b"
        await session.prepare_commit()
        await session.commit()
    assert await texts(database) == ["b"]


def test_a_row_with_dependent_rows_is_not_insertable() -> None:
    mapping = mapping_of(FastReply)
    assert mapping is not None
    reply = FastReply(text="a")
    assert is_insertable(reply, mapping)
    reply.__dict__["note"] = note("b")
    assert not is_insertable(reply, mapping)


def test_a_row_with_missing_fields_or_an_expression_is_not_insertable() -> None:
    mapping = mapping_of(FastReply)
    assert mapping is not None
    for change in ({"version": 2}, {"version": None}, {"text": func.lower("A")}):
        reply = FastReply(text="a")
        reply.__dict__.update(change)
        assert not is_insertable(reply, mapping)
    reply = FastReply(text="a")
    del reply.__dict__["text"]
    assert not is_insertable(reply, mapping)


async def test_many_rows_get_their_ids_in_order(database: Database) -> None:
    async with database.write() as session:
        rows = [note(f"{number}") for number in range(20)]
        await session.insert_all(rows)
        assert all(row in session for row in rows)
        rows[1].text = "changed"
        await session.commit()
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    assert await texts(database) == ["0", "changed", *map(str, range(2, 20))]
    assert (rows[0].version, rows[1].version) == (1, 2)


async def test_rows_that_have_their_ids_keep_them(database: Database) -> None:
    async with database.write() as session:
        await session.insert_all([note("nine", id=10**6 + 9), note("seven", id=10**6 + 7)])
        await session.insert_all([])
        await session.commit()
    assert await texts(database) == ["seven", "nine"]


async def test_rows_that_are_not_alike_are_stored_by_the_orm(database: Database) -> None:
    others: list[Entity] = [FastLabel(text="b"), note("c", id=10**7)]
    for other in others:
        async with database.write() as session:
            session.add(note(f"before {other.text}"))  # type: ignore[attr-defined]
            await session.insert_all([note(f"with {other.text}"), other])  # type: ignore[attr-defined]
            await session.commit()
    assert await texts(database) == ["before b", "with b", "before c", "with c", "c"]


async def test_rows_of_a_refused_bulk_insert_have_no_ids(database: Database) -> None:
    rows = [note("a"), note("a")]
    async with database.write() as session:
        with pytest.raises(IntegrityError):
            await session.insert_all(rows)
    assert [row.id for row in rows] == [None, None]


async def test_no_connection_is_lost(database: Database) -> None:
    await store(database, note("a"))
    for _ in range(3):
        with pytest.raises(IntegrityError):
            await store(database, note("a"))
        async with database.read() as session:
            with pytest.raises((DBAPIError, OverflowError)):
                await session.get(FastNote, 2**70)
    for engine in (database.reader, database.writer):
        pool: Any = engine.pool
        assert pool.checkedout() == 0


async def test_a_transaction_may_follow_another_in_one_session(database: Database) -> None:
    async with database.write() as session:
        for text in "abc":
            session.add(note(text))
            await session.prepare_commit()
            await session.commit()
    assert await texts(database) == ["a", "b", "c"]


async def insert(database: Database, *rows: FastNote) -> list[int]:
    async with database.write() as session:
        await session.insert_all(rows)
        await session.commit()
    return [row.id for row in rows]


async def execute(database: Database, statement: str) -> None:
    async with database.writer.begin() as connection:
        await connection.execute(text(statement))


@on_sqlite
async def test_the_id_of_a_deleted_row_is_not_used_again(database: Database) -> None:
    first = await insert(database, note("a"), note("b"))
    await execute(database, "DELETE FROM fast_note")
    assert await insert(database, note("c"), note("d")) == [ident + 2 for ident in first]


@on_sqlite
async def test_without_autoincrement_ids_follow_the_largest(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert(database, note("a", id=4000))
    await execute(database, "DELETE FROM sqlite_sequence")
    table: Any = inspect(FastNote).local_table
    monkeypatch.setitem(table.dialect_options["sqlite"], "autoincrement", False)
    assert await insert(database, note("b"), note("c")) == [4001, 4002]


async def test_a_member_stores_only_their_own_rows_without_the_orm(
    database: Database, plain: Database, direct_sql: list[str]
) -> None:
    with acting_as(Principal(7)):
        for owner, is_allowed in ((7, True), (8, False), (None, False)):
            refusals = []
            for one in (plain, database):
                try:
                    async with one.write(restricted=True) as session:
                        session.add(note(f"{owner}", owner_id=owner))
                        await session.prepare_commit()
                except Problem as refusal:
                    refusals.append(refusal.status_code)
            assert refusals == ([] if is_allowed else [403, 403])
    assert len(direct_sql) == 1


async def test_a_member_inserts_no_rows_of_others_in_bulk(database: Database) -> None:
    with acting_as(Principal(7)):
        async with database.write(restricted=True) as session:
            await session.insert_all([note("a", owner_id=7), note("b", owner_id=7)])
            with pytest.raises(Problem):
                await session.insert_all([note("c", owner_id=8)])


@pytest.mark.parametrize("number", [1, 2])
async def test_a_member_adds_rows_only_to_their_own_parents(database: Database, plain: Database, number: int) -> None:
    await store(plain, own := note("a", owner_id=7), other := note("b", owner_id=8))
    with acting_as(Principal(7)):
        async with database.write(restricted=True) as session:
            await session.insert_all([FastAside(text="mine", note_id=own.id) for _ in range(number)])
            await session.commit()
        async with database.write(restricted=True) as session:
            with pytest.raises(Problem) as refused:
                await session.insert_all([FastAside(text="theirs", note_id=other.id) for _ in range(number)])
    assert refused.value.status_code == 403
    async with plain.read() as reading:
        assert (await reading.exec(select(FastAside.text))).all() == ["mine"] * number


async def test_a_member_adds_a_single_row_only_to_their_own_parent(database: Database, plain: Database) -> None:
    await store(plain, own := note("a", owner_id=7), other := note("b", owner_id=8))
    with acting_as(Principal(7)):
        async with database.write(restricted=True) as session:
            session.add(FastAside(text="mine", note_id=own.id))
            await session.prepare_commit()
            await session.commit()
        async with database.write(restricted=True) as session:
            session.add(FastAside(text="theirs", note_id=other.id))
            with pytest.raises(Problem, match="another user"):
                await session.prepare_commit()
    async with plain.read() as reading:
        assert (await reading.exec(select(FastAside.text))).all() == ["mine"]


async def test_another_event_loop_gets_sessions_without_shortcuts(fast_url: str) -> None:
    database = opened(fast_url)
    use_fast_sessions(database, coalesce=True, group=True, without=frozenset())
    elsewhere = asyncio.new_event_loop()
    database.owner = elsewhere
    assert (type(database.read()), type(database.write())) == (ReadSession, WriteSession)
    await database.dispose()
    database.owner = None
    elsewhere.close()


async def test_another_failure_of_a_flush_is_raised(plain: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise FlushError("another failure")

    async with plain.write() as session:
        session.add(note("a"))
        monkeypatch.setattr(Session, "flush", fail)
        with pytest.raises(FlushError, match="another failure"):
            await session.flush()
        monkeypatch.undo()


async def test_the_plain_session_notices_rows_that_a_trigger_leaves_out(plain: Database) -> None:
    async with left_out(plain, "fast_note", "NEW.text = 'b'"):
        for rows in (
            [note("b")],
            [note("a"), note("b")],
            [note("b", id=10**6)],
            [note("a", id=10**6 + 1), note("b", id=10**6)],
        ):
            async with plain.write() as session:
                session.add_all(rows)
                with pytest.raises(NotStored):
                    await session.flush()
    assert await texts(plain) == []


class ShelfWithLabel(ShelfCreate):
    """A body with another one in it, which becomes a related row."""

    label: ShelfCreate | None = None


def test_a_body_with_another_one_in_it_is_validated_again() -> None:
    assert defaults_of(Shelf, ShelfCreate) is not None
    assert defaults_of(Shelf, ShelfWithLabel) is None


class ShelfOfThree(ShelfCreate):
    """A body with another bound than the table."""

    name: str = Field(max_length=3)


def test_a_body_with_other_rules_than_the_table_is_validated_again() -> None:
    assert defaults_of(Shelf, ShelfOfThree) is None
