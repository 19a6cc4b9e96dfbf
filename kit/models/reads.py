"""Read variants: what an answer shows of a row."""

import logging
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from sqlmodel import Field, SQLModel

from kit.models.fields import show
from kit.models.forms import FORMATS
from kit.models.privacy import hidden_fields, private_fields
from kit.models.reserved import refuse_reserved

log = logging.getLogger("kit")


class Read(SQLModel):
    """What an answer shows of a row: these fields, in this order.

    A private field (`sa_column_kwargs=PRIVATE`) is left out, unless the principal is a superuser, or the one to whom
    the row belongs: the variant, or the base that it shares with the table, says in `belongs_to` which field names
    the owner.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)  # type: ignore[assignment]
    belongs_to: ClassVar[str | None] = None

    id: int = Field(description="Given by the service.", schema_extra={"examples": [1]})
    _selected: ClassVar[Collection[str] | None] = None
    """The fields that a row shows; all if None. Rows of which it was asked have their own."""
    _embedded: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """The related rows that a row shows, by the names of their relationships."""
    __init__ = BaseModel.__init__  # SQLModel's is for tables, and takes most of the time of each row

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """As SQLModel's. Without its option `update` it is pydantic's, which takes a third of the time."""
        if "update" in options:
            return super().model_validate(obj, **options)
        return super(SQLModel, cls).model_validate(obj, **options)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        refuse_reserved(cls, Read)
        show(cls)

    @classmethod
    def of(cls, row: object) -> Self:
        """What is shown of this row. A value that a rule of today would refuse is shown as it is stored."""
        try:
            return cls.model_validate(row, from_attributes=True)
        except ValidationError as failure:
            log.warning("A stored %s breaks a rule of its fields: %s", type(row).__name__, _names(failure))
            return cls.model_construct(**{name: getattr(row, name) for name in cls.model_fields})

    def select(self, fields: Collection[str] | None, embedded: Mapping[str, Any]) -> Self:
        """Show only these fields (all if None), and these related rows under the names of their relationships."""
        for name, value in (("_selected", fields), ("_embedded", embedded)):
            object.__setattr__(self, name, value)  # private attributes of pydantic would be made for every row
        return self

    @model_serializer(mode="wrap")
    def _serialize_visible(self, serialize: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        shown: dict[str, Any] = serialize(self)
        for name in hidden_fields(self):
            shown.pop(name, None)
        if self._selected is not None:
            shown = {name: value for name, value in shown.items() if name in self._selected}
        return shown | {name: _dumped(value, info) for name, value in self._embedded.items()}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the fields, which pydantic would not give for a model with a serializer of its own."""
        shown = handler(_without_serializer(core))
        schema = handler.resolve_ref_schema(shown)
        if handler.mode == "serialization" and "properties" in schema:
            hidden = private_fields(cls)
            schema["required"] = [name for name in schema.get("required", ()) if name not in hidden]
            schema["properties"] = {name: _without_rules(part) for name, part in schema["properties"].items()}
        return shown


class UUIDRead(Read):
    """What an answer shows of a row whose id is a UUID."""

    id: UUID = Field(description="Given by the service.")  # type: ignore[assignment]  # instead of the number


RULES = frozenset({
    "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    *FORMATS.values(),
})  # fmt: skip
"""Keywords of JSON Schema for what is refused in a body."""


def _without_rules(schema: Any) -> Any:
    """A schema without the rules for input, which a value that was stored before may break, and without defaults.

    A text with a format keeps its pattern.
    """
    if isinstance(schema, list):
        return [_without_rules(part) for part in schema]
    left_out = {"default"} if "format" in schema else RULES | {"default"}
    kept = {key: part for key, part in schema.items() if key not in left_out}
    return kept | {key: _without_rules(kept[key]) for key in ("anyOf", "oneOf", "allOf", "items") if key in kept}


def _names(failure: ValidationError) -> str:
    return ", ".join(sorted({str(error["loc"][0]) for error in failure.errors(include_input=False) if error["loc"]}))


def _dumped(value: Any, info: SerializationInfo) -> Any:
    if isinstance(value, list):
        return [_dumped(item, info) for item in value]
    return value.model_dump(**dump_options(info)) if isinstance(value, SQLModel) else value


def dump_options(info: SerializationInfo) -> dict[str, Any]:
    """The options of `model_dump` with which a model is serialized, but for the names of its own fields."""
    names = ("mode", "by_alias", "exclude_none", "exclude_unset", "exclude_defaults", "context")
    return {name: getattr(info, name) for name in names}


def _without_serializer(core: Any) -> Any:
    if core.get("type") == "model":
        return {name: part for name, part in core.items() if name != "serialization"}
    return {**core, "schema": _without_serializer(core["schema"])} if "schema" in core else core
