"""Entities and bodies: tables whose rows have an id, a version and timestamps, and what creates and changes rows."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticUndefined
from sqlalchemy import Index, Integer, MetaData, Table, event, inspect
from sqlalchemy.orm import Mapper, declared_attr
from sqlalchemy.orm.attributes import set_attribute
from sqlmodel import Field, SQLModel

from kit.models.columns import BIGINT
from kit.models.fields import harden
from kit.models.naming import NAMES
from kit.models.privacy import hidden_fields
from kit.models.relationships import complete, leave_children_to_the_database
from kit.models.tables import complete_table, type_columns
from kit.models.types import new_uuid

SQLModel.metadata.naming_convention = NAMES

VIEW: dict[str, Any] = {"lazy": "raise", "viewonly": True}
"""Options of a relationship that is only read, where a query asks for it; what is written is the foreign key."""


def sorted_by(*fields: str) -> list[Index]:
    """An index on each field, for filters and sorts; the id as second column makes the order of a page total."""
    return [Index(None, field, "id") for field in fields]


def now() -> datetime:
    return datetime.now(UTC)


ROW_OF_BODY: ContextVar[Callable[[Any, Any], Any] | None] = ContextVar("row_of_body", default=None)
"""A cheaper way to make a row of a body, which answers None where it does not apply."""


class Stamped(SQLModel):
    """The columns that the service itself writes: version and timestamps."""

    version: int = Field(default=1, sa_type=Integer, description="Rises by one with every change; the ETag.")
    created_at: datetime = Field(default_factory=now, index=True, description="UTC, RFC 3339.")
    updated_at: datetime = Field(default_factory=now, sa_column_kwargs={"onupdate": now}, description="UTC, RFC 3339.")


class Entity(Stamped):
    """A table of a resource: numbered, versioned and stamped."""

    id: int = Field(default=None, primary_key=True, sa_type=BIGINT)
    belongs_to: ClassVar[str | None] = None
    """The foreign key that leads to the owner: to a user, or to a row that has an owner itself."""
    reserved: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """The fields that only superusers may set, each with its first value."""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        complete(vars(cls).get("__sqlmodel_relationships__", {}))
        harden(cls)
        type_columns(cls)

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """A row with these values, which are validated by the fields and validators of the table."""
        make = ROW_OF_BODY.get()
        row = None if make is None or options else make(cls, obj)
        if row is None:
            row = super().model_validate(obj, **options)
            row.set_related(obj)
        return row

    def sqlmodel_update(self, obj: Any, **options: Any) -> Self:
        """As SQLModel's, which would leave out the relationships in a dictionary."""
        super().sqlmodel_update(obj, **options)
        self.set_related(obj)
        return self

    def set_related(self, values: Any) -> None:
        """Set the relationships that a dictionary names; SQLModel does so for those of an object only."""
        if isinstance(values, dict):
            for name in self.__sqlmodel_relationships__.keys() & values.keys():
                setattr(self, name, values[name])

    def __setattr__(self, name: str, value: Any) -> None:
        """As SQLModel's, which would put back the value that `@validates` of SQLAlchemy has changed."""
        if type(value) is datetime and value.tzinfo not in (UTC, None):
            value = value.astimezone(UTC)  # an answer shows it in UTC
        if name in _validated_fields(type(self)):
            set_attribute(self, name, value)
            self.model_fields_set.add(name)
        else:
            super().__setattr__(name, value)

    @model_serializer(mode="wrap")
    def _serialize_visible(self, serialize: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Serialize without the private fields of rows of other users, also where a route has no read variant."""
        shown: dict[str, Any] = serialize(self)
        hidden = hidden_fields(self) if info.mode_is_json() else ()
        return {name: value for name, value in shown.items() if name not in hidden} if hidden else shown

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.version}


@cache
def _validated_fields(entity: type[Entity]) -> Collection[str]:
    """The fields for which the table has a method with `@validates`."""
    mapper = inspect(entity, raiseerr=False)
    return () if mapper is None else frozenset(mapper.validators)


def known_tables() -> dict[str, Table]:
    """All tables by name: those of `SQLModel.metadata`, and those of entities with a registry of their own."""
    return {name: table for metadata in set(_metadatas(Entity)) for name, table in metadata.tables.items()}


def _metadatas(entity: type[Entity]) -> Iterator[MetaData]:
    yield entity.metadata
    for child in entity.__subclasses__():
        yield from _metadatas(child)


class UUIDEntity(Entity):
    """A table whose rows have a UUID (version 7) as id, which does not tell how many rows there are."""

    id: UUID = Field(default_factory=new_uuid, primary_key=True)  # type: ignore[assignment]  # instead of the number


@event.listens_for(Entity, "instrument_class", propagate=True)
def complete_mapped_table(mapper: Mapper[Any], entity: type[Entity]) -> None:
    """Complete a table by what follows from its fields."""
    if mapper.inherits is None and isinstance(mapper.local_table, Table):
        complete_table(entity, mapper.local_table)


event.listen(Entity, "after_mapper_constructed", leave_children_to_the_database, propagate=True)


class Body(SQLModel):
    """A request body. Unknown fields are refused; read-only ones are ignored, so that a client may send back a row."""

    model_config = ConfigDict(extra="forbid")  # type: ignore[assignment]  # SQLModel's own type of it is not public
    read_only: ClassVar[frozenset[str]] = frozenset({"id", *Stamped.model_fields})
    __init__ = BaseModel.__init__  # SQLModel's is for tables, and takes half of the time of each body

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        harden(cls)

    @model_validator(mode="before")
    @classmethod
    def ignore_read_only(cls, body: object) -> object:
        if not isinstance(body, dict) or cls.read_only.isdisjoint(body):
            return body
        return {name: value for name, value in body.items() if name not in cls.read_only}


class Changes(Body):
    """A body of which every field may be left out. A field that cannot be null does not become nullable by that."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for field in cls.model_fields.values():
            field.default, field.default_factory, field.validate_default = PydanticUndefined, lambda: None, False
        cls.model_rebuild(force=True)
