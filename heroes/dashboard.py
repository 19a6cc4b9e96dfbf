"""Dashboard: totals, the newest heroes and the best ratings, read by concurrent queries."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from sqlalchemy import Select
from sqlmodel import Field, SQLModel, col, func, select

from heroes.category import Category
from heroes.hero import Hero, HeroRead
from heroes.item import Item
from heroes.post import Post
from heroes.power_transfer import PowerTransfer
from heroes.product import Product, ProductStatus
from heroes.review import Review, average_rating, two_decimals
from heroes.stock_movement import StockMovement
from heroes.stock_transfer import StockTransfer
from heroes.team import Team
from heroes.user import User
from kit import ReadSession, Who, allowing, is_not_deleted, with_parent_not_deleted

NEWEST, TOP = 10, 10
COUNTED: Mapping[str, Select[Any]] = {
    "heroes": select(Hero.id),
    "teams": select(Team.id),
    "power_transfers": select(PowerTransfer.id),
    "users": select(User.id),
    "items": select(Item.id),
    "posts": select(Post.id),
    "categories": select(Category.id),
    "products": select(Product.id).where(is_not_deleted(Product)),
    "reviews": with_parent_not_deleted(Product, select(Review.id)),
    "stock_movements": with_parent_not_deleted(Product, select(StockMovement.id)),
    "stock_transfers": select(StockTransfer.id),
}


class Rating(SQLModel):
    product_id: UUID
    average: float = Field(description="The average rating, to two decimals.")
    number: int = Field(description="The number of reviews.")


class Dashboard(SQLModel):
    heroes: list[HeroRead] = Field(description=f"The {NEWEST} newest heroes.")
    totals: dict[str, int] = Field(description="The number of rows of each resource.")
    products_by_status: dict[str, int] = Field(description="The number of products with each status.")
    ratings: list[Rating] = Field(description=f"The {TOP} products with the highest average rating.")


router = APIRouter(prefix="/dashboard", tags=["dashboard"], route_class=allowing(read=Who.MEMBERS))


@router.get("", response_model=Dashboard, summary="Read the dashboard")
async def read_dashboard(session: ReadSession) -> dict[str, Any]:
    parts = {"heroes": newest, "totals": totals, "products_by_status": products_by_status, "ratings": ratings}
    return dict(zip(parts, await session.gather(*parts.values()), strict=True))


async def newest(session: ReadSession) -> Sequence[Hero]:
    return (await session.exec(select(Hero).order_by(col(Hero.id).desc()).limit(NEWEST))).all()


async def totals(session: ReadSession) -> dict[str, int]:
    counts = [select(func.count()).select_from(rows.subquery()).scalar_subquery() for rows in COUNTED.values()]
    statement: Any = Select(*counts)
    numbers = (await session.exec(statement)).one()
    return dict(zip(COUNTED, numbers, strict=True))


async def products_by_status(session: ReadSession) -> dict[str, int]:
    status = col(Product.status)
    statement = select(status, func.count()).where(is_not_deleted(Product)).group_by(status)
    counted = dict((await session.exec(statement)).all())
    return {status.value: counted.get(status, 0) for status in ProductStatus}


async def ratings(session: ReadSession) -> list[dict[str, Any]]:
    product_id, average, number = col(Review.product_id), average_rating(), func.count()
    rated: Any = with_parent_not_deleted(Product, select(product_id, average, number).group_by(product_id))
    best = await session.exec(rated.order_by(average.desc(), number.desc(), product_id).limit(TOP))
    return [{"product_id": key, "average": two_decimals(mean), "number": count} for key, mean, count in best]
