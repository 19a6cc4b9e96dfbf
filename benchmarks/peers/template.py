"""A service in the style of the full-stack FastAPI template: synchronous SQLModel on psycopg, handlers in threads."""

import os
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import make_url
from sqlalchemy.orm import selectinload
from sqlmodel import Field, Relationship, Session, SQLModel, col, create_engine, select


def now() -> datetime:
    return datetime.now(UTC)


class HeroBase(SQLModel):
    name: str = Field(min_length=1, max_length=100)
    secret_name: str = Field(min_length=1, max_length=100)
    age: int | None = Field(default=None, ge=0)
    power: int = Field(default=0, ge=0)
    team_id: int | None = None


class HeroCreate(HeroBase):
    pass


class HeroUpdate(HeroBase):
    name: str | None = Field(default=None, min_length=1, max_length=100)
    secret_name: str | None = Field(default=None, min_length=1, max_length=100)
    power: int | None = Field(default=None, ge=0)


class Stamped(SQLModel):
    version: int = 1
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)


class Hero(HeroBase, Stamped, table=True):
    id: int | None = Field(default=None, primary_key=True)


class HeroPublic(HeroBase, Stamped):
    id: int


class User(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    username: str


class UserPublic(SQLModel):
    id: int
    username: str


class PostBase(Stamped):
    title: str
    body: str
    author_id: int = Field(foreign_key="user.id")


class Post(PostBase, table=True):
    id: int | None = Field(default=None, primary_key=True)
    author: User = Relationship()


class PostPublic(PostBase):
    id: int
    author: UserPublic


engine = create_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg"),
    pool_size=int(os.environ["POOL_SIZE"]),
    max_overflow=int(os.environ["POOL_OVERFLOW"]),
)


def get_db() -> Generator[Session, None, None]:
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_db)]
app = FastAPI()


@app.get("/heroes/", response_model=list[HeroPublic])
def read_heroes(
    session: SessionDep, offset: int = 0, limit: int = 100, age__gte: int | None = None, sort: str = "id"
) -> Any:
    by_power = (col(Hero.power).desc(), col(Hero.id).desc())
    statement = select(Hero).order_by(*(by_power if sort == "-power" else (col(Hero.id),)))
    if age__gte is not None:
        statement = statement.where(col(Hero.age) >= age__gte)
    return session.exec(statement.offset(offset).limit(limit)).all()


@app.get("/heroes/{id}", response_model=HeroPublic)
def read_hero(session: SessionDep, id: int) -> Any:  # noqa: A002  the template's name
    hero = session.get(Hero, id)
    if not hero:
        raise HTTPException(status_code=404, detail="Hero not found")
    return hero


@app.post("/heroes/", response_model=HeroPublic)
def create_hero(*, session: SessionDep, hero_in: HeroCreate) -> Any:
    hero = Hero.model_validate(hero_in)
    session.add(hero)
    session.commit()
    session.refresh(hero)
    return hero


@app.post("/heroes/bulk", response_model=list[HeroPublic])
def create_heroes(*, session: SessionDep, heroes_in: list[HeroCreate]) -> Any:
    heroes = [Hero.model_validate(hero_in) for hero_in in heroes_in]
    session.add_all(heroes)
    session.flush()
    answered = [HeroPublic.model_validate(hero) for hero in heroes]  # before the commit: it makes all be read again
    session.commit()
    return answered


@app.patch("/heroes/{id}", response_model=HeroPublic)
def update_hero(*, session: SessionDep, id: int, hero_in: HeroUpdate) -> Any:  # noqa: A002  the template's name
    hero = session.get(Hero, id)
    if not hero:
        raise HTTPException(status_code=404, detail="Hero not found")
    changes = hero_in.model_dump(exclude_unset=True)
    hero.sqlmodel_update(changes, update={"version": hero.version + 1, "updated_at": now()})
    session.add(hero)
    session.commit()
    session.refresh(hero)
    return hero


@app.get("/posts/", response_model=list[PostPublic])
def read_posts(session: SessionDep, offset: int = 0, limit: int = 100) -> Any:
    newest = select(Post).order_by(col(Post.created_at).desc(), col(Post.id).desc()).options(selectinload(Post.author))
    return session.exec(newest.offset(offset).limit(limit)).all()
