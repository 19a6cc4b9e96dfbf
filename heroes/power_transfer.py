"""Power transfers: power goes from one hero to another, and none is lost or made on the way."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlmodel import CheckConstraint, Field, SQLModel, col, select

from heroes.hero import MAX_POWER, Hero
from kit.auth.permissions import Who
from kit.http.problems import found
from kit.models.entities import Body, Entity, Read, Stamped, sorted_by
from kit.models.types import BIGINT, Id, Key, Whole, other_than
from kit.operations.balances import shift
from kit.operations.bulk import Batch, Many, OnError, create_many
from kit.operations.unit_of_work import ReadSession, Session, allowing
from kit.query.list_query import ListQuery
from kit.query.pages import Page, page


class PowerTransferBase(SQLModel):
    from_id: Key = Field(
        foreign_key="hero.id", ondelete="CASCADE", sa_type=BIGINT, schema_extra={"examples": ["{hero}"]}
    )
    to_id: Annotated[Key, other_than("from_id")] = Field(
        foreign_key="hero.id", ondelete="CASCADE", sa_type=BIGINT, schema_extra={"examples": ["{hero:2}"]}
    )
    amount: Whole = Field(ge=1, le=MAX_POWER, schema_extra={"examples": [5]})


class PowerTransfer(PowerTransferBase, Entity, table=True):
    __tablename__ = "power_transfer"
    __table_args__ = (
        CheckConstraint("from_id <> to_id", name="to_id"),
        CheckConstraint(f"amount BETWEEN 1 AND {MAX_POWER}", name="amount"),
        *sorted_by("from_id", "to_id", "amount", "created_at"),
        {"sqlite_autoincrement": True},
    )


class PowerTransferCreate(PowerTransferBase, Body):
    """A new transfer."""


class PowerTransferRead(Stamped, PowerTransferBase, Read):
    """A transfer; it never changes."""


class PowerTransferQuery(ListQuery):
    model = PowerTransfer
    read = PowerTransferRead
    filters = ("from_id", "to_id", "amount", "created_at")
    sorts = ("amount", "created_at")


router = APIRouter(prefix="/power-transfers", tags=["power transfers"], route_class=allowing(read=Who.MEMBERS))


async def transfer(session: Session, new: Sequence[PowerTransferCreate]) -> list[PowerTransfer]:
    """Make these transfers, in this order, all of them or none."""
    steps = [step for one in new for step in ((one.from_id, -one.amount), (one.to_id, one.amount))]
    refusal = await shift(session, col(Hero.power), steps, MAX_POWER)
    rows = {"from_id": [one.from_id for one in new], "to_id": [one.to_id for one in new]}
    refusal.check(rows, "amount", "There is too little power, or no room for so much.")
    transfers = [PowerTransfer.model_validate(one) for one in new]
    await session.insert_all(transfers)
    return transfers


@router.get("/", response_model=list[PowerTransferRead], summary="List power transfers")
async def list_transfers(query: Annotated[PowerTransferQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(PowerTransfer))


@router.post("/", response_model=PowerTransferRead, status_code=201, summary="Transfer power")
async def create_transfer(new: PowerTransferCreate, session: Session) -> PowerTransfer:
    return (await transfer(session, [new]))[0]


@router.post("/bulk", response_model=list[PowerTransferRead], status_code=201, summary="Transfer power many times")
async def bulk_create_transfers(new: Batch[PowerTransferCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, transfer)


@router.get("/{transfer_id}", response_model=PowerTransferRead, summary="Read a power transfer")
async def read_transfer(
    transfer_id: Id, query: Annotated[PowerTransferQuery, Depends(PowerTransferQuery.of_one)], session: ReadSession
) -> PowerTransfer:
    return found(await session.get(PowerTransfer, transfer_id))
