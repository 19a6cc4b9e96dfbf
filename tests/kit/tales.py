"""The tables of the tests of searches, in a separate registry, so that no migration creates them."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import MetaData
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from starlette.datastructures import QueryParams

from kit.auth.privacy import NO_FIELDS
from kit.database.databases import Database
from kit.models.entities import Entity, UUIDEntity
from kit.models.reads import Read, UUIDRead
from kit.models.types import Name
from kit.query import parameters
from kit.query.list_query import ListQuery
from kit.query.pages import plain_page

REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))

HAS_FAST_PATH = find_spec("kit.fast") is not None
"""Whether the folder of the fast path exists, which a service may delete."""
PAGES: dict[str, Any] = {"plain_page": plain_page}
"""The functions that read a page, by name."""
if HAS_FAST_PATH:
    PAGES["fast_page"] = import_module("kit.fast.pages").fast_page


def use_fast_sessions(database: Database) -> None:
    """Let the sessions of the database have all their shortcuts, if they exist."""
    if HAS_FAST_PATH:
        module = import_module("kit.fast.databases")
        module.use_fast_sessions(database, coalesce=False, group=False, without=frozenset())


class TaleBase(SQLModel):
    title: Name = Field(max_length=100, index=True)
    moral: str | None = Field(default=None, max_length=200)
    pages: int = Field(default=0, ge=0, le=10_000, index=True)
    stars: int | None = Field(default=None, ge=0, le=10, index=True)


class TaleEntity(Entity, registry=REGISTRY):
    """An entity of these tests."""


class Tale(TaleBase, TaleEntity, table=True):
    __tablename__ = "kit_tale"
    belongs_to: ClassVar[str | None] = "owner_id"
    owner_id: int | None = None


class TaleRead(TaleBase, Read):
    """A tale."""


class TaleQuery(ListQuery):
    model = Tale
    read = TaleRead
    search = ("title", "moral")


class SongBase(SQLModel):
    title: Name = Field(max_length=100, index=True)


class SongEntity(UUIDEntity, registry=REGISTRY):
    """An entity with a UUID."""


class Song(SongBase, SongEntity, table=True):
    __tablename__ = "kit_song"
    belongs_to: ClassVar[str | None] = "owner_id"
    owner_id: int | None = None


class SongRead(SongBase, UUIDRead):
    """A song."""


class SongQuery(ListQuery):
    model = Song
    read = SongRead
    search = ("title",)


TABLES: list[Any] = Tale.metadata.sorted_tables


class Runtime:
    """The part of the runtime that a query needs."""

    def __init__(self, database: Database) -> None:
        self.database = database


def asked(database: Database, kind: type[ListQuery], **given: Any) -> Any:
    """Return a query with these parameters, without a request."""
    query: Any = kind.__new__(kind)
    query.secret, query.secrets, query.root_path, query.related = bytes(32), [bytes(32)], "", {}
    texts = QueryParams({name: str(value) for name, value in given.items()})
    query.given, query.runtime, query.hidden = parameters.read(kind.parameters, texts), Runtime(database), NO_FIELDS
    query.fields, query.included = None, []
    return query


def ident(number: int) -> UUID:
    return UUID(int=number)
