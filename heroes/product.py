"""Products: slug and SKU are unique among the products that are not deleted. A deleted product can be restored."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from sqlmodel import Field, Relationship, SQLModel, select

from heroes.category import Category
from heroes.user import User
from kit import (
    Batch,
    Body,
    Changes,
    Deletable,
    DeletableQuery,
    Ids,
    IfMatch,
    Many,
    Name,
    OnError,
    Page,
    ReadSession,
    Session,
    Sku,
    Slug,
    Stamped,
    Updated,
    UUIDEntity,
    UUIDRead,
    Who,
    YesNo,
    allowing,
    change_many,
    create_many,
    found,
    is_not_deleted,
    not_deleted,
    now,
    page,
    unique_if_not_deleted,
)

MAX_STOCK = 10**12


ProductStatus = StrEnum("ProductStatus", ["draft", "active", "archived"])


class ProductBase(SQLModel):
    name: Name = Field(max_length=200, index=True, schema_extra={"examples": ["Kettle", "Teapot", "Cosy"]})
    slug: Slug = Field(max_length=200, schema_extra={"examples": ["kettle", "teapot", "cosy"]})
    sku: Sku = Field(max_length=64, schema_extra={"examples": ["KET-1", "TEA-1", "COS-1"]})
    description: str | None = Field(default=None, max_length=5000, schema_extra={"examples": ["It whistles."]})
    status: ProductStatus = Field(default=ProductStatus.draft, index=True)
    category_id: UUID | None = Field(
        default=None, foreign_key="category.id", index=True, schema_extra={"examples": [None]}
    )
    created_by_id: int | None = Field(
        default=None, foreign_key="user.id", ondelete="SET NULL", index=True, schema_extra={"examples": [None]}
    )


class Product(ProductBase, Deletable, UUIDEntity, table=True):
    __table_args__ = (*unique_if_not_deleted("slug", "sku"),)
    stock: int = Field(default=0, ge=0, le=MAX_STOCK, index=True)
    category: Category | None = Relationship()
    created_by: User | None = Relationship()


class ProductCreate(ProductBase, Body):
    """A new product."""

    read_only = Body.read_only | {"stock", "deleted_at", "category", "created_by"}


class ProductRead(Stamped, ProductBase, UUIDRead):
    """A product. `include=category,created_by` adds the category and the user who created it."""

    stock: int = Field(description="Only stock movements change it.")
    deleted_at: datetime | None


class ProductUpdate(ProductCreate, Changes):
    """Changes to a product; every field may be left out."""


class ProductsUpdate(Body):
    ids: Ids = Field(schema_extra={"examples": [["{product}", "{product:2}"]]})
    changes: ProductUpdate = Field(schema_extra={"examples": [{"status": "active"}]})


class ProductQuery(DeletableQuery):
    model = Product
    read = ProductRead
    filters = ("name", "slug", "sku", "status", "stock", "category_id", "created_by_id", "created_at")
    sorts = ("name", "slug", "sku", "status", "stock", "created_at")
    search = ("name", "description")
    includes = {"category": "CategoryRead", "created_by": "UserBrief"}


Permanent = Annotated[YesNo, Query(description="`true`: delete it permanently, with its reviews and stock movements.")]
router = APIRouter(prefix="/products", tags=["products"], route_class=allowing(read=Who.MEMBERS))


@router.get("/", response_model=list[ProductRead], summary="List products")
async def list_products(query: Annotated[ProductQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Product))


@router.post("/", response_model=ProductRead, status_code=201, summary="Create a product")
async def create_product(new: ProductCreate, session: Session) -> Product:
    product = Product.model_validate(new)
    session.add(product)
    return product


@router.post("/bulk", response_model=list[ProductRead], status_code=201, summary="Create many products")
async def bulk_create_products(new: Batch[ProductCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Product)


@router.patch("/bulk", response_model=Updated, summary="Update many products, all or none")
async def bulk_update_products(many: ProductsUpdate, session: Session) -> Updated:
    return await change_many(
        session, Product, many.ids, many.changes.model_dump(exclude_unset=True), is_not_deleted(Product)
    )


@router.get("/{product_id}", response_model=ProductRead, summary="Read a product")
async def read_product(
    product_id: UUID, query: Annotated[ProductQuery, Depends(ProductQuery.of_one)], session: ReadSession
) -> Product:
    return query.permitted(await session.get(Product, product_id, options=query.loading))


@router.put("/{product_id}", response_model=ProductRead, summary="Replace a product")
async def replace_product(product_id: UUID, new: ProductCreate, session: Session, matching: IfMatch) -> Product:
    product = matching(not_deleted(await session.get(Product, product_id)))
    product.sqlmodel_update(new.model_dump())
    return product


@router.patch("/{product_id}", response_model=ProductRead, summary="Update a product")
async def update_product(product_id: UUID, changes: ProductUpdate, session: Session, matching: IfMatch) -> Product:
    product = matching(not_deleted(await session.get(Product, product_id)))
    product.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return product


@router.delete("/{product_id}", status_code=204, summary="Delete a product, softly or permanently")
async def delete_product(product_id: UUID, session: Session, matching: IfMatch, permanent: Permanent = False) -> None:
    product = matching(found(await session.get(Product, product_id)))
    if permanent:
        await session.delete(product)
    else:
        not_deleted(product).deleted_at = now()
