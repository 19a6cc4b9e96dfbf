"""Keywords: words of SQL are names of tables and fields like others, on both databases."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends
from sqlalchemy import (
    CheckConstraint,
    Column,
    MetaData,
    String,
    Table,
    and_,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Field, SQLModel
from sqlmodel import select as select_rows

from kit import Body, Changes, Database, Id, ListQuery, Page, Read, ReadSession, Session, Stamped, found, page
from kit.models.keywords import KEYWORDS
from tests.kit.habits.items import HabitEntity

OF_POSTGRESQL = "SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')"
DIALECTS: Any = (sqlite.dialect(), postgresql.dialect())  # type: ignore[no-untyped-call]


class LateralBase(SQLModel):
    nothing: str = Field(max_length=5, unique=True)
    returning: int = Field(default=1, ge=0, le=9, index=True)
    collation: str | None = Field(default=None, min_length=2, max_length=9, index=True)
    user: str = Field(default="me", max_length=3)


class Lateral(LateralBase, HabitEntity, table=True):
    """A table whose name and fields are keywords."""

    __tablename__ = "lateral"


class LateralCreate(LateralBase, Body):
    """A new row."""


class LateralUpdate(LateralCreate, Changes):
    """Changes to a row."""


class LateralRead(Stamped, LateralBase, Read):
    """A row."""


class LateralQuery(ListQuery):
    model = Lateral
    read = LateralRead
    search = ("nothing", "collation")


@pytest.mark.each_engine
async def test_every_keyword_is_a_name_of_a_table_and_a_column(database: Database) -> None:
    metadata = MetaData()
    async with database.writer.begin() as connection:
        own = [] if database.is_sqlite else (await connection.scalars(text(OF_POSTGRESQL))).all()
        for word in {*KEYWORDS, *own} - {str(Lateral.__tablename__)}:
            column = Column[str](word, String)
            table = Table(word, metadata, column, CheckConstraint(func.length(column) < 5))
            await connection.run_sync(table.create)
            await connection.execute(insert(table).values({word: "a"}))
            await connection.execute(update(table).values({word: "b"}).where(column == "a"))
            found = await connection.scalars(select(column.label(word)).where(column == "b").order_by(column))
            assert found.all() == ["b"], word
            assert (await connection.execute(delete(table).returning(column))).all() == [("b",)], word
            await connection.run_sync(table.drop)


def test_a_condition_has_the_same_text_for_both_databases() -> None:
    condition = and_(*(Column[str](word, String) == "x" for word in sorted(KEYWORDS)))
    first, second = (str(condition.compile(dialect=one, compile_kwargs={"literal_binds": True})) for one in DIALECTS)
    assert first == second


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_keywords_are_names_of_resources_and_fields(router: APIRouter, serve: Any) -> None:
    @router.get("/", response_model=list[LateralRead])
    async def read_list(query: Annotated[LateralQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, select_rows(Lateral))

    @router.post("/", response_model=LateralRead, status_code=201)
    async def create(new: LateralCreate, session: Session) -> Lateral:
        session.add(row := Lateral.model_validate(new))
        return row

    @router.patch("/{row_id}", response_model=LateralRead)
    async def change(row_id: Id, changes: LateralUpdate, session: Session) -> Lateral:
        return found(await session.get(Lateral, row_id)).sqlmodel_update(changes)

    client = await serve(router)
    for number, name in enumerate(("one", "two", "three"), 1):
        values = {"nothing": name, "returning": number, "collation": "same"}
        assert (await client.post("/", json=values)).status_code == 201
    assert (await client.patch("/1", json={"user": "you", "returning": 9})).json()["user"] == "you"
    taken = await client.post("/", json={"nothing": "one"})
    assert (taken.status_code, "nothing" in taken.json()["detail"]) == (409, True)
    for query, names in (
        ("sort=returning", ["two", "three", "one"]),
        ("returning__gt=2&collation=same&sort=nothing", ["one", "three"]),
        ("q=tw", ["two"]),
    ):
        assert [row["nothing"] for row in (await client.get(f"/?{query}")).json()] == names, query
