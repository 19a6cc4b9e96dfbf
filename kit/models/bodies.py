"""Request bodies: the create, replace and update variants of a resource."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticUndefined
from sqlmodel import SQLModel


class Body(SQLModel):
    """A request body. Unknown fields are refused; read-only ones are ignored, so that a client may send back a row."""

    model_config = ConfigDict(extra="forbid")  # type: ignore[assignment]  # SQLModel's own type of it is not public
    read_only: ClassVar[frozenset[str]] = frozenset({"id", "version", "created_at", "updated_at"})
    __init__ = BaseModel.__init__  # SQLModel's is for tables, and takes half of the time of each body

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
