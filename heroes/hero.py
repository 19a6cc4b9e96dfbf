"""Heroes: a hero has a name, a secret name, a power, an optional age, and at most one team."""

from typing import Annotated

from fastapi import APIRouter, Depends
from sqlmodel import Field, Relationship, SQLModel, select

from heroes.team import Team
from kit import (
    Batch,
    Body,
    Changes,
    Entity,
    Id,
    IfMatch,
    ListQuery,
    Many,
    Name,
    OnError,
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

MAX_POWER = 1_000_000_000


class HeroBase(SQLModel):
    name: Name = Field(max_length=100, index=True, schema_extra={"examples": ["Deadpond"]})
    secret_name: Name = Field(max_length=100, index=True, schema_extra={"examples": ["Dive Wilson"]})
    age: int | None = Field(default=None, ge=0, le=10_000, index=True, schema_extra={"examples": [28]})
    power: int = Field(default=0, ge=0, le=MAX_POWER, index=True, schema_extra={"examples": [70]})
    team_id: int | None = Field(
        default=None,
        foreign_key="team.id",
        ondelete="SET NULL",
        description="The id of the team, if any.",
        index=True,
        schema_extra={"examples": [None]},
    )


class Hero(HeroBase, Entity, table=True):
    team: Team | None = Relationship(back_populates="heroes")


class HeroCreate(HeroBase, Body):
    """A new hero."""

    read_only = Body.read_only | {"team"}


class HeroRead(Stamped, HeroBase, Read):
    """A hero. `include=team` adds the team."""


class HeroUpdate(HeroCreate, Changes):
    """Changes to a hero; every field may be left out."""


class HeroQuery(ListQuery):
    model = Hero
    read = HeroRead
    search = ("name", "secret_name")
    includes = {"team": "TeamRead"}


router = APIRouter(prefix="/heroes", tags=["heroes"], route_class=allowing(read=Who.MEMBERS))


@router.get("/", response_model=list[HeroRead], summary="List heroes")
async def list_heroes(query: Annotated[HeroQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Hero))


@router.post("/", response_model=HeroRead, status_code=201, summary="Create a hero")
async def create_hero(new: HeroCreate, session: Session) -> Hero:
    hero = Hero.model_validate(new)
    session.add(hero)
    return hero


@router.post("/bulk", response_model=list[HeroRead], status_code=201, summary="Create many heroes")
async def bulk_create_heroes(new: Batch[HeroCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Hero)


@router.get("/{hero_id}", response_model=HeroRead, summary="Read a hero")
async def read_hero(hero_id: Id, query: Annotated[HeroQuery, Depends(HeroQuery.of_one)], session: ReadSession) -> Hero:
    return found(await session.get(Hero, hero_id, options=query.loading))


@router.put("/{hero_id}", response_model=HeroRead, summary="Replace a hero")
async def replace_hero(hero_id: Id, new: HeroCreate, session: Session, matching: IfMatch) -> Hero:
    hero = matching(found(await session.get(Hero, hero_id)))
    hero.sqlmodel_update(new.model_dump())
    return hero


@router.patch("/{hero_id}", response_model=HeroRead, summary="Update a hero")
async def update_hero(hero_id: Id, changes: HeroUpdate, session: Session, matching: IfMatch) -> Hero:
    hero = matching(found(await session.get(Hero, hero_id)))
    hero.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return hero


@router.delete("/{hero_id}", status_code=204, summary="Delete a hero")
async def delete_hero(hero_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Hero, hero_id))))
