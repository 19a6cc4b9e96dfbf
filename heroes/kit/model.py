"""What every table and every body has: an id, a version, timestamps, and fields that refuse nonsense."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic import AfterValidator, Strict, model_validator
from pydantic_core import PydanticCustomError, PydanticUndefined
from sqlalchemy import BigInteger, Index, Integer, String, event
from sqlalchemy.orm import Mapper, declared_attr
from sqlmodel import AutoString, Field, SQLModel
from sqlmodel._compat import SQLModelConfig

SQLModel.metadata.naming_convention = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
}

BIGINT = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by INTEGER only
MAX_ID = 2**63 - 1
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """Refuse what PostgreSQL cannot store: NUL, and a surrogate without its partner."""
    if UNSTORABLE.search(text):
        raise PydanticCustomError("string_unstorable", "Text may not contain NUL or a lone surrogate")
    return text


def not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("string_blank", "Text may not be blank")
    return text


def only_digits(value: object) -> object:
    """Ids in paths and queries are plain decimal numbers: no sign, point, blank or underscore."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise PydanticCustomError("int_parsing", "Input should be a valid integer")
    return value


def sorted_by(*fields: str) -> list[Index]:
    """An index under each field, for filters and sorts; the id behind it makes the order total, as a page needs it."""
    return [Index(None, field, "id") for field in fields]


def schema(**extra: Any) -> Any:
    return pydantic.Field(json_schema_extra=extra)


Text = Annotated[str, AfterValidator(storable), schema(pattern=r"^[^\u0000]*$")]
"""Text of a field; give its `max_length` in `Field`."""
Name = Annotated[
    str, AfterValidator(storable), AfterValidator(not_blank), schema(pattern=r"^[^\u0000]*[^\u0000\s][^\u0000]*$")
]
"""Text that names something: not blank."""
Whole = Annotated[int, Strict()]
"""An integer as JSON has it: neither "5", nor true, nor 5.0."""
Key = Annotated[int, Strict(), pydantic.Field(ge=1, le=MAX_ID)]
"""The id of another thing, in a body."""
Id = Annotated[int, pydantic.BeforeValidator(only_digits), pydantic.Field(ge=1, le=MAX_ID)]
"""An id in a path."""


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

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.version}


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


class Body(SQLModel):
    """What comes in: unknown fields are refused, read-only ones ignored, so that what was read may be sent back."""

    model_config = SQLModelConfig(extra="forbid")
    read_only: ClassVar[frozenset[str]] = frozenset({"id", "version", "created_at", "updated_at"})

    @model_validator(mode="before")
    @classmethod
    def ignore_read_only(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if name not in cls.read_only}


class Changes(Body):
    """A body of which every field may be left out; leaving it out does not make it nullable."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for field in cls.model_fields.values():
            field.default, field.default_factory = PydanticUndefined, lambda: None
        cls.model_rebuild(force=True)
