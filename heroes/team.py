"""Teams: a team has a unique name and headquarters. When it is deleted, its heroes remain without a team."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends
from sqlmodel import Field, Relationship, SQLModel, select

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

if TYPE_CHECKING:
    from heroes.hero import Hero


class TeamBase(SQLModel):
    name: Name = Field(
        max_length=100,
        description="Unique.",
        unique=True,
        schema_extra={"examples": ["Preventers", "Z-Force", "Defenders"]},
    )
    headquarters: Name = Field(max_length=200, index=True, schema_extra={"examples": ["Sharp Tower"]})


class Team(TeamBase, Entity, table=True):
    heroes: list["Hero"] = Relationship(back_populates="team")


class TeamCreate(TeamBase, Body):
    """A new team."""


class TeamRead(Stamped, TeamBase, Read):
    """A team. `include=heroes` adds its heroes."""


class TeamUpdate(TeamCreate, Changes):
    """Changes to a team; every field may be left out."""


class TeamQuery(ListQuery):
    model = Team
    read = TeamRead
    search = ("name", "headquarters")
    includes = {"heroes": "HeroRead"}


router = APIRouter(prefix="/teams", tags=["teams"], route_class=allowing(read=Who.MEMBERS))


@router.get("/", response_model=list[TeamRead], summary="List teams")
async def list_teams(query: Annotated[TeamQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Team))


@router.post("/", response_model=TeamRead, status_code=201, summary="Create a team")
async def create_team(new: TeamCreate, session: Session) -> Team:
    team = Team.model_validate(new)
    session.add(team)
    return team


@router.post("/bulk", response_model=list[TeamRead], status_code=201, summary="Create many teams")
async def bulk_create_teams(new: Batch[TeamCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Team)


@router.get("/{team_id}", response_model=TeamRead, summary="Read a team")
async def read_team(team_id: Id, query: Annotated[TeamQuery, Depends(TeamQuery.of_one)], session: ReadSession) -> Team:
    return found(await session.get(Team, team_id, options=query.loading))


@router.put("/{team_id}", response_model=TeamRead, summary="Replace a team")
async def replace_team(team_id: Id, new: TeamCreate, session: Session, matching: IfMatch) -> Team:
    team = matching(found(await session.get(Team, team_id)))
    team.sqlmodel_update(new.model_dump())
    return team


@router.patch("/{team_id}", response_model=TeamRead, summary="Update a team")
async def update_team(team_id: Id, changes: TeamUpdate, session: Session, matching: IfMatch) -> Team:
    team = matching(found(await session.get(Team, team_id)))
    team.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return team


@router.delete("/{team_id}", status_code=204, summary="Delete a team")
async def delete_team(team_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Team, team_id))))
