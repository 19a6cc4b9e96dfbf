"""Litestar with SQLSpec: hand-written SQL, executed by SQLSpec with asyncpg; rows and responses are msgspec structs."""

import os
from typing import Any

import msgspec
from litestar import Litestar, get, patch, post
from sqlspec import SQLSpec
from sqlspec.adapters.asyncpg import AsyncpgConfig, AsyncpgDriver
from sqlspec.extensions.litestar import SQLSpecPlugin

from benchmarks.peers.limit import ADDED, ALL_ADDED, CHANGEABLE, COLUMNS, FILTERED, MANY, ONE, POSTS
from benchmarks.peers.litestar import HeroChanges, HeroIn, HeroOut, PostOut, UserOut
from benchmarks.peers.tables import now


class FlatPost(msgspec.Struct):
    id: int
    title: str
    body: str
    author_id: int
    version: int
    created_at: Any
    updated_at: Any
    author_key: int
    username: str


@get("/heroes/")
async def list_heroes(
    db_session: AsyncpgDriver, limit: int = 100, offset: int = 0, age__gte: int | None = None
) -> list[HeroOut]:
    if age__gte is not None:
        return await db_session.select(FILTERED, limit, offset, age__gte, schema_type=HeroOut)
    return await db_session.select(MANY, limit, offset, schema_type=HeroOut)


@get("/heroes/{hero_id:int}")
async def get_hero(db_session: AsyncpgDriver, hero_id: int) -> HeroOut:
    return await db_session.select_one(ONE, hero_id, schema_type=HeroOut)


@post("/heroes/")
async def create_hero(db_session: AsyncpgDriver, data: HeroIn) -> HeroOut:
    values = (data.name, data.secret_name, data.age, data.power, data.team_id, now())
    return await db_session.select_one(ADDED, *values, schema_type=HeroOut)


@post("/heroes/bulk")
async def create_heroes(db_session: AsyncpgDriver, data: list[HeroIn]) -> list[HeroOut]:
    columns = ([getattr(one, name) for one in data] for name in CHANGEABLE)
    return await db_session.select(ALL_ADDED, *columns, now(), schema_type=HeroOut)


@patch("/heroes/{hero_id:int}")
async def update_hero(db_session: AsyncpgDriver, hero_id: int, data: HeroChanges) -> HeroOut:
    fields = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    sets = "".join(f"{name} = ${place}, " for place, name in enumerate(fields, 3))
    statement = f"UPDATE hero SET {sets}version = version + 1, updated_at = $2 WHERE id = $1 RETURNING {COLUMNS}"
    return await db_session.select_one(statement, hero_id, now(), *fields.values(), schema_type=HeroOut)


@get("/posts/")
async def list_posts(db_session: AsyncpgDriver, limit: int = 100) -> list[PostOut]:
    return [with_author(row) for row in await db_session.select(POSTS, limit, schema_type=FlatPost)]


def with_author(row: FlatPost) -> PostOut:
    fields = msgspec.structs.asdict(row)
    author = UserOut(fields.pop("author_key"), fields.pop("username"))
    return PostOut(**fields, author=author)


size = int(os.environ["POOL_SIZE"])
kept = {"min_size": size, "max_size": size, "max_inactive_connection_lifetime": 0}
bare = {"enable_correlation_middleware": False, "enable_sqlcommenter_middleware": False}
specs = SQLSpec()
specs.add_config(
    AsyncpgConfig(
        connection_config={"dsn": os.environ["DATABASE_URL"], **kept},
        extension_config={"litestar": bare},
    )
)
app = Litestar(
    [list_heroes, get_hero, create_hero, create_heroes, update_hero, list_posts],
    plugins=[SQLSpecPlugin(sqlspec=specs)],
    openapi_config=None,
)
