"""Sessions: `Session` and `ReadSession` do what SQLAlchemy documents of an `AsyncSession`."""

import asyncio
from contextlib import nullcontext, suppress
from datetime import timedelta
from typing import Any

import pytest
from fastapi import APIRouter, BackgroundTasks, HTTPException
from fastapi.responses import PlainTextResponse
from sqlalchemy import delete, func, insert, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, NoResultFound
from sqlalchemy.orm import defer, load_only
from sqlalchemy.orm.exc import StaleDataError
from sqlmodel import col, select

from kit import Database, ReadSession, Session, now
from kit.database.sessions import WriteSession
from kit.operations.idempotency import StoredResponse
from tests.engines import on_postgresql
from tests.kit.habits.items import NO_BOX, HabitBox, HabitItem, HabitItemRead

NAME: Any = HabitItem.name
SIZE: Any = HabitItem.size
NAMES = select(HabitItem.name).order_by(col(HabitItem.id))
KEY = {"Idempotency-Key": "k"}


@pytest.fixture
async def stored(database: Database) -> None:
    """Store three items."""
    async with database.write() as session, session.begin():
        session.add_all([HabitItem(name=name, size=size) for size, name in enumerate("abc")])


@pytest.mark.usefixtures("stored")
async def test_both_sessions_read(router: APIRouter, serve: Any) -> None:
    async def read(session: Any) -> list[Any]:
        one = await session.get(HabitItem, 1)
        narrow = await session.get(HabitItem, 2, options=[load_only(NAME)])
        assert (await session.get_one(HabitItem, 3)).name == "c"
        with pytest.raises(NoResultFound):
            await session.get_one(HabitItem, 4)
        assert await session.get(HabitItem, 4) is None
        rows = (await session.exec(select(HabitItem).options(defer(SIZE)).order_by(col(HabitItem.id)))).all()
        await session.refresh(one)
        streamed = [name async for name in await session.stream_scalars(NAMES)]
        assert [row[0] async for row in await session.stream(NAMES)] == streamed
        return [
            one.name,
            narrow.name,
            [row.name for row in rows],
            list((await session.scalars(NAMES)).all()),
            await session.scalar(select(func.count()).select_from(HabitItem)),
            [tuple(row) for row in (await session.execute(text("SELECT name FROM habit_item ORDER BY id"))).all()],
            streamed,
            await session.run_sync(lambda sync: sync.get(HabitItem, 1).name),
        ]

    @router.get("/a")
    async def reading(session: ReadSession) -> list[Any]:
        return await read(session)

    @router.post("/a")
    async def writing(session: Session) -> list[Any]:
        return await read(session)

    client = await serve(router)
    expected = ["a", "b", ["a", "b", "c"], ["a", "b", "c"], 3, [["a"], ["b"], ["c"]], ["a", "b", "c"], "a"]
    assert (await client.get("/a")).json() == expected
    assert (await client.post("/a")).json() == expected


async def by_parts(session: Any) -> list[str]:
    return await session.run_sync(lambda sync: list(sync.scalars(NAMES.execution_options(yield_per=1))))  # type: ignore[no-any-return]


async def by_options(session: Any) -> list[str]:
    options = {"stream_results": True}
    return await session.run_sync(lambda sync: sync.scalars(NAMES, execution_options=options).all())  # type: ignore[no-any-return]


async def by_stream(session: Any) -> list[str]:
    return [name async for name in await session.stream_scalars(NAMES)]


async def by_stream_in_block(session: Any) -> list[str]:
    async with session.begin():
        return await by_stream(session)


async def by_stream_of_connection(session: Any) -> list[str]:
    connection = await session.connection()
    async with connection.begin_nested():
        return [name async for name in await connection.stream_scalars(NAMES)]


async def by_connection_with_options(session: Any) -> list[str]:
    await session.commit()
    connection = await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
    return (await connection.scalars(NAMES)).all()  # type: ignore[no-any-return]


async def in_savepoint(session: Any) -> list[str]:
    async with session.begin_nested():
        names = (await session.scalars(NAMES)).all()
    with pytest.raises(DBAPIError):
        async with session.begin_nested():
            await session.execute(text("SELECT nonsense FROM habit_item"))
    assert len((await session.scalars(NAMES)).all()) == len(names)
    return names  # type: ignore[no-any-return]


@pytest.mark.each_engine
@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    "names_by",
    [
        by_options,
        by_parts,
        by_stream,
        by_stream_in_block,
        by_stream_of_connection,
        by_connection_with_options,
        in_savepoint,
    ],
)
async def test_a_session_that_reads_has_cursors_and_savepoints(router: APIRouter, serve: Any, names_by: Any) -> None:
    @router.get("/")
    async def read(session: ReadSession) -> list[str]:
        await session.get(HabitItem, 1)  # by the first connection, in autocommit
        await session.commit()
        return [*await names_by(session), *await names_by(session)]

    assert (await (await serve(router)).get("/")).json() == [*"abcabc"]


@pytest.mark.usefixtures("stored")
async def test_the_session_writes_in_every_way(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/a")
    async def write(session: Session) -> list[str]:
        session.add(HabitItem(name="added"))
        session.add_all([HabitItem(name="first"), HabitItem(name="second")])
        await session.flush()
        await session.delete(await session.get_one(HabitItem, 1))
        await session.exec(update(HabitItem).where(col(HabitItem.id) == 2).values(name="updated"))
        await session.exec(delete(HabitItem).where(col(HabitItem.id) == 3))
        await session.execute(insert(HabitItem), [{"name": "inserted", "version": 1, "diary": "x"}])
        merged = await session.merge(HabitItem(id=2, name="merged", version=2))
        assert merged in session
        passing = HabitItem(name="expunged")
        session.add(passing)
        session.expunge(passing)
        await session.run_sync(lambda sync: sync.add(HabitItem(name="sync")))
        assert session.in_transaction()
        return list(await session.exec(NAMES))

    client = await serve(router)
    answer = await client.post("/a")
    expected = ["merged", "added", "first", "second", "inserted", "sync"]
    assert answer.json() == expected
    assert await names() == expected


async def test_a_savepoint_undoes_a_part(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/a")
    async def write(session: Session) -> str:
        session.add(HabitBox(name="box"))
        await session.flush()
        try:
            async with session.begin_nested():
                session.add(HabitItem(name="undone"))
                session.add(HabitBox(name="box"))
        except IntegrityError:
            session.add(HabitItem(name="kept"))
        return "done"

    client = await serve(router)
    assert (await client.post("/a")).json() == "done"
    assert await names() == ["kept"]


KEYS = pytest.mark.parametrize("headers", [{}, KEY], ids=["without key", "with key"])


@KEYS
async def test_a_handler_may_commit_and_refresh_as_the_tutorial_does(
    router: APIRouter, serve: Any, names: Any, headers: Any
) -> None:
    @router.post("/a", response_model=HabitItemRead)
    async def write(session: Session) -> HabitItem:
        item = HabitItem(name="cup")
        session.add(item)
        await session.commit()
        await session.refresh(item)
        return item

    client = await serve(router)
    answer = await client.post("/a", headers=headers)
    assert (answer.json()["id"], answer.json()["name"]) == (1, "cup")
    assert await names() == ["cup"]


@KEYS
async def test_committed_changes_stay_if_the_handler_fails_later(
    router: APIRouter, serve: Any, names: Any, headers: Any
) -> None:
    @router.post("/a")
    async def write(session: Session) -> None:
        session.add(HabitItem(name="attempt"))
        await session.commit()
        session.add(HabitItem(name="undone"))
        await session.flush()
        raise HTTPException(403, "No.")

    client = await serve(router)
    assert (await client.post("/a", headers=headers)).status_code == 403
    assert await names() == ["attempt"]


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("status", [403, 500])
async def test_committed_changes_are_not_repeated_for_the_same_key(
    router: APIRouter, serve: Any, names: Any, status: int
) -> None:
    @router.post("/a")
    async def write(session: Session) -> None:
        session.add(HabitItem(name="attempt"))
        await session.commit()
        raise HTTPException(status, "No.")

    client = await serve(router)
    assert (await client.post("/a", headers=KEY)).status_code == status
    again = await client.post("/a", headers=KEY)
    assert again.status_code == (status if status < 500 else 409)
    assert await names() == ["attempt"]


@KEYS
async def test_a_handler_may_roll_back_and_go_on(router: APIRouter, serve: Any, names: Any, headers: Any) -> None:
    @router.post("/a")
    async def write(session: Session) -> str:
        session.add(HabitItem(name="undone"))
        await session.flush()
        await session.rollback()
        session.add(HabitItem(name="kept"))
        return "done"

    client = await serve(router)
    assert (await client.post("/a", headers=headers)).json() == "done"
    assert await names() == ["kept"]
    if headers:
        await client.post("/a", headers=headers)


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("ending", ["commit", "rollback", "begin"])
async def test_a_key_works_whatever_the_handler_does_with_its_transaction(
    router: APIRouter, serve: Any, names: Any, ending: str
) -> None:
    @router.post("/a")
    async def write(session: Session) -> str:
        if ending == "begin":
            async with session.begin():
                session.add(HabitItem(name="first"))
        else:
            session.add(HabitItem(name="first"))
            await getattr(session, ending)()
        session.add(HabitItem(name="second"))
        return "done"

    client = await serve(router)
    first, again = await client.post("/a", headers=KEY), await client.post("/a", headers=KEY)
    assert first.json() == again.json() == "done"
    assert again.headers["idempotency-replayed"] == "true"
    assert await names() == (["second"] if ending == "rollback" else ["first", "second"])


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("failure", [HTTPException(503, "No."), ZeroDivisionError(), ConnectionResetError("shop")])
async def test_a_key_whose_handler_committed_and_failed_is_interrupted(
    router: APIRouter, serve: Any, names: Any, failure: Exception
) -> None:
    @router.post("/a")
    async def write(session: Session) -> None:
        session.add(HabitItem(name="part"))
        await session.commit()
        session.add(HabitItem(name="undone"))
        await session.flush()
        raise failure

    client = await serve(router)
    assert (await client.post("/a", headers=KEY)).status_code >= 500
    again = await client.post("/a", headers=KEY)
    assert (again.status_code, again.json()["type"]) == (409, "urn:problem:broken-off")
    assert "Retry-After" not in again.headers
    assert await names() == ["part"]


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize(("age", "kind"), [(0, "in-flight"), (100, "broken-off"), (90_000, None)])
async def test_a_key_whose_process_ended_after_a_commit_is_interrupted_later(
    router: APIRouter, serve: Any, database: Database, age: int, kind: str | None
) -> None:
    @router.post("/a")
    async def write(session: Session) -> str:
        session.add(HabitItem(name="cup"))
        return "done"

    client = await serve(router)
    await client.post("/a", headers=KEY)
    async with database.write() as session:
        then = now() - timedelta(seconds=age)
        await session.exec(update(StoredResponse).values(status=0, created_at=then))
        await session.commit()
    again = await client.post("/a", headers=KEY)
    assert (again.json() == "done") if kind is None else (again.json()["type"] == f"urn:problem:{kind}")


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_a_response_that_cannot_be_stored_leaves_no_key_in_flight(
    router: APIRouter, serve: Any, names: Any
) -> None:
    @router.post("/a")
    async def write(session: Session) -> PlainTextResponse:
        session.add(HabitItem(name="cup"))
        await session.commit()
        return PlainTextResponse("secret", headers={"Cache-Control": "no-store"})

    client = await serve(router)
    assert (await client.post("/a", headers=KEY)).status_code == 422
    assert (await client.post("/a", headers=KEY)).json()["type"] == "urn:problem:broken-off"
    assert await names() == ["cup"]


@KEYS
async def test_a_handler_may_begin_itself(router: APIRouter, serve: Any, names: Any, headers: Any) -> None:
    @router.post("/a")
    async def write(session: Session) -> str:
        async with session.begin():
            session.add(HabitItem(name="first"))
        async with session.begin():
            session.add(HabitItem(name="second"))
        return "done"

    client = await serve(router)
    assert (await client.post("/a", headers=headers)).json() == "done"
    assert await names() == ["first", "second"]


@KEYS
async def test_a_handler_may_catch_a_database_error_and_respond(
    router: APIRouter, serve: Any, names: Any, headers: Any
) -> None:
    @router.post("/a")
    async def write(session: Session) -> str:
        session.add_all([HabitBox(name="box"), HabitBox(name="box")])
        try:
            await session.commit()
        except IntegrityError as failure:
            await session.rollback()
            raise HTTPException(409, "There is such a box.") from failure
        return "done"

    client = await serve(router)
    answer = await client.post("/a", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (409, "There is such a box.")


@pytest.mark.parametrize("way", ["resource"], indirect=True)
async def test_a_handler_that_has_committed_is_not_run_again(router: APIRouter, serve: Any, names: Any) -> None:
    calls: list[int] = []

    @router.post("/a")
    async def write(session: Session) -> None:
        calls.append(1)
        session.add(HabitItem(name="once"))
        async with session.begin_nested():
            pass
        await session.commit()
        raise StaleDataError("another version")

    client = await serve(router)
    assert (await client.post("/a")).status_code == 409
    assert calls == [1]
    assert await names() == ["once"]


async def test_a_conflict_at_commit_is_a_409(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/a")
    async def write(session: Session) -> None:
        session.add(HabitItem(name="cup", box_id=NO_BOX))

    client = await serve(router)
    answer = await client.post("/a")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:problem:missing-reference")
    assert await names() == []


async def by_connection(session: Any, statement: Any) -> None:
    await session.connection()
    await (await session.connection()).execute(statement)


WRITES: dict[str, Any] = {
    "connection": lambda session: by_connection(session, delete(HabitItem)),
    "text of a connection": lambda session: by_connection(session, text("DELETE FROM habit_item")),
    "bulk": lambda session: session.run_sync(lambda sync: sync.bulk_save_objects([HabitItem(name="cup")])),
    "add": lambda session: session.add(HabitItem(name="cup")),
    "add_all": lambda session: session.add_all([HabitItem(name="cup")]),
    "merge": lambda session: session.merge(HabitItem(name="cup")),
    "insert": lambda session: session.exec(insert(HabitItem).values(name="cup", version=1, diary="")),
    "update": lambda session: session.exec(update(HabitItem).values(name="cup")),
    "delete": lambda session: session.exec(delete(HabitItem)),
    "text": lambda session: session.execute(text("DELETE FROM habit_item")),
    "table": lambda session: session.execute(delete(HabitItem.__table__)),  # type: ignore[attr-defined]
}


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("name", WRITES)
async def test_a_session_that_reads_refuses_to_write(
    router: APIRouter, serve: Any, names: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    @router.get("/a")
    async def read(session: ReadSession) -> None:
        result = WRITES[name](session)
        if result is not None:
            await result
        await session.commit()

    client = await serve(router)
    assert (await client.get("/a")).status_code >= 500
    assert await names() == ["a", "b", "c"]
    assert "A ReadSession does not write: take Session" in caplog.text


@pytest.mark.usefixtures("stored")
async def test_a_change_of_a_row_that_was_read_is_refused(
    router: APIRouter, serve: Any, names: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @router.get("/a")
    async def read(session: ReadSession) -> None:
        item = await session.get_one(HabitItem, 1)
        item.name = "changed"
        await session.commit()

    client = await serve(router)
    assert (await client.get("/a")).status_code == 500
    assert "A ReadSession does not write" in caplog.text
    assert await names() == ["a", "b", "c"]


async def test_both_sessions_of_a_writing_handler_see_the_same_rows(database: Database) -> None:
    async with database.write() as session:
        assert isinstance(session, WriteSession)
        session.add(HabitItem(name="cup"))
        assert list(await session.exec(NAMES)) == ["cup"]


@pytest.mark.parametrize("first", ["Session", "ReadSession"])
async def test_what_a_session_writes_the_other_one_of_the_request_reads(
    router: APIRouter, serve: Any, names: Any, first: str
) -> None:
    if first == "Session":

        @router.post("/items")
        async def create(session: Session, reads: ReadSession) -> list[str]:
            session.add(HabitItem(name="cup"))
            await session.flush()
            return list(await reads.exec(select(HabitItem.name)))
    else:

        @router.post("/items")
        async def create_after(reads: ReadSession, session: Session) -> list[str]:
            session.add(HabitItem(name="cup"))
            await session.flush()
            return list(await reads.exec(select(HabitItem.name)))

    client = await serve(router)
    assert (await client.post("/items")).json() == ["cup"]
    assert await names() == ["cup"]


async def test_the_session_that_reads_beside_one_that_writes_gathers(router: APIRouter, serve: Any) -> None:
    async def name(session: ReadSession) -> Any:
        return (await session.exec(select(HabitItem.name))).one()

    @router.post("/items")
    async def create(session: Session, reads: ReadSession) -> list[str]:
        session.add(HabitItem(name="cup"))
        return await reads.gather(name, name)

    assert (await (await serve(router)).post("/items")).json() == ["cup", "cup"]


@on_postgresql
@pytest.mark.each_engine
@pytest.mark.usefixtures("stored")
async def test_settings_of_a_transaction_last_as_long_as_the_session(router: APIRouter, serve: Any) -> None:
    setting = func.current_setting("kit.tenant", True)

    @router.get("/set")
    async def read(session: ReadSession, is_local: bool, as_text: bool) -> Any:
        given = text(f"SELECT set_config('kit.tenant', '7', {is_local})")
        await session.execute(given if as_text else select(func.set_config("kit.tenant", "7", is_local)))
        return [await session.scalar(select(setting)), (await session.get_one(HabitItem, 1)).name]

    @router.get("/left")
    async def left(session: ReadSession) -> Any:
        return await session.scalar(select(setting))

    client = await serve(router)
    for is_local in (True, False):
        for as_text in (True, False):
            answer = await client.get("/set", params={"is_local": is_local, "as_text": as_text})
            assert answer.json() == ["7", "a"]
            assert not (await client.get("/left")).json()


@pytest.mark.parametrize("headers", [{}, KEY])
async def test_a_second_session_for_writing_is_refused_while_the_request_holds_the_only_connection(
    router: APIRouter, serve: Any, names: Any, database: Database, caplog: Any, way: str, headers: dict[str, str]
) -> None:
    async def write_second() -> None:
        async with database.write() as second, second.begin():
            second.add(HabitItem(name="second"))

    @router.post("/first")
    async def write_both(session: Session) -> None:
        session.add(HabitItem(name="first"))
        await session.flush()
        await write_second()

    @router.post("/after")
    async def write_after(session: Session, tasks: BackgroundTasks) -> None:
        session.add(HabitItem(name="first"))
        tasks.add_task(write_second)

    client = await serve(router)
    if database.writer.dialect.name == "postgresql":
        assert (await client.post("/first", headers=headers)).status_code == 200
    else:
        assert (await client.post("/first", headers=headers)).status_code == 500
        assert "open the second session in a background task" in caplog.text
        assert (await client.post("/after", headers=headers)).status_code == 200
    assert sorted(await names()) == ["first", "second"]


async def test_a_session_of_another_task_waits_for_that_of_the_request(
    router: APIRouter, serve: Any, names: Any, database: Database
) -> None:
    tasks = list[Any]()

    async def write_second() -> None:
        async with database.write() as second, second.begin():
            second.add(HabitItem(name="second"))

    @router.post("/first")
    async def write_first(session: Session) -> None:
        session.add(HabitItem(name="first"))
        await session.flush()
        tasks.append(asyncio.create_task(write_second()))
        await asyncio.sleep(0.01)

    assert (await (await serve(router)).post("/first")).status_code == 200
    await tasks[0]
    assert sorted(await names()) == ["first", "second"]


async def test_a_transaction_with_a_failed_statement_is_not_committed_unless_a_savepoint_undid_it(
    router: APIRouter, serve: Any, names: Any
) -> None:
    @router.post("/{way}")
    async def write(way: str, session: Session) -> str:
        session.add(HabitItem(name=way))
        await session.flush()
        with suppress(DBAPIError):
            async with session.begin_nested() if way == "undone" else nullcontext():
                await session.execute(text("SELECT nonsense"))
        if way == "explicit":
            await session.commit()
        return "done"

    client = await serve(router)
    for way, status, stored in (("caught", 500, []), ("explicit", 500, []), ("undone", 200, ["undone"])):
        assert ((await client.post(f"/{way}")).status_code, await names()) == (status, stored)


async def test_after_a_failed_statement_further_ones_are_refused_until_it_is_undone(
    router: APIRouter, serve: Any, names: Any
) -> None:
    @router.post("/items")
    async def write(session: Session) -> str:
        session.add(HabitItem(name="kept"))
        await session.flush()
        await session.execute(text("SAVEPOINT one"))
        with suppress(DBAPIError):
            await session.execute(text("SELECT nonsense"))
        for reading in (select(HabitItem), text("SELECT 1")):
            with pytest.raises(DBAPIError, match="has failed before this one"):
                await session.execute(reading)
        await session.execute(text(" rollback to one"))
        return str(await session.scalar(text("SELECT 1")))

    client = await serve(router)
    assert ((await client.post("/items")).json(), await names()) == ("1", ["kept"])


async def test_a_session_that_reads_goes_on_after_a_failed_statement(router: APIRouter, serve: Any) -> None:
    @router.get("/")
    async def count(session: ReadSession) -> int:
        with suppress(DBAPIError):
            await session.execute(text("SELECT nonsense"))
        async with session.begin_nested():
            return await session.scalar(select(func.count(col(HabitItem.id)))) or 0

    assert (await (await serve(router)).get("/")).json() == 0


@pytest.mark.parametrize("ending", ["ROLLBACK", "commit;", "-- now\n  END", "/* all */ rollback work"])
async def test_sql_text_does_not_end_a_transaction_unnoticed(
    router: APIRouter, serve: Any, names: Any, ending: str
) -> None:
    @router.post("/text")
    async def write(session: Session) -> str:
        session.add(HabitItem(name="lost"))
        await session.flush()
        with pytest.raises(InvalidRequestError, match=r"write `await session\.commit\(\)`"):
            await session.execute(text(ending))
        return "done"

    client = await serve(router)
    assert ((await client.post("/text")).status_code, await names()) == (200, ["lost"])


async def test_sql_text_may_set_savepoints(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/text")
    async def write(session: Session) -> str:
        for name, command in (
            ("kept", "SAVEPOINT one"),
            ("undone", "ROLLBACK TO SAVEPOINT one"),
            ("end", "RELEASE one"),
        ):
            session.add(HabitItem(name=name))
            await session.flush()
            await session.execute(text(command))
        return "done"

    client = await serve(router)
    assert ((await client.post("/text")).status_code, await names()) == (200, ["kept", "end"])
