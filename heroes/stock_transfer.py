"""Stock transfers: a transfer moves stock from one product to another, by two stock movements in one transaction."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from sqlmodel import CheckConstraint, Field, SQLModel, col, select

from heroes.product import MAX_STOCK, Product
from heroes.stock_movement import MAX_QUANTITY, NOT_ENOUGH, StockMovement
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
    is_not_deleted,
    move_balances,
    other_than,
    page,
)


class StockTransferBase(SQLModel):
    source_id: UUID = Field(
        foreign_key="product.id", ondelete="CASCADE", index=True, schema_extra={"examples": ["{product}"]}
    )
    target_id: Annotated[UUID, other_than("source_id")] = Field(
        foreign_key="product.id", ondelete="CASCADE", index=True, schema_extra={"examples": ["{product:2}"]}
    )
    quantity: int = Field(ge=1, le=MAX_QUANTITY, index=True, schema_extra={"examples": [3]})


class StockTransfer(StockTransferBase, Entity, table=True):
    __tablename__ = "stock_transfer"
    __table_args__ = (CheckConstraint("source_id <> target_id", name="target_id"),)


class StockTransferCreate(StockTransferBase, Body):
    """A new stock transfer."""


class StockTransferRead(Stamped, StockTransferBase, Read):
    """A stock transfer. It cannot be changed or deleted."""


class StockTransferQuery(ListQuery):
    model = StockTransfer
    read = StockTransferRead
    sorts = ("quantity", "created_at")


router = APIRouter(prefix="/stock-transfers", tags=["stock transfers"], route_class=allowing(read=Who.MEMBERS))


async def make_stock_transfers(session: Session, new: Sequence[StockTransferCreate]) -> list[StockTransfer]:
    """Execute transfers in this order, all or none. Raises a 409 for too little stock and for an unknown product."""
    steps = [step for part in new for step in ((part.source_id, -part.quantity), (part.target_id, part.quantity))]
    refusal = await move_balances(session, col(Product.stock), steps, MAX_STOCK, is_not_deleted(Product))
    rows = {"source_id": [part.source_id for part in new], "target_id": [part.target_id for part in new]}
    refusal.check(rows, "quantity", NOT_ENOUGH)
    moves = [{"product_id": key, "quantity": quantity, "reason": "Transfer"} for key, quantity in steps]
    await insert_many(session, StockMovement, moves)
    return await insert_many(session, StockTransfer, new)


@router.get("/", response_model=list[StockTransferRead], summary="List stock transfers")
async def list_transfers(query: Annotated[StockTransferQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(StockTransfer))


@router.post("/", response_model=StockTransferRead, status_code=201, summary="Create a stock transfer")
async def create_transfer(new: StockTransferCreate, session: Session) -> StockTransfer:
    return (await make_stock_transfers(session, [new]))[0]


@router.post("/bulk", response_model=list[StockTransferRead], status_code=201, summary="Create many stock transfers")
async def bulk_create_transfers(new: Batch[StockTransferCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, make_stock_transfers)


@router.get("/{transfer_id}", response_model=StockTransferRead, summary="Read a stock transfer")
async def read_transfer(
    transfer_id: Id, query: Annotated[StockTransferQuery, Depends(StockTransferQuery.of_one)], session: ReadSession
) -> StockTransfer:
    return found(await session.get(StockTransfer, transfer_id))
