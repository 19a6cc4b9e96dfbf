"""Power transfers: a transfer moves power from one hero to another. The total power stays the same."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlmodel import CheckConstraint, Field, SQLModel, col, select

from heroes.hero import MAX_POWER, Hero
from kit import (
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
    Session,
    Stamped,
    Who,
    allowing,
    create_many,
    found,
    insert_many,
    move_balances,
    other_than,
    page,
)


class PowerTransferBase(SQLModel):
    from_id: int = Field(foreign_key="hero.id", ondelete="CASCADE", index=True, schema_extra={"examples": ["{hero}"]})
    to_id: Annotated[int, other_than("from_id")] = Field(
        foreign_key="hero.id", ondelete="CASCADE", index=True, schema_extra={"examples": ["{hero:2}"]}
    )
    amount: int = Field(ge=1, le=MAX_POWER, index=True, schema_extra={"examples": [5]})


class PowerTransfer(PowerTransferBase, Entity, table=True):
    __tablename__ = "power_transfer"
    __table_args__ = (CheckConstraint("from_id <> to_id", name="to_id"),)


class PowerTransferCreate(PowerTransferBase, Body):
    """A new power transfer."""


class PowerTransferRead(Stamped, PowerTransferBase, Read):
    """A power transfer. It cannot be changed or deleted."""


class PowerTransferQuery(ListQuery):
    model = PowerTransfer
    read = PowerTransferRead
    sorts = ("amount", "created_at")


router = APIRouter(prefix="/power-transfers", tags=["power transfers"], route_class=allowing(read=Who.MEMBERS))


async def make_power_transfers(session: Session, new: Sequence[PowerTransferCreate]) -> list[PowerTransfer]:
    """Execute transfers in this order, all or none.

    Raises a 409 if a hero has too little power, would exceed `MAX_POWER`, or does not exist.
    """
    steps = [step for part in new for step in ((part.from_id, -part.amount), (part.to_id, part.amount))]
    refusal = await move_balances(session, col(Hero.power), steps, MAX_POWER)
    rows = {"from_id": [part.from_id for part in new], "to_id": [part.to_id for part in new]}
    refusal.check(rows, "amount", "A hero would have less than 0 power, or too much.")
    return await insert_many(session, PowerTransfer, new)


@router.get("/", response_model=list[PowerTransferRead], summary="List power transfers")
async def list_transfers(query: Annotated[PowerTransferQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(PowerTransfer))


@router.post("/", response_model=PowerTransferRead, status_code=201, summary="Create a power transfer")
async def create_transfer(new: PowerTransferCreate, session: Session) -> PowerTransfer:
    return (await make_power_transfers(session, [new]))[0]


@router.post("/bulk", response_model=list[PowerTransferRead], status_code=201, summary="Create many power transfers")
async def bulk_create_transfers(new: Batch[PowerTransferCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, make_power_transfers)


@router.get("/{transfer_id}", response_model=PowerTransferRead, summary="Read a power transfer")
async def read_transfer(
    transfer_id: Id, query: Annotated[PowerTransferQuery, Depends(PowerTransferQuery.of_one)], session: ReadSession
) -> PowerTransfer:
    return found(await session.get(PowerTransfer, transfer_id))
