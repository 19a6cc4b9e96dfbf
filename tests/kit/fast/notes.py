"""The tables of the fast path's tests, in a separate registry, so that no migration creates them."""

from decimal import Decimal
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any

from sqlalchemy import Column, ForeignKey, MetaData
from sqlalchemy.orm import registry
from sqlmodel import AutoString, Field, Relationship, SQLModel, col
from starlette.datastructures import QueryParams

from kit.auth.privacy import NO_FIELDS, private_fields_of
from kit.database.databases import Database
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity, Stamped, UUIDEntity
from kit.models.privacy import PRIVATE
from kit.models.reads import Read, UUIDRead
from kit.models.types import BIGINT, Money, MoneyColumn, Name
from kit.query import parameters
from kit.query.list_query import ListQuery


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))


class FastEntity(Entity, registry=REGISTRY):
    """An entity of these tests."""


class FastUUIDEntity(UUIDEntity, registry=REGISTRY):
    """An entity of these tests whose ids are generated in Python."""


class NoteBase(SQLModel):
    text: Name = Field(max_length=100, unique=True)
    stars: int | None = None
    price: Money = Field(default=Decimal("1.00"), sa_type=MoneyColumn)
    colour: Colour = Colour.RED
    size: Size = Field(default=Size.SMALL, sa_type=AutoString(10))
    owner_id: int | None = None
    secret: str = Field(default="hush", sa_column_kwargs=PRIVATE)


class FastNote(NoteBase, FastEntity, table=True):
    __tablename__ = "fast_note"
    __table_args__ = ({"sqlite_autoincrement": True},)
    belongs_to = "owner_id"
    replies: list["FastReply"] = Relationship(back_populates="note")


class FastReply(FastEntity, table=True):
    """A reply, whose foreign key to the note is checked at COMMIT."""

    __tablename__ = "fast_reply"
    text: str
    note_id: int | None = Field(
        default=None,
        sa_column=Column(BIGINT, ForeignKey("fast_note.id", deferrable=True, initially="DEFERRED"), nullable=True),
    )
    note: FastNote | None = Relationship(back_populates="replies")


class FastAside(FastEntity, table=True):
    """An aside, which belongs to the owner of its note."""

    __tablename__ = "fast_aside"
    belongs_to = "note_id"
    text: str
    note_id: int | None = Field(default=None, foreign_key="fast_note.id")


class FastLabel(FastUUIDEntity, table=True):
    __tablename__ = "fast_label"
    text: str


class FastNoteRead(Stamped, NoteBase, Read):
    """A note."""

    belongs_to = "owner_id"


class FastReplyRead(Stamped, Read):
    """A reply."""

    text: str
    note_id: int | None


class FastNoteBrief(Read):
    """A note embedded in another resource."""

    text: str
    secret: str = Field(sa_column_kwargs=PRIVATE)


class FastAnsweringRead(Stamped, Read):
    """A reply with its note."""

    text: str
    note: FastNoteBrief | None
    note_id: int | None


class FastLabelRead(Stamped, UUIDRead):
    """A label."""

    text: str


class FastNoteQuery(ListQuery):
    model = FastNote
    read = FastNoteRead
    filters = ("text", "stars", "colour")
    sorts = ("text", "stars")
    search = ("text",)
    includes = MappingProxyType({"replies": "FastReplyRead"})


class FastReplyQuery(ListQuery):
    model = FastReply
    read = FastReplyRead
    includes = MappingProxyType({"note": "FastNoteRead"})


class FastAnsweringQuery(ListQuery):
    model = FastReply
    read = FastAnsweringRead

    def narrowed(self, statement: Any) -> Any:
        return super().narrowed(statement).where(col(FastReply.text) != "3")


class FastLabelQuery(ListQuery):
    model = FastLabel
    read = FastLabelRead


TABLES: list[Any] = FastEntity.metadata.sorted_tables


def note(text: str, **fields: Any) -> FastNote:
    return FastNote(text=text, **fields)


def asked(kind: type[ListQuery], text: str = "") -> ListQuery:
    """Return a query with these parameters, without a request."""
    query = kind.__new__(kind)
    query.text, query.secret, query.secrets = text.encode(), bytes(32), [bytes(32)]
    query.given = parameters.read(kind.parameters, QueryParams(text))
    query.fields = query.given.get("fields")
    query.included = list(query.given.get("include", ()))
    query.root_path, query.related = "", {}
    query.hidden = NO_FIELDS if CURRENT_PRINCIPAL.get().is_superuser else private_fields_of(kind.model)
    return query


async def store(database: Database, *rows: Entity) -> None:
    """Store each row in its own transaction, as requests would."""
    for row in rows:
        async with database.write() as session:
            session.add(row)
            await session.prepare_commit()
            await session.commit()
