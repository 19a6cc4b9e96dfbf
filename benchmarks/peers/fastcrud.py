"""FastCRUD on FastAPI: its object for each table reads columns, not models, and FastAPI answers by schemas."""

import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastcrud import FastCRUD, JoinConfig
from pydantic import BaseModel
from sqlalchemy import insert, make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.peers.tables import Hero, Post, User


class HeroIn(BaseModel):
    name: str
    secret_name: str
    age: int | None = None
    power: int = 0
    team_id: int | None = None


class HeroUpdate(BaseModel):
    name: str | None = None
    secret_name: str | None = None
    age: int | None = None
    power: int | None = None
    team_id: int | None = None


class HeroOut(HeroIn):
    id: int
    version: int
    created_at: datetime
    updated_at: datetime


class UserOut(BaseModel):
    id: int
    username: str


class PostOnly(BaseModel):
    id: int
    title: str
    body: str
    author_id: int
    version: int
    created_at: datetime
    updated_at: datetime


class PostOut(PostOnly):
    author: UserOut


engine = create_async_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg"),
    pool_size=int(os.environ["POOL_SIZE"]),
    max_overflow=int(os.environ["POOL_OVERFLOW"]),
)
new_session = async_sessionmaker(engine, expire_on_commit=False)


async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]
heroes, posts = FastCRUD(Hero), FastCRUD(Post)
app = FastAPI()


@app.get("/heroes/")
async def list_heroes(
    db: Session, limit: int = 100, offset: int = 0, age__gte: int | None = None, sort: str = "id"
) -> list[HeroOut]:
    filters = {} if age__gte is None else {"age__gte": age__gte}
    columns, orders = (["power", "id"], ["desc", "desc"]) if sort == "-power" else (["id"], ["asc"])
    page = {"offset": offset, "limit": limit, "sort_columns": columns, "sort_orders": orders}
    found = await heroes.get_multi(db, schema_to_select=HeroOut, return_total_count=False, **page, **filters)
    return found["data"]


@app.get("/heroes/{hero_id}")
async def get_hero(db: Session, hero_id: int) -> HeroOut:
    hero = await heroes.get(db, schema_to_select=HeroOut, id=hero_id)
    if hero is None:
        raise HTTPException(status_code=404, detail="Hero not found")
    return hero


@app.post("/heroes/", status_code=201)
async def create_hero(db: Session, new: HeroIn) -> HeroOut:
    return await heroes.create(db, new, schema_to_select=HeroOut)


@app.post("/heroes/bulk", status_code=201)
async def create_heroes(db: Session, new: list[HeroIn]) -> list[HeroOut]:
    """FastCRUD has nothing for many new rows, so it is SQLAlchemy's own."""
    rows = await db.execute(insert(Hero).returning(*Hero.__table__.columns), [one.model_dump() for one in new])
    made = rows.mappings().all()
    await db.commit()
    return made


@app.patch("/heroes/{hero_id}")
async def update_hero(db: Session, hero_id: int, changes: HeroUpdate) -> HeroOut:
    fields: dict[str, Any] = changes.model_dump(exclude_unset=True) | {"version": Hero.version + 1}
    columns = list(HeroOut.model_fields)
    return await heroes.update(db, fields, id=hero_id, return_columns=columns)


@app.get("/posts/")
async def list_posts(db: Session, limit: int = 100, offset: int = 0) -> list[PostOut]:
    found = await posts.get_multi_joined(
        db,
        schema_to_select=PostOnly,
        joins_config=[
            JoinConfig(
                model=User,
                join_on=Post.author_id == User.id,
                join_prefix="author_",
                schema_to_select=UserOut,
                join_type="inner",
            )
        ],
        nest_joins=True,
        return_total_count=False,
        offset=offset,
        limit=limit,
        sort_columns=["created_at", "id"],
        sort_orders=["desc", "desc"],
    )
    return found["data"]
