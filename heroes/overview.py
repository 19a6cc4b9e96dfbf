"""Product overview: a product, its newest reviews and their statistics, read by concurrent queries."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from sqlalchemy import Select
from sqlmodel import Field, SQLModel, col, func, select

from heroes.product import Product, ProductRead
from heroes.review import RATINGS, Review, ReviewRead, average_rating, two_decimals
from kit import ReadSession, Who, allowing, not_deleted

LATEST = 10


class Statistics(SQLModel):
    number: int = Field(description="The number of reviews.")
    average: float | None = Field(description="The average rating, to two decimals; null without reviews.")
    ratings: dict[str, int] = Field(description="The number of reviews with each rating.")


class ProductOverview(SQLModel):
    product: ProductRead
    reviews: list[ReviewRead] = Field(description=f"The {LATEST} newest reviews.")
    statistics: Statistics


router = APIRouter(prefix="/products/{product_id}/overview", tags=["products"], route_class=allowing(read=Who.MEMBERS))


@router.get("", response_model=ProductOverview, summary="Read the overview of a product")
async def read_product_overview(product_id: UUID, session: ReadSession) -> dict[str, Any]:
    product, reviews, statistics = await session.gather(
        lambda reader: reader.get(Product, product_id),
        lambda reader: latest_of(reader, product_id),
        lambda reader: statistics_of(reader, product_id),
    )
    return {"product": not_deleted(product), "reviews": reviews, "statistics": statistics}


async def latest_of(session: ReadSession, product_id: UUID) -> Sequence[Review]:
    latest = select(Review).where(Review.product_id == product_id).order_by(col(Review.id).desc()).limit(LATEST)
    return (await session.exec(latest)).all()


async def statistics_of(session: ReadSession, product_id: UUID) -> dict[str, Any]:
    counts = [func.count().filter(col(Review.rating) == rating) for rating in RATINGS]
    statement: Any = Select(func.count(), average_rating(), *counts).where(col(Review.product_id) == product_id)
    number, average, *numbers = (await session.exec(statement)).one()
    ratings = dict(zip(map(str, RATINGS), numbers, strict=True))
    return {"number": number, "average": two_decimals(average), "ratings": ratings}
