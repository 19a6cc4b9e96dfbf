"""The overview of a product: the thing itself, its latest reviews and their statistics, loaded at the same time."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from sqlmodel import Field, SQLModel, col, func, select

from heroes.product import Product, ProductRead
from heroes.review import RATINGS, Review, ReviewRead, average_rating, two_decimals
from kit.auth.permissions import Who
from kit.operations.soft_deletion import living
from kit.operations.unit_of_work import ReadSession, allowing

LATEST = 10


class Statistics(SQLModel):
    number: int = Field(description="Of reviews.")
    average: float | None = Field(description="Of their ratings, to two decimals; null without reviews.")
    ratings: dict[str, int] = Field(description="How many reviews gave each rating.")


class ProductOverview(SQLModel):
    product: ProductRead
    reviews: list[ReviewRead] = Field(description=f"The {LATEST} newest.")
    statistics: Statistics


router = APIRouter(prefix="/products/{product_id}/overview", tags=["products"], route_class=allowing(read=Who.MEMBERS))


@router.get("", response_model=ProductOverview, summary="Read the overview of a product")
async def overview_of_product(product_id: UUID, session: ReadSession) -> dict[str, Any]:
    latest = select(Review).where(Review.product_id == product_id).order_by(col(Review.id).desc()).limit(LATEST)
    product, reviews, statistics = await session.together(
        lambda reader: reader.get(Product, product_id),
        lambda reader: reader.rows(latest),
        lambda reader: statistics_of(reader, product_id),
    )
    return {"product": living(product), "reviews": reviews, "statistics": statistics}


async def statistics_of(session: ReadSession, product_id: UUID) -> dict[str, Any]:
    counts = [func.count().filter(col(Review.rating) == rating) for rating in RATINGS]
    statement = select(func.count(), average_rating(), *counts).where(Review.product_id == product_id)
    ((number, average, *numbers),) = await session.rows(statement)
    ratings = dict(zip(map(str, RATINGS), numbers, strict=True))
    return {"number": number, "average": two_decimals(average), "ratings": ratings}
