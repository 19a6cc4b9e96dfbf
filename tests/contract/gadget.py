"""Gadgets: a resource that only these tests add to the service."""

from enum import Enum
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field as Bounds
from sqlmodel import CheckConstraint, Field, Relationship, SQLModel, UniqueConstraint, select

from kit import (
    BIGINT,
    Batch,
    Body,
    Changes,
    Entity,
    Id,
    IfMatch,
    JSONInteger,
    ListQuery,
    Many,
    Name,
    OnError,
    Page,
    Read,
    ReadSession,
    Reference,
    Session,
    Stamped,
    Text,
    Who,
    allowing,
    create_many,
    found,
    page,
    sorted_by,
)
from tests.contract.workshop import Workshop


class State(Enum):
    NEW = "new"
    USED = "used"


class GadgetBase(SQLModel):
    name: Name = Field(max_length=50, schema_extra={"examples": ["Grappling hook"]})
    slug: Annotated[str, Bounds(pattern="^[a-z0-9]+(-[a-z0-9]+)*$")] = Field(
        max_length=60, schema_extra={"examples": ["grappling-hook"]}
    )
    weight: JSONInteger = Field(ge=-1000, le=1000, description="In grams.", schema_extra={"examples": [250]})
    range: JSONInteger | None = Field(default=None, ge=0, le=2**31 - 1, schema_extra={"examples": [40]})
    note: Text | None = Field(default=None, max_length=300, schema_extra={"examples": ["Mind the rope in the grass."]})
    state: State = Field(default=State.NEW, schema_extra={"examples": ["used"]})
    is_sharp: Annotated[bool, Bounds(strict=True)] = Field(default=False, schema_extra={"examples": [True]})
    workshop_id: Reference | None = Field(
        default=None, foreign_key="workshop.id", ondelete="SET NULL", sa_type=BIGINT, schema_extra={"examples": [None]}
    )


class Gadget(GadgetBase, Entity, table=True):
    __table_args__ = (
        UniqueConstraint("slug"),
        CheckConstraint("weight BETWEEN -1000 AND 1000", name="weight"),
        *sorted_by("name", "weight", "range", "note", "state", "is_sharp", "workshop_id", "updated_at"),
        {"sqlite_autoincrement": True},
    )
    workshop: Workshop | None = Relationship(back_populates="gadgets")


class GadgetCreate(GadgetBase, Body):
    """A new gadget."""

    read_only = Body.read_only | {"workshop"}


class GadgetRead(Stamped, GadgetBase, Read):
    """A gadget. `include=workshop` adds its workshop."""


class GadgetUpdate(GadgetCreate, Changes):
    """Changes to a gadget; every field may be left out."""


class GadgetQuery(ListQuery):
    model = Gadget
    read = GadgetRead
    filters = ("name", "slug", "weight", "range", "note", "state", "is_sharp", "workshop_id", "updated_at")
    sorts = ("slug", "weight", "range", "note", "updated_at")
    search = ("name", "note")
    includes = {"workshop": "WorkshopRead"}  # noqa: RUF012  what a query variant declares is never changed
    default_sort = "-id"


router = APIRouter(prefix="/gadgets", tags=["gadgets"], route_class=allowing(read=Who.MEMBERS))


@router.get("/", response_model=list[GadgetRead], summary="List gadgets")
async def list_gadgets(query: Annotated[GadgetQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Gadget))


@router.post("/", response_model=GadgetRead, status_code=201, summary="Create a gadget")
async def create_gadget(new: GadgetCreate, session: Session) -> Gadget:
    gadget = Gadget.model_validate(new)
    session.add(gadget)
    return gadget


@router.post("/bulk", response_model=list[GadgetRead], status_code=201, summary="Create many gadgets")
async def bulk_create_gadgets(new: Batch[GadgetCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Gadget)


@router.get("/{gadget_id}", response_model=GadgetRead, summary="Read a gadget")
async def read_gadget(
    gadget_id: Id, query: Annotated[GadgetQuery, Depends(GadgetQuery.of_one)], session: ReadSession
) -> Gadget:
    return found(await session.get(Gadget, gadget_id, options=query.loading))


@router.put("/{gadget_id}", response_model=GadgetRead, summary="Replace a gadget")
async def replace_gadget(gadget_id: Id, new: GadgetCreate, session: Session, matching: IfMatch) -> Gadget:
    gadget = matching(found(await session.get(Gadget, gadget_id)))
    gadget.sqlmodel_update(new.model_dump())
    return gadget


@router.patch("/{gadget_id}", response_model=GadgetRead, summary="Update a gadget")
async def update_gadget(gadget_id: Id, changes: GadgetUpdate, session: Session, matching: IfMatch) -> Gadget:
    gadget = matching(found(await session.get(Gadget, gadget_id)))
    gadget.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return gadget


@router.delete("/{gadget_id}", status_code=204, summary="Delete a gadget")
async def delete_gadget(gadget_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Gadget, gadget_id))))
