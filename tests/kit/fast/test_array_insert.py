"""Array inserts: on a savepoint, many rows are stored by the driver as SQLAlchemy stores them."""

from decimal import Decimal

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import col, select

from kit.auth.checked_sessions import NotStored
from kit.database.databases import Database
from kit.fast import array_insert, multi_row_inserts
from tests.kit.fast.notes import Colour, FastLabel, FastNote, Size, note


async def insert(database: Database, *rows: FastNote | FastLabel) -> None:
    async with database.write() as session:
        async with session.begin_nested():
            await session.insert_all(rows)
        assert all(row in session for row in rows)
        assert not session.dirty
        await session.commit()


async def stored(database: Database) -> list[FastNote]:
    async with database.read() as session:
        return list((await session.exec(select(FastNote).order_by(col(FastNote.id)))).all())


def values(row: FastNote) -> dict[str, object]:
    return {name: getattr(row, name) for name in FastNote.model_fields}


async def test_the_rows_are_those_that_sqlalchemy_stores(database: Database, plain: Database) -> None:
    rows = [
        note(f"{number} é,{{}}\"'\\", stars=number or None, price=Decimal("0.10") * number, colour=Colour.BLUE)
        for number in range(120)
    ]
    rows[3].size, rows[4].owner_id = Size.LARGE, 7
    await insert(database, *rows)
    assert [values(row) for row in await stored(plain)] == [values(row) for row in rows]


async def test_the_ids_ascend_in_the_order_of_the_rows(database: Database) -> None:
    rows = [FastLabel(text=text) for text in "cab"]
    await insert(database, *rows)
    notes = [note(text) for text in "cab"]
    await insert(database, *notes)
    assert [row.id for row in notes] == sorted(row.id for row in notes)


async def test_the_rows_may_have_ids(database: Database, plain: Database) -> None:
    await insert(database, note("b", id=10**6 + 2), note("a", id=10**6 + 1))
    assert [row.text for row in await stored(plain)] == ["a", "b"]


async def test_text_that_is_too_long_is_refused_and_not_shortened(database: Database, plain: Database) -> None:
    with pytest.raises(DBAPIError):
        await insert(database, note("a"), note("x" * 101))
    assert await stored(plain) == []


async def test_after_a_refused_insert_the_transaction_continues(database: Database, plain: Database) -> None:
    async with database.write() as session:
        with pytest.raises(IntegrityError, match="INSERT INTO fast_note"):
            async with session.begin_nested():
                await session.insert_all([note("a"), note("a")])
        async with session.begin_nested():
            await session.insert_all([note("b"), note("c")])
        await session.commit()
    assert [row.text for row in await stored(plain)] == ["b", "c"]


async def test_rows_that_are_left_out_are_noticed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.fast.bulk_insert.insert_by_driver", lambda *_: [1])
    with pytest.raises(NotStored):
        await insert(database, note("a"), note("b"))


async def test_a_listener_to_statements_sees_the_insert(database: Database) -> None:
    seen: list[str] = []

    def listen(_: object, __: object, statement: str, *___: object) -> None:
        seen.append(statement)

    engine = database.writer.sync_engine
    event.listen(engine, "before_cursor_execute", listen)
    try:
        await insert(database, note("a"), note("b"))
    finally:
        event.remove(engine, "before_cursor_execute", listen)
    assert any(statement.startswith("INSERT INTO fast_note") for statement in seen)


async def test_an_insert_is_compiled_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await insert(database, note("a"), note("b"))
    monkeypatch.setattr(array_insert.ArrayInsert, "__init__", lambda *_, **__: pytest.fail("compiled again"))
    await insert(database, note("c"), note("d"), note("e"))


@pytest.mark.parametrize("most", [1, 20, 5000])
async def test_few_statements_store_many_rows(
    database: Database, plain: Database, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(multi_row_inserts, "MAX_PARAMETERS", most)
    rows = [note(f"{number} VALUES (") for number in range(11)]
    await insert(database, *rows)
    assert [values(row) for row in await stored(plain)] == [values(row) for row in rows]


def test_an_insert_for_many_rows_has_the_parameters_of_each() -> None:
    sql = 'INSERT INTO "a VALUES b" (c, d) VALUES (?, lower(?))'
    assert multi_row_inserts.for_rows(sql, 2) == f"{sql}, (?, lower(?))"


def test_rows_that_return_their_ids_are_inserted_by_statements_of_few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "INSERT INTO a (b, c) VALUES (?, ?) RETURNING id"
    inserts = list(multi_row_inserts.inserts_of_many(sql, [(n, -n) for n in range(7)]))
    assert [len(arguments) // 2 for _, _, arguments in inserts] == [4, 2, 1]
    assert inserts[1] == ("insert", "INSERT INTO a (b, c) VALUES (?, ?), (?, ?) RETURNING id", [4, -4, 5, -5])
    monkeypatch.setattr(multi_row_inserts, "MAX_PARAMETERS", 1)
    assert len(list(multi_row_inserts.inserts_of_many(sql, [(1, 2), (3, 4)]))) == 2
