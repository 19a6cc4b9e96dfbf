"""Tables that are no entities: their columns store the same values on both databases."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col, func, select

from kit import Database
from tests.engines import url_for

pytestmark = pytest.mark.no_fast_path

REGISTRY = registry(metadata=sa.MetaData(naming_convention=SQLModel.metadata.naming_convention))
MOMENT = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))
LOCAL = datetime.fromisoformat("2026-01-31")


class PlainTable(SQLModel, registry=REGISTRY):
    """The base class of the tables, in a separate registry."""


class Bill(PlainTable, table=True):
    """A row with values of all kinds, as SQLModel's documentation declares them."""

    __tablename__: ClassVar[str] = "plain_bill"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=20, index=True)
    amount: Decimal = Field(max_digits=20, decimal_places=2)
    price: Decimal = Field(default=Decimal(0), sa_type=sa.Numeric(10, 2))
    created: datetime = Field(default=MOMENT, sa_type=sa.DateTime(timezone=True))
    paid: datetime = MOMENT
    took: timedelta = timedelta(seconds=1.5)
    notes: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    local: datetime = Field(default=LOCAL, sa_type=sa.DateTime)
    parent_id: int | None = Field(default=None, foreign_key="plain_bill.id")
    other_id: int | None = Field(default=None, sa_column=sa.Column(sa.ForeignKey("plain_later.id")))
    number: int = 0


class Later(PlainTable, table=True):
    """A table to which one refers that is declared before it, so that the type of its id is not known there."""

    __tablename__: ClassVar[str] = "plain_later"
    id: int | None = Field(default=None, primary_key=True)


@pytest.fixture(scope="module")
async def database(new_database: Any) -> AsyncIterator[Database]:
    database = Database(url_for(await new_database()))
    async with database.writer.begin() as connection:
        await connection.run_sync(REGISTRY.metadata.create_all)
    async with database.write() as session:
        for name, amount in (("b", "0.10"), ("A", "0.20"), ("ä", "90071992547409.93")):
            price = Decimal("1.005")
            session.add(Bill(name=name, amount=Decimal(amount), price=price, notes={"a": [1]}, number=2**40))
            await session.flush()
        await session.commit()
    yield database
    await database.dispose()


async def test_values_are_read_as_they_were_stored(database: Database) -> None:
    async with database.read() as session:
        bill = (await session.exec(select(Bill).where(Bill.name == "ä"))).one()
    assert (bill.amount, bill.created, bill.paid) == (Decimal("90071992547409.93"), MOMENT, MOMENT)
    assert (bill.created.tzinfo, bill.took, bill.notes, bill.number) == (UTC, timedelta(seconds=1.5), {"a": [1]}, 2**40)
    assert (bill.local, bill.other_id) == (LOCAL, None)
    assert str(bill.price) == "1.01"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (func.sum(col(Bill.amount)), Decimal("90071992547410.23")),
        (func.max(col(Bill.created)), MOMENT),
        (func.min(col(Bill.took)), timedelta(seconds=1.5)),
    ],
)
async def test_both_databases_calculate_the_same(database: Database, expression: Any, expected: Any) -> None:
    async with database.read() as session:
        assert await session.scalar(sa.select(expression)) == expected


async def test_texts_are_sorted_by_code_point(database: Database) -> None:
    async with database.read() as session:
        assert list(await session.exec(select(Bill.name).order_by(Bill.name))) == ["A", "b", "ä"]


async def test_a_filter_finds_an_amount_exactly(database: Database) -> None:
    async with database.read() as session:
        found = await session.exec(select(Bill.name).where(Bill.amount == Decimal("0.10"), Bill.created == MOMENT))
        assert list(found) == ["b"]
