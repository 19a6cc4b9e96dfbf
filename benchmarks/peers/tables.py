"""The tables as SQLAlchemy declarative classes, for the peers that use SQLAlchemy."""

from datetime import UTC, datetime

from sqlalchemy import BigInteger, DateTime, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


def now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    pass


class Stamped:
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)


class Hero(Stamped, Base):
    __tablename__ = "hero"
    name: Mapped[str]
    secret_name: Mapped[str]
    age: Mapped[int | None]
    power: Mapped[int] = mapped_column(default=0)
    team_id: Mapped[int | None] = mapped_column(BigInteger)


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    username: Mapped[str]


class Post(Stamped, Base):
    __tablename__ = "post"
    title: Mapped[str]
    body: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    author: Mapped[User] = relationship(lazy="raise")
