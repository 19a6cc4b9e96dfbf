"""Repairs of gadgets: a resource that can be created and read, but not changed or deleted."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from sqlmodel import Field, SQLModel, UniqueConstraint, select

from kit import (
    BIGINT,
    Body,
    ListQuery,
    Money,
    MoneyColumn,
    Page,
    ReadSession,
    Reference,
    Session,
    Stamped,
    Text,
    UUIDEntity,
    UUIDRead,
    Who,
    allowing,
    found,
    page,
    sorted_by,
)


class RepairBase(SQLModel):
    gadget_id: Reference = Field(
        foreign_key="gadget.id", sa_type=BIGINT, ondelete="CASCADE", schema_extra={"examples": [1]}
    )
    client: Text = Field(
        max_length=20,
        description="A parameter of helpers of the tests has this name too. Unique for its gadget.",
        schema_extra={"examples": ["Ann"]},
    )
    cost: Money = Field(default=Decimal(0), sa_type=MoneyColumn, schema_extra={"examples": ["9.99"]})


class Repair(RepairBase, UUIDEntity, table=True):
    __table_args__ = (UniqueConstraint("gadget_id", "client"), *sorted_by("gadget_id", "client", "cost", "created_at"))


class RepairCreate(RepairBase, Body):
    """A new repair, with a field that is not shown to others."""

    mechanic: Text = Field(max_length=20, schema_extra={"examples": ["Weasel"]})


class RepairRead(Stamped, RepairBase, UUIDRead):
    """A repair."""


class RepairQuery(ListQuery):
    model = Repair
    read = RepairRead
    filters = ("gadget_id", "client", "cost", "created_at")
    sorts = ("client", "cost", "created_at")
    search = ("client",)
    default_sort = "-created_at"


router = APIRouter(prefix="/repairs", tags=["repairs"], route_class=allowing(read=Who.MEMBERS))


@router.get("/", response_model=list[RepairRead], summary="List repairs")
async def list_repairs(query: Annotated[RepairQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Repair))


@router.post("/", response_model=RepairRead, status_code=201, summary="Tell of a repair")
async def create_repair(new: RepairCreate, session: Session) -> Repair:
    repair = Repair.model_validate(new)
    session.add(repair)
    return repair


@router.get("/{repair_id}", response_model=RepairRead, summary="Read a repair")
async def read_repair(
    repair_id: UUID, query: Annotated[RepairQuery, Depends(RepairQuery.of_one)], session: ReadSession
) -> Repair:
    return found(await session.get(Repair, repair_id, options=query.loading))
