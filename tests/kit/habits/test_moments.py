"""Moments that the database sets: they are compared with those of the service, on both databases."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends
from sqlalchemy import func, text
from sqlmodel import Field, SQLModel, col, select, update

from kit import Body, Database, ListQuery, Page, Read, ReadSession, Session, page
from tests.kit.habits.conftest import Serve
from tests.kit.habits.items import HabitEntity
from tests.waiting import until

pytestmark = pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
NAMES = ("began_at", "ended_at")
SECOND = timedelta(seconds=1)


class VisitBase(SQLModel):
    began_at: datetime | None = Field(default=None, index=True, sa_column_kwargs={"server_default": func.now()})
    ended_at: datetime | None = Field(
        default=None,
        index=True,
        sa_column_kwargs={"server_default": text("CURRENT_TIMESTAMP"), "onupdate": text("current_timestamp")},
    )


class HabitVisit(VisitBase, HabitEntity, table=True):
    """A table whose database sets moments, as SQLAlchemy documents it."""

    __tablename__ = "habit_visit"
    note: str = Field(default="", max_length=9)


class HabitVisitCreate(VisitBase, Body):
    """A new visit."""


class HabitVisitRead(VisitBase, Read):
    """A visit."""


class HabitVisitQuery(ListQuery):
    model, read = HabitVisit, HabitVisitRead


@pytest.fixture
async def visits(router: APIRouter, serve: Serve) -> httpx.AsyncClient:
    """Provide a client of the visits: four at moments of the database, one with a fraction of 0, and one later."""

    @router.post("/visits", response_model=HabitVisitRead, status_code=201)
    async def create(new: HabitVisitCreate, session: Session) -> HabitVisit:
        session.add(visit := HabitVisit.model_validate(new))
        return visit

    @router.get("/visits", response_model=list[HabitVisitRead])
    async def list_visits(query: Annotated[Any, Depends(HabitVisitQuery)], session: ReadSession) -> Page:
        return await page(session, query, select(HabitVisit))

    client = await serve(router)
    made = [(await client.post("/visits", json={})).json() for _ in range(4)]
    second = datetime.fromisoformat(made[0]["began_at"]).replace(microsecond=0)
    for moment in (second, second + 60 * SECOND):
        await client.post("/visits", json=dict.fromkeys(NAMES, moment.isoformat()))
    return client


async def found(visits: httpx.AsyncClient, **parameters: Any) -> list[dict[str, Any]]:
    answer = await visits.get("/visits", params=parameters)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows


@pytest.mark.parametrize("name", NAMES)
async def test_a_moment_of_the_database_is_filtered_as_any_other(visits: httpx.AsyncClient, name: str) -> None:
    rows = await found(visits, sort="id")
    assert len(rows) == 6
    for row in rows:
        moment = datetime.fromisoformat(row[name])
        for operator, expected in {
            "": [one for one in rows if datetime.fromisoformat(one[name]) == moment],
            "__lt": [one for one in rows if datetime.fromisoformat(one[name]) < moment],
            "__gte": [one for one in rows if datetime.fromisoformat(one[name]) >= moment],
        }.items():
            assert await found(visits, **{f"{name}{operator}": row[name], "sort": "id"}) == expected, operator


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", ["", "-"])
async def test_pages_lead_over_moments_of_the_database(visits: httpx.AsyncClient, name: str, sign: str) -> None:
    rows: list[Any] = []
    answer = await visits.get("/visits", params={"sort": f"{sign}{name}", "limit": 1})
    while "next" in answer.links and len(rows) < 6:
        rows += answer.json()
        answer = await visits.get(answer.links["next"]["url"])
    rows += answer.json()
    moments = [datetime.fromisoformat(row[name]) for row in rows]
    assert (len(rows), moments) == (6, sorted(moments, reverse=sign == "-"))


async def test_a_moment_of_an_update_is_later_than_the_one_before(
    visits: httpx.AsyncClient, database: Database
) -> None:
    (first, *_) = await found(visits, sort="id")

    async def is_later() -> bool:
        async with database.write() as session, session.begin():
            await session.exec(update(HabitVisit).where(col(HabitVisit.id) == first["id"]).values(note="x"))
        return len(await found(visits, id=first["id"], ended_at__gt=first["ended_at"])) == 1

    await until(is_later)
    (changed,) = await found(visits, id=first["id"])
    assert await found(visits, ended_at=changed["ended_at"]) == [changed]
