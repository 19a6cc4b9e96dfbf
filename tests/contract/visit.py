"""Visits of workshops: a resource that has nothing but a reference to another one."""

from typing import Annotated

from fastapi import APIRouter, Depends
from sqlmodel import Field, SQLModel, select

from kit import (
    BIGINT,
    Batch,
    Body,
    Changes,
    Entity,
    Id,
    IfMatch,
    ListQuery,
    Many,
    OnError,
    Page,
    Read,
    ReadSession,
    Reference,
    Session,
    Stamped,
    Who,
    allowing,
    create_many,
    found,
    page,
)


class VisitBase(SQLModel):
    workshop_id: Reference = Field(
        foreign_key="workshop.id", ondelete="CASCADE", sa_type=BIGINT, index=True, schema_extra={"examples": [1]}
    )


class Visit(VisitBase, Entity, table=True):
    """The table of visits."""


class VisitCreate(VisitBase, Body):
    """A new visit."""


class VisitRead(Stamped, VisitBase, Read):
    """A visit."""


class VisitUpdate(VisitCreate, Changes):
    """Changes to a visit; every field may be left out."""


class VisitQuery(ListQuery):
    model = Visit
    read = VisitRead


router = APIRouter(prefix="/visits", tags=["visits"], route_class=allowing(read=Who.MEMBERS))


@router.get("/", response_model=list[VisitRead], summary="List visits")
async def list_visits(query: Annotated[VisitQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Visit))


@router.post("/", response_model=VisitRead, status_code=201, summary="Create a visit")
async def create_visit(new: VisitCreate, session: Session) -> Visit:
    visit = Visit.model_validate(new)
    session.add(visit)
    return visit


@router.post("/bulk", response_model=list[VisitRead], status_code=201, summary="Create many visits")
async def bulk_create_visits(new: Batch[VisitCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Visit)


@router.get("/{visit_id}", response_model=VisitRead, summary="Read a visit")
async def read_visit(
    visit_id: Id, query: Annotated[VisitQuery, Depends(VisitQuery.of_one)], session: ReadSession
) -> Visit:
    return found(await session.get(Visit, visit_id, options=query.loading))


@router.put("/{visit_id}", response_model=VisitRead, summary="Replace a visit")
async def replace_visit(visit_id: Id, new: VisitCreate, session: Session, matching: IfMatch) -> Visit:
    visit = matching(found(await session.get(Visit, visit_id)))
    visit.sqlmodel_update(new.model_dump())
    return visit


@router.patch("/{visit_id}", response_model=VisitRead, summary="Update a visit")
async def update_visit(visit_id: Id, changes: VisitUpdate, session: Session, matching: IfMatch) -> Visit:
    visit = matching(found(await session.get(Visit, visit_id)))
    visit.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return visit


@router.delete("/{visit_id}", status_code=204, summary="Delete a visit")
async def delete_visit(visit_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Visit, visit_id))))
