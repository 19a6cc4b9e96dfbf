"""The tables of the habits' tests, in a separate registry, so that no migration creates them."""

from typing import Any, ClassVar, Optional

from pydantic import ConfigDict, field_validator
from sqlalchemy import Column, ForeignKey, MetaData, inspect
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import column_property, registry, validates
from sqlmodel import JSON, Field, Relationship, SQLModel, col, func, select

from kit import BIGINT, PRIVATE, Body, Changes, Entity, ListQuery, Name, Read, Stamped

REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))


class HabitEntity(Entity, registry=REGISTRY):
    """An entity of these tests."""


class BoxBase(SQLModel):
    name: Name = Field(max_length=20, unique=True)


class HabitBox(BoxBase, HabitEntity, table=True):
    __tablename__ = "habit_box"
    __table_args__ = ({"sqlite_autoincrement": True},)


class HabitBoxCreate(BoxBase, Body):
    """A new box. The table has no further validators."""


class HabitCup(HabitEntity, table=True):
    """A table with validators of SQLAlchemy and of pydantic."""

    __tablename__ = "habit_cup"
    __table_args__ = ({"sqlite_autoincrement": True},)

    name: Name = Field(max_length=20)
    colour: str = "white"

    @validates("name")
    def strip_name(self, key: str, name: str) -> str:
        return name.strip()

    @field_validator("colour")
    @classmethod
    def lower(cls, colour: str) -> str:
        return colour.lower()


class ItemBase(SQLModel):
    belongs_to: ClassVar[str | None] = "owner_id"

    name: Name = Field(max_length=20)
    size: int | None = Field(default=None, ge=0, le=100)
    diary: str = Field(default="hush", max_length=20, sa_column_kwargs=PRIVATE)
    owner_id: int | None = Field(default=None, sa_type=BIGINT)


class HabitItem(ItemBase, HabitEntity, table=True):
    __tablename__ = "habit_item"
    __table_args__ = ({"sqlite_autoincrement": True},)
    box_id: int | None = Field(
        default=None,
        sa_column=Column(BIGINT, ForeignKey("habit_box.id", deferrable=True, initially="DEFERRED")),
    )


class HabitItemCreate(ItemBase, Body):
    """A new item. The foreign key `box_id` is checked at COMMIT."""

    box_id: int | None = None


class HabitItemRead(Stamped, ItemBase, Read):
    """An item."""


class HabitItemUpdate(HabitItemCreate, Changes):
    """Changes to an item; every field may be left out."""


class HabitItemQuery(ListQuery):
    model = HabitItem
    read = HabitItemRead
    filters = ("name", "size")
    sorts = ("name", "size")
    search = ("name",)


class HabitBook(HabitEntity, table=True):
    __tablename__ = "habit_book"
    __table_args__ = ({"sqlite_autoincrement": True},)

    title: Name = Field(max_length=20)
    pages: int = 100
    author_id: int | None = Field(default=None, foreign_key="habit_author.id", sa_type=BIGINT)
    author: Optional["HabitAuthor"] = Relationship(back_populates="books")


class HabitAuthor(AsyncAttrs, HabitEntity, table=True):
    """A table with a relationship, and with attributes that are not columns."""

    __tablename__ = "habit_author"
    __table_args__ = ({"sqlite_autoincrement": True},)
    model_config = ConfigDict(ignored_types=(hybrid_property, AssociationProxy))  # type: ignore[assignment]

    name: Name = Field(max_length=20)
    books: list[HabitBook] = Relationship(
        back_populates="author", cascade_delete=True, sa_relationship_kwargs={"lazy": "select"}
    )
    titles: ClassVar[Any] = association_proxy("books", "title")

    @hybrid_property
    def initial(self) -> str:
        return self.name[0]

    @initial.inplace.expression
    @classmethod
    def _initial_expression(cls) -> Any:
        return func.substr(cls.name, 1, 1)


COUNT_OF_BOOKS = select(func.count()).where(col(HabitBook.author_id) == HabitAuthor.id).correlate_except(HabitBook)
inspect(HabitAuthor).add_property("count_of_books", column_property(COUNT_OF_BOOKS.scalar_subquery()))


class CrateBase(SQLModel):
    name: Name = Field(max_length=20)
    weight: int = 1
    tags: list[Any] = Field(default=[], sa_type=JSON, max_length=3)


class HabitCrate(CrateBase, HabitEntity, table=True):
    """A table with mutable values and defaults."""

    __tablename__ = "habit_crate"
    __table_args__ = ({"sqlite_autoincrement": True},)

    settings: dict[str, Any] = Field(default={"log": []}, sa_type=JSON)


class HabitCrateCreate(CrateBase, Body):
    """A new crate, without settings."""


class HabitCrateRead(CrateBase, Read):
    """A crate."""

    settings: dict[str, Any]


TABLES = REGISTRY.metadata.sorted_tables
NO_BOX = 4711
"""The id of a box that does not exist: an item in it is refused at COMMIT."""
