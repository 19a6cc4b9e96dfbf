"""What every table and every body has: an id, a version, timestamps, and fields that are read-only."""

from collections.abc import Callable, Mapping
from copy import copy
from datetime import UTC, datetime
from functools import cache, partial
from types import MappingProxyType
from typing import Any, ClassVar, Self, cast
from uuid import UUID

from pydantic import BaseModel, model_validator
from pydantic_core import PydanticUndefined
from sqlalchemy import Index, String, event
from sqlalchemy.orm import Mapper, class_mapper, declared_attr
from sqlmodel import AutoString, Field, SQLModel
from sqlmodel._compat import SQLModelConfig

from kit.models.types import BIGINT, new_uuid

SQLModel.metadata.naming_convention = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
}


SHOWN: dict[str, Any] = {"lazy": "raise", "viewonly": True}
"""Of a relationship: it shows what a foreign key leads to, where a query asks for it; what is written is the key."""


def sorted_by(*fields: str) -> list[Index]:
    """An index under each field, for filters and sorts; the id behind it makes the order total, as a page needs it."""
    return [Index(None, field, "id") for field in fields]


def now() -> datetime:
    return datetime.now(UTC)


class Stamped(SQLModel):
    """What the service itself writes into every row."""

    version: int = Field(default=1, description="Rises by one with every change; the ETag.")
    created_at: datetime = Field(default_factory=now, description="UTC, RFC 3339.")
    updated_at: datetime = Field(default_factory=now, sa_column_kwargs={"onupdate": now}, description="UTC, RFC 3339.")


class Entity(Stamped):
    """A table of the service: numbered, versioned and stamped."""

    id: int = Field(default=None, primary_key=True, sa_type=BIGINT)
    belongs_to: ClassVar[str | None] = None
    """The field that names the user to whom a row belongs."""
    reserved: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """The fields that only superusers may set, with what they are at first."""

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """A row of this; a body was validated when it came in, by the same fields, and is not validated again."""
        if not isinstance(obj, Body) or options:
            return super().model_validate(obj, **options)
        row: Self = class_mapper(cls).class_manager.new_instance()
        given = vars(obj)
        row.__dict__.update({name: given[name] if name in given else make() for name, make in defaults_of(cls)})
        return row

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.version}


@cache
def defaults_of(entity: type[Entity]) -> list[tuple[str, Callable[[], Any]]]:
    """The fields, each with what makes its value where none is given."""
    fields = entity.model_fields.items()
    return [(name, cast("Any", field.default_factory) or partial(copy, field.default)) for name, field in fields]


class UUIDEntity(Entity):
    """A table whose rows are known by a UUID, which tells nothing of how many there are."""

    id: UUID = Field(default_factory=new_uuid, primary_key=True)  # type: ignore[assignment]  # instead of the number


@event.listens_for(Entity, "instrument_class", propagate=True)
def order_text_by_code_point(mapper: Mapper[Any], _: type) -> None:
    """Sort text the same on both databases: by code point, as SQLite does, not by locale."""
    for column in mapper.local_table.columns:
        if isinstance(column.type, AutoString):
            length = column.type.length
            column.type = String(length).with_variant(String(length, collation="C"), "postgresql")


class Read(SQLModel):
    """What goes out: its fields, in this order, as JSON. It is not validated again."""

    model_config = SQLModelConfig(json_schema_serialization_defaults_required=True)

    id: int = Field(description="Given by the service.", schema_extra={"examples": [1]})


class UUIDRead(Read):
    """What goes out of a table of UUIDs."""

    id: UUID = Field(description="Given by the service.")  # type: ignore[assignment]  # instead of the number


class Body(SQLModel):
    """What comes in: unknown fields are refused, read-only ones ignored, so that what was read may be sent back."""

    model_config = SQLModelConfig(extra="forbid")
    read_only: ClassVar[frozenset[str]] = frozenset({"id", "version", "created_at", "updated_at"})
    __init__ = BaseModel.__init__  # SQLModel's is for tables, and half of the time of each body

    @model_validator(mode="before")
    @classmethod
    def ignore_read_only(cls, body: object) -> object:
        if not isinstance(body, dict) or cls.read_only.isdisjoint(body):
            return body
        return {name: value for name, value in body.items() if name not in cls.read_only}


class Changes(Body):
    """A body of which every field may be left out; leaving it out does not make it nullable."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for field in cls.model_fields.values():
            field.default, field.default_factory, field.validate_default = PydanticUndefined, lambda: None, False
        cls.model_rebuild(force=True)
