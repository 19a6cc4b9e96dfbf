"""Ownership: a restricted session changes and shows only rows of the principal, however it is asked."""

from collections.abc import AsyncIterator, Awaitable, Callable
from types import MappingProxyType
from typing import Any, cast

import pytest
from sqlalchemy import MetaData, delete, insert, text, update
from sqlalchemy.orm import aliased, registry, relationship, selectinload
from sqlmodel import Field, Relationship, SQLModel, col, func, select

from kit import CURRENT_PRINCIPAL, UNRESTRICTED, Database, Entity, Principal, Problem
from kit.auth.ownership import OwnershipError, ReadOnlyError
from kit.database.sessions import ReadSession, WriteSession
from tests.engines import url_for

ANN, BOB = 1, 2
tables = MetaData()
own: Any = registry(metadata=tables)


class _Entity(Entity, registry=own):
    """An entity of these tests."""


class OwnUser(_Entity, table=True):
    __tablename__ = "own_user"
    belongs_to = "id"
    reserved = MappingProxyType({"is_admin": False})
    name: str = Field(max_length=20)
    is_admin: bool = False


class OwnInvoice(_Entity, table=True):
    __tablename__ = "own_invoice"
    belongs_to = "owner_id"
    owner_id: int | None = Field(default=None, foreign_key="own_user.id")
    number: str = Field(max_length=20)
    lines: list[Any] = Relationship(sa_relationship=relationship("OwnLine", lazy="raise"))


class OwnLine(_Entity, table=True):
    """Belongs to whoever owns its invoice."""

    __tablename__ = "own_line"
    belongs_to = "invoice_id"
    invoice_id: int | None = Field(default=None, foreign_key="own_invoice.id")
    amount: int
    invoice: Any = Relationship(sa_relationship=relationship("OwnInvoice", lazy="raise", overlaps="lines"))


class OwnPlace(_Entity, table=True):
    """Belongs to nobody."""

    __tablename__ = "own_place"
    name: str = Field(max_length=20)


class _Table(SQLModel, registry=own):
    """No entity."""


class OwnAudit(_Table, table=True):
    """No entity: a table on the side."""

    __tablename__ = "own_audit"
    id: int | None = Field(default=None, primary_key=True)
    what: str = Field(max_length=20)


@pytest.fixture
async def database(new_database: Any) -> AsyncIterator[Database]:
    """Ann and Bob, each with an invoice that has one line: user 1 owns invoice 1 with line 1, and so on."""
    database = Database(url_for(await new_database()))
    async with database.writer.begin() as connection:
        await connection.run_sync(tables.create_all)
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    async with database.write() as session, session.begin():
        session.add_all([OwnUser(name="Ann"), OwnUser(name="Bob")])
        await session.flush()
        session.add_all([OwnInvoice(number="A", owner_id=ANN), OwnInvoice(number="B", owner_id=BOB)])
        session.add(OwnPlace(name="Paris"))
        await session.flush()
        session.add_all([OwnLine(invoice_id=1, amount=10), OwnLine(invoice_id=2, amount=20)])
    CURRENT_PRINCIPAL.set(Principal(ANN))
    yield database
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    await database.dispose()


async def add(session: WriteSession, row: object) -> None:
    session.add(row)
    await session.flush()


async def change(session: WriteSession, kind: Any, ident: int, **values: Any) -> None:
    row = (await session.exec(select(kind).where(kind.id == ident))).one()
    for name, value in values.items():
        setattr(row, name, value)
    await session.flush()


async def delete_row(session: WriteSession, kind: Any, ident: int) -> None:
    await session.delete((await session.exec(select(kind).where(kind.id == ident))).one())
    await session.flush()


async def move_by_relationship(session: WriteSession) -> None:
    """Bob's line is taken over into Ann's invoice."""
    ours = (await session.exec(select(OwnInvoice).where(OwnInvoice.id == 1).options(selectinload("*")))).one()
    ours.lines.append((await session.exec(select(OwnLine).where(OwnLine.id == 2))).one())
    await session.flush()


async def save_mappings(session: WriteSession) -> None:
    await session.run_sync(
        lambda sync: sync.bulk_update_mappings(cast("Any", OwnInvoice), [{"id": 2, "version": 1, "number": "x"}])
    )


Attempt = Callable[[WriteSession], Awaitable[Any]]
REFUSED: dict[str, Attempt] = {
    "get": lambda session: session.get(OwnInvoice, 2),
    "change an attribute": lambda session: change(session, OwnInvoice, 2, number="x"),
    "change a child": lambda session: change(session, OwnLine, 2, amount=1),
    "change another user": lambda session: change(session, OwnUser, BOB, name="x"),
    "delete": lambda session: delete_row(session, OwnInvoice, 2),
    "delete a child": lambda session: delete_row(session, OwnLine, 2),
    "add for another": lambda session: add(session, OwnInvoice(number="C", owner_id=BOB)),
    "add for nobody": lambda session: add(session, OwnInvoice(number="C", owner_id=None)),
    "add to another's parent": lambda session: add(session, OwnLine(invoice_id=2, amount=1)),
    "add to a parent that is absent": lambda session: add(session, OwnLine(invoice_id=77, amount=1)),
    "add without a parent": lambda session: add(session, OwnLine(amount=1)),
    "add to another's new parent": lambda session: add(
        session, OwnLine(invoice=OwnInvoice(number="C", owner_id=BOB), amount=1)
    ),
    "give away": lambda session: change(session, OwnInvoice, 1, owner_id=BOB),
    "give to nobody": lambda session: change(session, OwnInvoice, 1, owner_id=None),
    "take over": lambda session: change(session, OwnInvoice, 2, owner_id=ANN),
    "move into another's": lambda session: change(session, OwnLine, 1, invoice_id=2),
    "move out of another's": lambda session: change(session, OwnLine, 2, invoice_id=1),
    "move by a relationship": move_by_relationship,
    "update one": lambda session: session.exec(update(OwnInvoice).where(col(OwnInvoice.id) == 2).values(number="x")),
    "update all": lambda session: session.exec(update(OwnInvoice).values(number="x")),
    "update children": lambda session: session.exec(update(OwnLine).values(amount=0)),
    "update by a subquery": lambda session: session.exec(
        update(OwnLine)
        .where(col(OwnLine.invoice_id).in_(select(OwnInvoice.id).where(OwnInvoice.number == "B")))
        .values(amount=0)
    ),
    "update by key": lambda session: session.execute(update(OwnInvoice), [{"id": 2, "version": 1, "number": "x"}]),
    "update the owner": lambda session: session.exec(
        update(OwnInvoice).where(col(OwnInvoice.id) == 1).values(owner_id=BOB)
    ),
    "delete by a statement": lambda session: session.exec(delete(OwnLine).where(col(OwnLine.amount) > 0)),
    "insert by a statement": lambda session: session.execute(insert(OwnInvoice), [{"number": "C", "owner_id": BOB}]),
    "insert children": lambda session: session.execute(insert(OwnLine), [{"invoice_id": 2, "amount": 1}]),
    "insert all": lambda session: session.insert_all([OwnInvoice(number="C", owner_id=BOB)]),
    "add what belongs to nobody": lambda session: add(session, OwnPlace(name="Rome")),
    "change what belongs to nobody": lambda session: session.exec(update(OwnPlace).values(name="Rome")),
}
UNJUDGED: dict[str, Attempt] = {
    "text": lambda session: session.exec(cast("Any", text("UPDATE own_invoice SET number = 'x'"))),
    "the table itself": lambda session: session.exec(update(cast("Any", OwnInvoice).__table__).values(number="x")),
    "an insert of values": lambda session: session.exec(insert(OwnInvoice).values(number="C", owner_id=BOB)),
    "an insert of a select": lambda session: session.exec(
        insert(OwnLine).from_select(["invoice_id", "amount"], select(OwnInvoice.id, OwnInvoice.version))
    ),
    "the connection": lambda session: session.connection(),
    "mappings": save_mappings,
}
ALLOWED: dict[str, Attempt] = {
    "get": lambda session: session.get(OwnInvoice, 1),
    "change an attribute": lambda session: change(session, OwnInvoice, 1, number="x"),
    "change a child": lambda session: change(session, OwnLine, 1, amount=1),
    "change oneself": lambda session: change(session, OwnUser, ANN, name="x"),
    "add": lambda session: add(session, OwnInvoice(number="C", owner_id=ANN)),
    "add a child": lambda session: add(session, OwnLine(invoice_id=1, amount=1)),
    "add a child of a new parent": lambda session: add(
        session, OwnLine(invoice=OwnInvoice(number="C", owner_id=ANN), amount=1)
    ),
    "delete a child": lambda session: delete_row(session, OwnLine, 1),
    "update one": lambda session: session.exec(update(OwnInvoice).where(col(OwnInvoice.id) == 1).values(number="x")),
    "update nothing": lambda session: session.exec(update(OwnLine).where(col(OwnLine.amount) > 99).values(amount=0)),
    "delete by a statement": lambda session: session.exec(delete(OwnLine).where(col(OwnLine.invoice_id) == 1)),
    "insert by a statement": lambda session: session.execute(insert(OwnLine), [{"invoice_id": 1, "amount": 1}]),
    "write a table on the side": lambda session: add(session, OwnAudit(what="seen")),
    "change a table on the side": lambda session: session.exec(update(OwnAudit).values(what="seen")),
}


async def numbers(database: Database) -> list[str]:
    """The numbers of all invoices, and the amounts of all lines."""
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    async with database.read() as session:
        rows = [*await session.exec(select(OwnInvoice.number)), *await session.exec(select(OwnLine.amount))]
    return sorted(map(str, rows))


@pytest.mark.parametrize("way", REFUSED)
async def test_a_row_of_another_is_not_changed(database: Database, way: str) -> None:
    async with database.write(restricted=True) as session:
        with pytest.raises(Problem) as refused:
            await REFUSED[way](session)
    assert refused.value.status_code == 403
    assert await numbers(database) == ["10", "20", "A", "B"]


@pytest.mark.parametrize("way", UNJUDGED)
async def test_what_cannot_be_judged_is_refused(database: Database, way: str) -> None:
    async with database.write(restricted=True) as session:
        with pytest.raises(OwnershipError):
            await UNJUDGED[way](session)
    assert await numbers(database) == ["10", "20", "A", "B"]


@pytest.mark.parametrize("way", ALLOWED)
async def test_rows_of_the_principal_are_changed(database: Database, way: str) -> None:
    async with database.write(restricted=True) as session, session.begin():
        await ALLOWED[way](session)


@pytest.mark.parametrize("way", [way for way in (*REFUSED, *UNJUDGED) if way != "add to a parent that is absent"])
async def test_a_superuser_may_do_all_that(database: Database, way: str) -> None:
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    async with database.write(restricted=True) as session:
        await (REFUSED | UNJUDGED)[way](session)


async def test_what_only_superusers_set_keeps_its_value(database: Database) -> None:
    async with database.write(restricted=True) as session, session.begin():
        await change(session, OwnUser, ANN, is_admin=True)
    async with database.read() as reader:
        assert not (await reader.exec(select(OwnUser.is_admin).where(OwnUser.id == ANN))).one()


Look = Callable[[ReadSession], Awaitable[Any]]


async def with_lines(session: ReadSession) -> list[int]:
    statement = select(OwnInvoice).options(selectinload(cast("Any", OwnInvoice.lines)))
    return [line.amount for invoice in await session.exec(statement) for line in invoice.lines]


async def under_another_name(session: ReadSession) -> list[str]:
    other = aliased(OwnInvoice)
    return list(await session.exec(select(other.number)))


SEEN: dict[str, tuple[Look, Any, Any]] = {
    "rows": (lambda reader: _all(reader, select(OwnInvoice.number)), ["A"], ["B"]),
    "children": (lambda reader: _all(reader, select(OwnLine.amount)), [10], [20]),
    "a count": (lambda reader: _all(reader, select(func.count()).select_from(OwnLine)), [1], [1]),
    "users": (lambda reader: _all(reader, select(OwnUser.name)), ["Ann"], ["Bob"]),
    "a join": (lambda reader: _all(reader, select(OwnLine.amount).join(OwnInvoice)), [10], [20]),
    "an alias": (under_another_name, ["A"], ["B"]),
    "a relationship": (with_lines, [10], [20]),
    "what belongs to nobody": (lambda reader: _all(reader, select(OwnPlace.name)), ["Paris"], ["Paris"]),
}


async def _all(session: ReadSession, statement: Any) -> list[Any]:
    return list(await session.exec(statement))


@pytest.mark.parametrize("what", SEEN)
async def test_each_principal_sees_their_own_rows(database: Database, what: str) -> None:
    look, of_ann, of_bob = SEEN[what]
    for principal, expected in ((ANN, of_ann), (BOB, of_bob), (ANN, of_ann)):
        CURRENT_PRINCIPAL.set(Principal(principal))
        async with database.read(restricted=True) as session:
            assert await look(session) == expected


async def test_a_row_of_another_is_absent(database: Database) -> None:
    async with database.read(restricted=True) as session:
        assert await session.get(OwnInvoice, 2) is None
        assert await session.get(OwnLine, 1) is not None
    async with database.write(restricted=True, restricted_reads=True) as writer:
        assert await writer.get(OwnInvoice, 2) is None


async def test_what_cannot_be_restricted_is_not_read(database: Database) -> None:
    async with database.read(restricted=True) as session:
        for statement in (text("SELECT number FROM own_invoice"), select(cast("Any", OwnInvoice).__table__)):
            with pytest.raises(OwnershipError):
                await session.exec(cast("Any", statement))


@pytest.mark.parametrize("statement", [update(OwnPlace).values(name="x"), delete(OwnPlace), insert(OwnPlace)])
async def test_a_read_session_does_not_write(database: Database, statement: Any) -> None:
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    async with database.read() as session:
        with pytest.raises(ReadOnlyError):
            await session.exec(statement)
        with pytest.raises(ReadOnlyError):
            session.add(OwnPlace(name="Rome"))
