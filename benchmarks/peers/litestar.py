"""Litestar with Advanced Alchemy: its repositories on SQLAlchemy and asyncpg, its answers by msgspec."""

import os
from datetime import datetime
from typing import Any

import msgspec
from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    EngineConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyPlugin,
)
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from litestar import Litestar, get, patch, post
from litestar.di import Provide
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from benchmarks.peers.tables import Hero, Post, now


class HeroIn(msgspec.Struct):
    name: str
    secret_name: str
    age: int | None = None
    power: int = 0
    team_id: int | None = None


class HeroChanges(msgspec.Struct):
    name: str | msgspec.UnsetType = msgspec.UNSET
    secret_name: str | msgspec.UnsetType = msgspec.UNSET
    age: int | msgspec.UnsetType | None = msgspec.UNSET
    power: int | msgspec.UnsetType = msgspec.UNSET
    team_id: int | msgspec.UnsetType | None = msgspec.UNSET


class HeroOut(msgspec.Struct):
    id: int
    name: str
    secret_name: str
    age: int | None
    power: int
    team_id: int | None
    version: int
    created_at: datetime
    updated_at: datetime


class UserOut(msgspec.Struct):
    id: int
    username: str


class PostOut(msgspec.Struct):
    id: int
    title: str
    body: str
    author_id: int
    version: int
    created_at: datetime
    updated_at: datetime
    author: UserOut


class Heroes(SQLAlchemyAsyncRepository[Hero]):
    model_type = Hero


class Posts(SQLAlchemyAsyncRepository[Post]):
    model_type = Post


async def provide_heroes(db_session: AsyncSession) -> Heroes:
    return Heroes(session=db_session)


async def provide_posts(db_session: AsyncSession) -> Posts:
    return Posts(session=db_session)


def shown(row: Any, kind: Any = HeroOut) -> Any:
    return msgspec.convert(row, kind, from_attributes=True)


@get("/heroes/")
async def list_heroes(
    heroes: Heroes, limit: int = 100, offset: int = 0, age__gte: int | None = None, sort: str = "id"
) -> list[HeroOut]:
    filters = [] if age__gte is None else [Hero.age >= age__gte]
    order = [("power", True), ("id", True)] if sort == "-power" else [("id", False)]
    statement = heroes.statement.limit(limit).offset(offset)
    return shown(await heroes.list(*filters, statement=statement, order_by=order), list[HeroOut])


@get("/heroes/{hero_id:int}")
async def get_hero(heroes: Heroes, hero_id: int) -> HeroOut:
    return shown(await heroes.get(hero_id))


@post("/heroes/")
async def create_hero(heroes: Heroes, data: HeroIn) -> HeroOut:
    return shown(await heroes.add(Hero(**msgspec.structs.asdict(data)), auto_commit=True, auto_refresh=False))


@post("/heroes/bulk")
async def create_heroes(heroes: Heroes, data: list[HeroIn]) -> list[HeroOut]:
    made = [Hero(**msgspec.structs.asdict(one)) for one in data]
    return shown(await heroes.add_many(made, auto_commit=True), list[HeroOut])


@patch("/heroes/{hero_id:int}")
async def update_hero(heroes: Heroes, hero_id: int, data: HeroChanges) -> HeroOut:
    hero = await heroes.get(hero_id)
    fields = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    for name, value in (fields | {"version": hero.version + 1, "updated_at": now()}).items():
        setattr(hero, name, value)
    await heroes.session.commit()
    return shown(hero)


@get("/posts/")
async def list_posts(posts: Posts, limit: int = 100, offset: int = 0) -> list[PostOut]:
    newest = posts.statement.limit(limit).offset(offset)
    order = [("created_at", True), ("id", True)]
    return shown(await posts.list(statement=newest, order_by=order, load=joinedload(Post.author)), list[PostOut])


alchemy = SQLAlchemyAsyncConfig(
    connection_string=make_url(os.environ["DATABASE_URL"])
    .set(drivername="postgresql+asyncpg")
    .render_as_string(hide_password=False),
    engine_config=EngineConfig(pool_size=int(os.environ["POOL_SIZE"]), max_overflow=int(os.environ["POOL_OVERFLOW"])),
    session_config=AsyncSessionConfig(expire_on_commit=False),
)
app = Litestar(
    [list_heroes, get_hero, create_hero, create_heroes, update_hero, list_posts],
    dependencies={"heroes": Provide(provide_heroes), "posts": Provide(provide_posts)},
    plugins=[SQLAlchemyPlugin(config=alchemy)],
    openapi_config=None,
)
