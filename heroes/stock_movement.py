"""Stock movements: a movement adds stock to a product, or removes it. The stock is the sum of all movements."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import pydantic
from fastapi import APIRouter, Depends
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from sqlmodel import CheckConstraint, Field, SQLModel, col, select

from heroes.product import MAX_STOCK, Product
from kit import (
    Batch,
    Body,
    ListQuery,
    Many,
    OnError,
    Page,
    ReadSession,
    Session,
    Stamped,
    UUIDEntity,
    UUIDRead,
    Who,
    allowing,
    create_many,
    found,
    insert_many,
    is_not_deleted,
    move_balances,
    page,
    with_parent_not_deleted,
)

MAX_QUANTITY = 1_000_000_000
NOT_ENOUGH = "There is not enough stock for this quantity."


SHOWN = pydantic.Field(json_schema_extra={"not": {"const": 0}})


def not_zero(quantity: int) -> int:
    if quantity == 0:
        raise PydanticCustomError("not_zero", "Input should not be 0")
    return quantity


class StockMovementBase(SQLModel):
    product_id: UUID = Field(
        foreign_key="product.id", ondelete="CASCADE", index=True, schema_extra={"examples": ["{product}"]}
    )
    quantity: Annotated[int, AfterValidator(not_zero), SHOWN] = Field(
        ge=-MAX_QUANTITY,
        le=MAX_QUANTITY,
        description="Negative removes stock; not 0.",
        index=True,
        schema_extra={"examples": [12]},
    )
    reason: str | None = Field(default=None, max_length=500, schema_extra={"examples": ["Delivery"]})


class StockMovement(StockMovementBase, UUIDEntity, table=True):
    __tablename__ = "stock_movement"
    __table_args__ = (CheckConstraint(f"quantity <> 0 AND abs(quantity) <= {MAX_QUANTITY}", name="quantity"),)


class StockMovementCreate(StockMovementBase, Body):
    """A new stock movement."""


class StockMovementRead(Stamped, StockMovementBase, UUIDRead):
    """A stock movement. It cannot be changed or deleted."""


class StockMovementQuery(ListQuery):
    model = StockMovement
    read = StockMovementRead
    search = ("reason",)


router = APIRouter(prefix="/stock-movements", tags=["stock movements"], route_class=allowing(read=Who.MEMBERS))


async def make_movements(session: Session, new: Sequence[StockMovementCreate]) -> list[StockMovement]:
    """Execute movements in this order, all or none. Raises a 409 for too little stock and for an unknown product."""
    steps = [(movement.product_id, movement.quantity) for movement in new]
    refusal = await move_balances(session, col(Product.stock), steps, MAX_STOCK, is_not_deleted(Product))
    refusal.check({"product_id": [movement.product_id for movement in new]}, "quantity", NOT_ENOUGH)
    return await insert_many(session, StockMovement, new)


@router.get("/", response_model=list[StockMovementRead], summary="List stock movements")
async def list_movements(query: Annotated[StockMovementQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, with_parent_not_deleted(Product, select(StockMovement)))


@router.post("/", response_model=StockMovementRead, status_code=201, summary="Create a stock movement")
async def create_movement(new: StockMovementCreate, session: Session) -> StockMovement:
    return (await make_movements(session, [new]))[0]


@router.post("/bulk", response_model=list[StockMovementRead], status_code=201, summary="Create many stock movements")
async def bulk_create_movements(new: Batch[StockMovementCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, make_movements)


@router.get("/{movement_id}", response_model=StockMovementRead, summary="Read a stock movement")
async def read_movement(
    movement_id: UUID, query: Annotated[StockMovementQuery, Depends(StockMovementQuery.of_one)], session: ReadSession
) -> StockMovement:
    statement = with_parent_not_deleted(Product, select(StockMovement)).where(StockMovement.id == movement_id)
    return found((await session.exec(statement)).first())
