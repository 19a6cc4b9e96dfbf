"""Items: an item has a price and belongs to a user. It is deleted together with the user."""

from typing import Annotated

from fastapi import APIRouter, Depends
from sqlmodel import Field, Relationship, SQLModel, select

from heroes.user import User
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
    Money,
    Name,
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
    page,
)


class ItemBase(SQLModel):
    name: Name = Field(max_length=200, index=True, schema_extra={"examples": ["Teapot"]})
    price: Money = Field(description="In the currency of the shop.", index=True, schema_extra={"examples": ["9.99"]})
    owner_id: Owner = Field(
        default_factory=Absent,
        foreign_key="user.id",
        ondelete="CASCADE",
        description="The id of the user; if left out, of the caller.",
        index=True,
        schema_extra={"examples": ["{user}"]},
    )


class Item(ItemBase, Entity, table=True):
    belongs_to = "owner_id"
    owner: User = Relationship()


class ItemCreate(ItemBase, Body):
    """A new item."""

    read_only = Body.read_only | {"owner"}


class ItemRead(Stamped, ItemBase, Read):
    """An item. `include=owner` adds the owner."""


class ItemUpdate(ItemCreate, Changes):
    """Changes to an item; every field may be left out."""


class ItemQuery(ListQuery):
    model = Item
    read = ItemRead
    search = ("name",)
    includes = {"owner": "UserBrief"}


router = APIRouter(
    prefix="/items",
    tags=["items"],
    route_class=allowing(read=Who.MEMBERS, create=Who.OWNERS, bulk=Who.OWNERS, change=Who.OWNERS),
)


@router.get("/", response_model=list[ItemRead], summary="List items")
async def list_items(query: Annotated[ItemQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Item))


@router.post("/", response_model=ItemRead, status_code=201, summary="Create an item")
async def create_item(new: ItemCreate, session: Session) -> Item:
    item = Item.model_validate(new)
    session.add(item)
    return item


@router.post("/bulk", response_model=list[ItemRead], status_code=201, summary="Create many items")
async def bulk_create_items(new: Batch[ItemCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Item)


@router.get("/{item_id}", response_model=ItemRead, summary="Read an item")
async def read_item(item_id: Id, query: Annotated[ItemQuery, Depends(ItemQuery.of_one)], session: ReadSession) -> Item:
    return found(await session.get(Item, item_id, options=query.loading))


@router.put("/{item_id}", response_model=ItemRead, summary="Replace an item")
async def replace_item(item_id: Id, new: ItemCreate, session: Session, matching: IfMatch) -> Item:
    item = matching(found(await session.get(Item, item_id)))
    item.sqlmodel_update(new.model_dump())
    return item


@router.patch("/{item_id}", response_model=ItemRead, summary="Update an item")
async def update_item(item_id: Id, changes: ItemUpdate, session: Session, matching: IfMatch) -> Item:
    item = matching(found(await session.get(Item, item_id)))
    item.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return item


@router.delete("/{item_id}", status_code=204, summary="Delete an item")
async def delete_item(item_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Item, item_id))))
