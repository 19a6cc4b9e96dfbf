"""Reviews: an author can write one review of a product. The reviews of a deleted product are hidden."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from sqlalchemy import ColumnElement
from sqlmodel import Field, SQLModel, UniqueConstraint, func, select
from sqlmodel.sql.expression import SelectOfScalar

from heroes.product import Product
from kit import (
    Absent,
    Batch,
    Body,
    Changes,
    Entity,
    Id,
    IfMatch,
    ListQuery,
    Many,
    OnError,
    Owner,
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
    page,
    refuse_deleted_parents,
    with_parent_not_deleted,
)

RATINGS = range(1, 6)


class ReviewBase(SQLModel):
    product_id: UUID = Field(
        foreign_key="product.id",
        ondelete="CASCADE",
        schema_extra={"examples": ["{product}", "{product}", "{product:2}"]},
    )
    author_id: Owner = Field(
        default_factory=Absent,
        foreign_key="user.id",
        ondelete="CASCADE",
        description="The id of the user; if left out, of the caller.",
        index=True,
        schema_extra={"examples": ["{user}"]},
    )
    rating: int = Field(ge=1, le=5, index=True, schema_extra={"examples": [4]})
    body: str | None = Field(default=None, max_length=5000, schema_extra={"examples": ["It does whistle."]})


class Review(ReviewBase, Entity, table=True):
    belongs_to = "author_id"
    __table_args__ = (UniqueConstraint("product_id", "author_id"),)


def average_rating() -> ColumnElement[Any]:
    """Return the average rating in hundredths, rounded half up.

    Integer arithmetic gives the same result on both databases.
    """
    number, total = func.count(), func.sum(Review.rating)
    return (total * 200 + number) / (number * 2)


def two_decimals(hundredths: int | None) -> float | None:
    return None if hundredths is None else int(hundredths) / 100


class ReviewCreate(ReviewBase, Body):
    """A new review."""


class ReviewRead(Stamped, ReviewBase, Read):
    """A review."""


class ReviewUpdate(ReviewCreate, Changes):
    """Changes to a review; every field may be left out."""


class ReviewQuery(ListQuery):
    model = Review
    read = ReviewRead
    sorts = ("author_id", "rating", "created_at")
    search = ("body",)


router = APIRouter(
    prefix="/reviews",
    tags=["reviews"],
    route_class=allowing(read=Who.MEMBERS, create=Who.OWNERS, bulk=Who.OWNERS, change=Who.OWNERS),
)


async def make_reviews(session: Session, new: Sequence[ReviewCreate]) -> list[Review]:
    """Store reviews. Raises a 409 if a product is deleted."""
    await refuse_deleted_parents(session, Product, "product_id", [review.product_id for review in new])
    return await insert_many(session, Review, new)


@router.get("/", response_model=list[ReviewRead], summary="List reviews")
async def list_reviews(query: Annotated[ReviewQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, with_parent_not_deleted(Product, select(Review)))


@router.post("/", response_model=ReviewRead, status_code=201, summary="Create a review")
async def create_review(new: ReviewCreate, session: Session) -> Review:
    return (await make_reviews(session, [new]))[0]


@router.post("/bulk", response_model=list[ReviewRead], status_code=201, summary="Create many reviews")
async def bulk_create_reviews(new: Batch[ReviewCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, make_reviews)


def select_review(review_id: int) -> SelectOfScalar[Review]:
    return with_parent_not_deleted(Product, select(Review)).where(Review.id == review_id)


async def locked_review(session: Session, review_id: int) -> Review | None:
    """Return the review, locked for update; None if it does not exist or if its product is deleted.

    Raises a 403 if the review belongs to another user.
    """
    review = (await session.exec(select_review(review_id).with_for_update(of=Review))).first()
    return None if review is None else await session.get(Review, review_id, with_for_update=False)


@router.get("/{review_id}", response_model=ReviewRead, summary="Read a review")
async def read_review(
    review_id: Id, query: Annotated[ReviewQuery, Depends(ReviewQuery.of_one)], session: ReadSession
) -> Review:
    return found((await session.exec(select_review(review_id))).first())


@router.put("/{review_id}", response_model=ReviewRead, summary="Replace a review")
async def replace_review(review_id: Id, new: ReviewCreate, session: Session, matching: IfMatch) -> Review:
    review = matching(found(await locked_review(session, review_id)))
    review.sqlmodel_update(new.model_dump())
    await refuse_deleted_parents(session, Product, "product_id", [review.product_id])
    return review


@router.patch("/{review_id}", response_model=ReviewRead, summary="Update a review")
async def update_review(review_id: Id, changes: ReviewUpdate, session: Session, matching: IfMatch) -> Review:
    review = matching(found(await locked_review(session, review_id)))
    review.sqlmodel_update(changes.model_dump(exclude_unset=True))
    await refuse_deleted_parents(session, Product, "product_id", [review.product_id])
    return review


@router.delete("/{review_id}", status_code=204, summary="Delete a review")
async def delete_review(review_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await locked_review(session, review_id))))
