"""Workshops: a resource that only these tests add to the service, the parent of gadgets."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends
from sqlmodel import Field, Relationship, SQLModel, select

from kit import (
    Body,
    Entity,
    Id,
    ListQuery,
    Name,
    Page,
    Read,
    ReadSession,
    Session,
    Stamped,
    Who,
    allowing,
    found,
    page,
    sorted_by,
)

if TYPE_CHECKING:
    from tests.contract.gadget import Gadget


class WorkshopBase(SQLModel):
    name: Name = Field(max_length=50, schema_extra={"examples": ["Under the bar"]})


class Workshop(WorkshopBase, Entity, table=True):
    __table_args__ = (*sorted_by("name"), {"sqlite_autoincrement": True})
    gadgets: list["Gadget"] = Relationship(back_populates="workshop", sa_relationship_kwargs={"order_by": "Gadget.id"})


class WorkshopCreate(WorkshopBase, Body):
    """A new workshop."""


class WorkshopRead(Stamped, WorkshopBase, Read):
    """A workshop. `include=gadgets` adds its gadgets."""


class WorkshopQuery(ListQuery):
    model = Workshop
    read = WorkshopRead
    filters = ("name",)
    sorts = ("name",)
    includes = {"gadgets": "GadgetRead"}  # noqa: RUF012  what a query variant declares is never changed


router = APIRouter(prefix="/workshops", tags=["workshops"], route_class=allowing(read=Who.MEMBERS))


@router.get("/", response_model=list[WorkshopRead], summary="List workshops")
async def list_workshops(query: Annotated[WorkshopQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Workshop))


@router.post("/", response_model=WorkshopRead, status_code=201, summary="Create a workshop")
async def create_workshop(new: WorkshopCreate, session: Session) -> Workshop:
    workshop = Workshop.model_validate(new)
    session.add(workshop)
    return workshop


@router.get("/{workshop_id}", response_model=WorkshopRead, summary="Read a workshop")
async def read_workshop(
    workshop_id: Id, query: Annotated[WorkshopQuery, Depends(WorkshopQuery.of_one)], session: ReadSession
) -> Workshop:
    return found(await session.get(Workshop, workshop_id, options=query.loading))
