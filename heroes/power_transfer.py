"""Power transfers: each moves power from one hero to another. The sum of all power stays the same."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlmodel import CheckConstraint, Field, SQLModel, col, select

from heroes.hero import MAX_POWER, Hero
from kit import (
    BIGINT,
    Batch,
    Body,
    Entity,
    Id,
    ListQuery,
    Many,
    OnError,
    Page,
    Read,
    ReadSession,
    Reference,
    Session,
    Stamped,
    Who,
    Whole,
    allowing,
    create_many,
    found,
    move_balances,
    other_than,
    page,
    sorted_by,
)


class PowerTransferBase(SQLModel):
    from_id: Reference = Field(
        foreign_key="hero.id", ondelete="CASCADE", sa_type=BIGINT, schema_extra={"examples": ["{hero}"]}
    )
    to_id: Annotated[Reference, other_than("from_id")] = Field(
        foreign_key="hero.id", ondelete="CASCADE", sa_type=BIGINT, schema_extra={"examples": ["{hero:2}"]}
    )
    amount: Whole = Field(ge=1, le=MAX_POWER, schema_extra={"examples": [5]})


class PowerTransfer(PowerTransferBase, Entity, table=True):
    __tablename__ = "power_transfer"
    __table_args__ = (
        CheckConstraint("from_id <> to_id", name="to_id"),
        *sorted_by("from_id", "to_id", "amount", "created_at"),
    )


class PowerTransferCreate(PowerTransferBase, Body):
    """A new power transfer."""


class PowerTransferRead(Stamped, PowerTransferBase, Read):
    """A power transfer, which never changes."""


class PowerTransferQuery(ListQuery):
    model = PowerTransfer
    read = PowerTransferRead
    filters = ("from_id", "to_id", "amount", "created_at")
    sorts = ("amount", "created_at")


router = APIRouter(prefix="/power-transfers", tags=["power transfers"], route_class=allowing(read=Who.MEMBERS))


async def transfer(session: Session, new: Sequence[PowerTransferCreate]) -> list[PowerTransfer]:
    """Make these transfers, in this order: all or none."""
    steps = [step for one in new for step in ((one.from_id, -one.amount), (one.to_id, one.amount))]
    refusal = await move_balances(session, col(Hero.power), steps, MAX_POWER)
    rows = {"from_id": [one.from_id for one in new], "to_id": [one.to_id for one in new]}
    refusal.check(rows, "amount", "There is too little power, or no room for so much.")
    transfers = [PowerTransfer.model_validate(one) for one in new]
    await session.insert_all(transfers)
    return transfers


@router.get("/", response_model=list[PowerTransferRead], summary="List power transfers")
async def list_transfers(query: Annotated[PowerTransferQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(PowerTransfer))


@router.post("/", response_model=PowerTransferRead, status_code=201, summary="Create a power transfer")
async def create_transfer(new: PowerTransferCreate, session: Session) -> PowerTransfer:
    return (await transfer(session, [new]))[0]


@router.post("/bulk", response_model=list[PowerTransferRead], status_code=201, summary="Create many power transfers")
async def bulk_create_transfers(new: Batch[PowerTransferCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, transfer)


@router.get("/{transfer_id}", response_model=PowerTransferRead, summary="Read a power transfer")
async def read_transfer(
    transfer_id: Id, query: Annotated[PowerTransferQuery, Depends(PowerTransferQuery.of_one)], session: ReadSession
) -> PowerTransfer:
    return found(await session.get(PowerTransfer, transfer_id))
