"""The complete example of SQLModel's async tutorial, with our columns, and echo off.

`POOL_PRE_PING` decides whether its pool tests each connection before its use, as the tutorial documents.
The operations that the example lacks (a filtered list, bulk creation, posts with authors) are written in its style.
"""

import os
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload
from sqlmodel import Field, Relationship, SQLModel, select


def now() -> datetime:
    return datetime.now(UTC)


class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    secret_name: str
    age: int | None = Field(default=None, index=True)
    power: int = 0
    team_id: int | None = None
    version: int = 1
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)


class HeroUpdate(SQLModel):
    name: str | None = None
    secret_name: str | None = None
    age: int | None = None
    power: int | None = None
    team_id: int | None = None


class UserBrief(SQLModel):
    id: int | None = Field(default=None, primary_key=True)
    username: str


class User(UserBrief, table=True): ...


class PostBase(SQLModel):
    title: str
    body: str
    author_id: int = Field(foreign_key="user.id")
    version: int = 1
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)


class Post(PostBase, table=True):
    id: int | None = Field(default=None, primary_key=True)
    author: User = Relationship()


class PostWithAuthor(PostBase):
    id: int
    author: UserBrief


url = make_url(os.environ["DATABASE_URL"])
engine = create_async_engine(
    url.set(drivername={"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}[url.drivername]),
    pool_size=int(os.environ["POOL_SIZE"]),
    max_overflow=int(os.environ["POOL_OVERFLOW"]),
    pool_pre_ping=os.environ["POOL_PRE_PING"] == "true",
    pool_recycle=3600,
)
async_session = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)


async def get_session() -> AsyncGenerator[AsyncSession, None]:
    async with async_session() as session:
        yield session


AsyncSessionDep = Annotated[AsyncSession, Depends(get_session)]
app = FastAPI()


@app.post("/heroes/")
async def create_hero(hero: Hero, session: AsyncSessionDep) -> Hero:
    session.add(hero)
    await session.commit()
    await session.refresh(hero)
    return hero


@app.post("/heroes/bulk")
async def create_heroes(heroes: list[Hero], session: AsyncSessionDep) -> list[Hero]:
    session.add_all(heroes)
    await session.commit()
    return heroes


@app.get("/heroes/")
async def read_heroes(
    session: AsyncSessionDep,
    offset: int = 0,
    limit: Annotated[int, Query(le=100)] = 100,
    age__gte: int | None = None,
    sort: str = "id",
) -> list[Hero]:
    statement = select(Hero)
    if age__gte is not None:
        statement = statement.where(Hero.age >= age__gte)
    by_power = (Hero.power.desc(), Hero.id.desc())
    statement = statement.order_by(*(by_power if sort == "-power" else (Hero.id,)))
    result = await session.execute(statement.offset(offset).limit(limit))
    return result.scalars().all()


@app.get("/heroes/{hero_id}")
async def read_hero(hero_id: int, session: AsyncSessionDep) -> Hero:
    hero = await session.get(Hero, hero_id)
    if not hero:
        raise HTTPException(status_code=404, detail="Hero not found")
    return hero


@app.patch("/heroes/{hero_id}")
async def update_hero(hero_id: int, hero: HeroUpdate, session: AsyncSessionDep):
    hero_db = await session.get(Hero, hero_id)
    if not hero_db:
        raise HTTPException(status_code=404, detail="Hero not found")

    hero_data = hero.model_dump(exclude_unset=True)
    hero_db.sqlmodel_update(hero_data, update={"version": hero_db.version + 1, "updated_at": now()})

    session.add(hero_db)
    await session.commit()
    await session.refresh(hero_db)
    return hero_db


@app.get("/posts/")
async def read_posts(
    session: AsyncSessionDep, offset: int = 0, limit: Annotated[int, Query(le=100)] = 100
) -> list[PostWithAuthor]:
    newest = select(Post).order_by(Post.created_at.desc(), Post.id.desc()).options(selectinload(Post.author))
    result = await session.execute(newest.offset(offset).limit(limit))
    return result.scalars().all()
