"""The dashboard: what there is, at a glance; its queries are independent, so they run at the same time."""

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
from kit.auth.permissions import Who
from kit.operations.soft_deletion import is_living, with_living
from kit.operations.unit_of_work import ReadSession, allowing

NEWEST, TOP = 10, 10
COUNTED: Mapping[str, Select[Any]] = {
    "heroes": select(Hero.id),
    "teams": select(Team.id),
    "power_transfers": select(PowerTransfer.id),
    "users": select(User.id),
    "items": select(Item.id),
    "posts": select(Post.id),
    "categories": select(Category.id),
    "products": select(Product.id).where(is_living(Product)),
    "reviews": with_living(Product, select(Review.id)),
    "stock_movements": with_living(Product, select(StockMovement.id)),
    "stock_transfers": select(StockTransfer.id),
}


class Rating(SQLModel):
    product_id: UUID
    average: float = Field(description="Of the ratings, to two decimals.")
    number: int = Field(description="Of reviews.")


class Dashboard(SQLModel):
    heroes: list[HeroRead] = Field(description=f"The {NEWEST} newest.")
    totals: dict[str, int] = Field(description="How many there are of each resource.")
    products_by_status: dict[str, int]
    ratings: list[Rating] = Field(description=f"The {TOP} products that are rated best.")


router = APIRouter(prefix="/dashboard", tags=["dashboard"], route_class=allowing(read=Who.MEMBERS))


@router.get("", response_model=Dashboard, summary="Read the dashboard")
async def read_dashboard(session: ReadSession) -> dict[str, Any]:
    parts = {"heroes": newest, "totals": totals, "products_by_status": products_by_status, "ratings": ratings}
    return dict(zip(parts, await session.together(*parts.values()), strict=True))


async def newest(session: ReadSession) -> Sequence[Hero]:
    return await session.rows(select(Hero).order_by(col(Hero.id).desc()).limit(NEWEST))


async def totals(session: ReadSession) -> dict[str, int]:
    counts = [select(func.count()).select_from(rows.subquery()).scalar_subquery() for rows in COUNTED.values()]
    ((*numbers,),) = await session.rows(select(*counts))
    return dict(zip(COUNTED, numbers, strict=True))


async def products_by_status(session: ReadSession) -> dict[str, int]:
    status = col(Product.status)
    counted = dict(await session.rows(select(status, func.count()).where(is_living(Product)).group_by(status)))
    return {status.value: counted.get(status, 0) for status in ProductStatus}


async def ratings(session: ReadSession) -> list[dict[str, Any]]:
    product_id, average, number = col(Review.product_id), average_rating(), func.count()
    rated: Any = with_living(Product, select(product_id, average, number).group_by(product_id))
    best = await session.rows(rated.order_by(average.desc(), number.desc(), product_id).limit(TOP))
    return [{"product_id": key, "average": two_decimals(mean), "number": count} for key, mean, count in best]
