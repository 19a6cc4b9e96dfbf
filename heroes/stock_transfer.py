"""Stock transfers: stock goes from one product to another, as two movements or not at all."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from sqlmodel import CheckConstraint, Field, SQLModel, col, select

from heroes.product import MAX_STOCK, Product
from heroes.stock_movement import MAX_QUANTITY, NOT_ENOUGH, StockMovement
from kit.auth.permissions import Who
from kit.http.problems import found
from kit.models.entities import Body, Entity, Read, Stamped, sorted_by
from kit.models.types import Id, Whole, other_than
from kit.operations.balances import shift
from kit.operations.bulk import Batch, Many, OnError, create_many
from kit.operations.soft_deletion import is_living
from kit.operations.unit_of_work import ReadSession, Session, allowing
from kit.query.list_query import ListQuery
from kit.query.pages import Page, page


class StockTransferBase(SQLModel):
    source_id: UUID = Field(foreign_key="product.id", ondelete="CASCADE", schema_extra={"examples": ["{product}"]})
    target_id: Annotated[UUID, other_than("source_id")] = Field(
        foreign_key="product.id", ondelete="CASCADE", schema_extra={"examples": ["{product:2}"]}
    )
    quantity: Whole = Field(ge=1, le=MAX_QUANTITY, schema_extra={"examples": [3]})


class StockTransfer(StockTransferBase, Entity, table=True):
    __tablename__ = "stock_transfer"
    __table_args__ = (
        CheckConstraint("source_id <> target_id", name="target_id"),
        CheckConstraint(f"quantity BETWEEN 1 AND {MAX_QUANTITY}", name="quantity"),
        *sorted_by("source_id", "target_id", "quantity", "created_at"),
        {"sqlite_autoincrement": True},
    )


class StockTransferCreate(StockTransferBase, Body):
    """A new transfer."""


class StockTransferRead(Stamped, StockTransferBase, Read):
    """A transfer; it never changes."""


class StockTransferQuery(ListQuery):
    model = StockTransfer
    read = StockTransferRead
    filters = ("source_id", "target_id", "quantity", "created_at")
    sorts = ("quantity", "created_at")


router = APIRouter(prefix="/stock-transfers", tags=["stock transfers"], route_class=allowing(read=Who.MEMBERS))


async def transfer(session: Session, new: Sequence[StockTransferCreate]) -> list[StockTransfer]:
    """Make these transfers, in this order, all of them or none."""
    steps = [step for one in new for step in ((one.source_id, -one.quantity), (one.target_id, one.quantity))]
    refusal = await shift(session, col(Product.stock), steps, MAX_STOCK, is_living(Product))
    rows = {"source_id": [one.source_id for one in new], "target_id": [one.target_id for one in new]}
    refusal.check(rows, "quantity", NOT_ENOUGH)
    moves = [StockMovement(product_id=key, quantity=quantity, reason="Transfer") for key, quantity in steps]
    await session.insert_all(moves)
    transfers = [StockTransfer.model_validate(one) for one in new]
    await session.insert_all(transfers)
    return transfers


@router.get("/", response_model=list[StockTransferRead], summary="List stock transfers")
async def list_transfers(query: Annotated[StockTransferQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(StockTransfer))


@router.post("/", response_model=StockTransferRead, status_code=201, summary="Transfer stock")
async def create_transfer(new: StockTransferCreate, session: Session) -> StockTransfer:
    return (await transfer(session, [new]))[0]


@router.post("/bulk", response_model=list[StockTransferRead], status_code=201, summary="Transfer stock many times")
async def bulk_create_transfers(new: Batch[StockTransferCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, transfer)


@router.get("/{transfer_id}", response_model=StockTransferRead, summary="Read a stock transfer")
async def read_transfer(
    transfer_id: Id, query: Annotated[StockTransferQuery, Depends(StockTransferQuery.of_one)], session: ReadSession
) -> StockTransfer:
    return found(await session.get(StockTransfer, transfer_id))
