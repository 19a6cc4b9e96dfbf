"""Categories of products. A category with products cannot be deleted."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from sqlmodel import Field, SQLModel, select

from kit import (
    Batch,
    Body,
    Changes,
    IfMatch,
    ListQuery,
    Many,
    Name,
    OnError,
    Page,
    ReadSession,
    Session,
    Slug,
    Stamped,
    UUIDEntity,
    UUIDRead,
    Who,
    allowing,
    create_many,
    found,
    page,
)


class CategoryBase(SQLModel):
    name: Name = Field(
        max_length=100, description="Unique.", unique=True, schema_extra={"examples": ["Kitchen", "Garden", "Attic"]}
    )
    slug: Slug = Field(
        max_length=100, description="Unique.", unique=True, schema_extra={"examples": ["kitchen", "garden", "attic"]}
    )


class Category(CategoryBase, UUIDEntity, table=True):
    """The table of categories."""


class CategoryCreate(CategoryBase, Body):
    """A new category."""


class CategoryRead(Stamped, CategoryBase, UUIDRead):
    """A category."""


class CategoryUpdate(CategoryCreate, Changes):
    """Changes to a category; every field may be left out."""


class CategoryQuery(ListQuery):
    model = Category
    read = CategoryRead
    search = ("name", "slug")


router = APIRouter(prefix="/categories", tags=["categories"], route_class=allowing(read=Who.MEMBERS))


@router.get("/", response_model=list[CategoryRead], summary="List categories")
async def list_categories(query: Annotated[CategoryQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Category))


@router.post("/", response_model=CategoryRead, status_code=201, summary="Create a category")
async def create_category(new: CategoryCreate, session: Session) -> Category:
    category = Category.model_validate(new)
    session.add(category)
    return category


@router.post("/bulk", response_model=list[CategoryRead], status_code=201, summary="Create many categories")
async def bulk_create_categories(new: Batch[CategoryCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Category)


@router.get("/{category_id}", response_model=CategoryRead, summary="Read a category")
async def read_category(
    category_id: UUID, query: Annotated[CategoryQuery, Depends(CategoryQuery.of_one)], session: ReadSession
) -> Category:
    return found(await session.get(Category, category_id, options=query.loading))


@router.put("/{category_id}", response_model=CategoryRead, summary="Replace a category")
async def replace_category(category_id: UUID, new: CategoryCreate, session: Session, matching: IfMatch) -> Category:
    category = matching(found(await session.get(Category, category_id)))
    category.sqlmodel_update(new.model_dump())
    return category


@router.patch("/{category_id}", response_model=CategoryRead, summary="Update a category")
async def update_category(category_id: UUID, changes: CategoryUpdate, session: Session, matching: IfMatch) -> Category:
    category = matching(found(await session.get(Category, category_id)))
    category.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return category


@router.delete("/{category_id}", status_code=204, summary="Delete a category")
async def delete_category(category_id: UUID, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Category, category_id))))
