"""Read variants: the response models of rows, which omit private fields, and serialize selected and embedded ones."""

import logging
from collections.abc import Collection, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    model_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from sqlmodel import Field, SQLModel

from kit.models.fields import build, use_response_forms, validates_instances
from kit.models.json_forms import FORMATS
from kit.models.privacy import hidden_fields, private_fields
from kit.models.reserved import refuse_reserved

log = logging.getLogger("kit")
ONCE = "kit_once"
"""The key in the metadata of a core schema that validates the results of `Read.of` only once."""
MAX_SELECTIONS = 500
"""The maximum size of the LRU cache of selected fields."""


class Read(SQLModel):
    """Base class of response models of rows. A response has the fields in the order of their declaration.

    A private field (`sa_column_kwargs=PRIVATE`) is omitted unless the principal is a superuser or the owner of the row,
    whose id is in the field that `belongs_to` names.
    """

    model_config = ConfigDict(  # type: ignore[assignment]  # SQLModel's type of it is not public
        json_schema_serialization_defaults_required=True,
        validate_by_name=True,
        defer_build=True,  # until `__pydantic_init_subclass__` has changed the fields
    )
    belongs_to: ClassVar[str | None] = None

    id: int = Field(description="Given by the service.", schema_extra={"examples": [1]})
    _selected: ClassVar[Collection[str] | None] = None
    """The fields to serialize; None for all. `select` sets it for an instance."""
    _embedded: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """The related rows to serialize, by relationship. `select` sets it for an instance."""
    _is_validated: ClassVar[bool] = False
    """Whether the instance is the result of `of`, so that FastAPI need not validate it again."""
    __init__ = BaseModel.__init__  # SQLModel's is for tables, and takes most of the time of each row

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Call pydantic's method, which takes a third of the time of SQLModel's. With `update`, call SQLModel's."""
        if "update" in options:
            return super().model_validate(obj, **options)
        return super(SQLModel, cls).model_validate(obj, **options)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        refuse_reserved(cls, Read)
        build(cls, is_changed=use_response_forms(cls))

    @classmethod
    def of(cls, row: object) -> Self:
        """Return the read variant of a row. If a stored value breaks a rule of the fields, no field is validated."""
        try:
            read = cls.model_validate(row, from_attributes=True, by_name=True, by_alias=True)
        except ValidationError as failure:
            log.warning("A stored %s breaks a rule of its fields: %s", type(row).__name__, _names(failure))
            read = cls.model_construct(**{name: getattr(row, name) for name in cls.model_fields})
        if validates_instances(cls):
            object.__setattr__(read, "_is_validated", True)
        return read

    def select(self, fields: Collection[str] | None, embedded: Mapping[str, Any]) -> Self:
        """Set the fields to serialize (None for all), and the related rows by relationship. Returns the instance."""
        for name, value in (("_selected", fields), ("_embedded", embedded)):
            object.__setattr__(self, name, value)  # pydantic's private attributes would take time for every row
        return self

    @model_serializer(mode="wrap")
    def _serialize_visible(self, serialize: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        shown: dict[str, Any] = serialize(self)
        for name in hidden_fields(self):
            shown.pop(name, None)
        if self._selected is not None:
            written = _with_aliases(type(self), frozenset(self._selected))
            shown = {name: value for name, value in shown.items() if name in written}
        return shown | {name: _dumped(value, info) for name, value in self._embedded.items()}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return pydantic's schema. By it, FastAPI does not validate the results of `of` again."""
        core = handler(source)
        return _once(cls, core) if validates_instances(cls) else core

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON Schema of the fields, which pydantic would omit because of the model's serializer."""
        shown = handler(_without_serializer(core))
        schema = handler.resolve_ref_schema(shown)
        if handler.mode == "serialization" and "properties" in schema:
            hidden = private_fields(cls)
            schema["required"] = [name for name in schema.get("required", ()) if name not in hidden]
            schema["properties"] = {name: _without_rules(part) for name, part in schema["properties"].items()}
        return shown


class UUIDRead(Read):
    """Base class of response models of rows whose id is a UUID."""

    id: UUID = Field(description="Given by the service.")  # type: ignore[assignment]  # instead of the number


UUIDRead.model_config["defer_build"] = True  # it was built; the fields of classes that inherit it are changed first


def _once(model: type[Read], core: Any) -> CoreSchema:
    """Return a core schema of a model that does not validate the results of `of` again, under its reference."""
    if ONCE in core.get("metadata", ()):
        return core  # type: ignore[no-any-return]  # it is that of the class, and is used within another one
    inner = {name: part for name, part in core.items() if name != "ref"}
    return core_schema.no_info_wrap_validator_function(
        partial(_unless_validated, model), inner, ref=core.get("ref"), metadata={ONCE: True}
    )


def _unless_validated(model: type[Read], value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    return value if type(value) is model and value._is_validated else validate(value)


RULES = frozenset({
    "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    *FORMATS.values(),
})  # fmt: skip
"""The keywords of JSON Schema that restrict the values in bodies, and are omitted for responses."""


def _without_rules(schema: Any) -> Any:
    """Return a JSON Schema without `RULES`, which stored values may break, and without defaults.

    A text with a format keeps its pattern.
    """
    if isinstance(schema, list):
        return [_without_rules(part) for part in schema]
    left_out = {"default"} if "format" in schema else RULES | {"default"}
    kept = {key: part for key, part in schema.items() if key not in left_out}
    return kept | {key: _without_rules(kept[key]) for key in ("anyOf", "oneOf", "allOf", "items") if key in kept}


@lru_cache(MAX_SELECTIONS)
def _with_aliases(model: type[Read], names: frozenset[str]) -> frozenset[str]:
    """Return the names of fields and their aliases. `response_model_by_alias` decides which are in the JSON."""
    fields = {name: field.serialization_alias for name, field in model.model_fields.items()}
    fields |= {name: field.alias for name, field in model.model_computed_fields.items()}
    return names.union(fields[name] or name for name in names)


def _names(failure: ValidationError) -> str:
    return ", ".join(sorted({str(error["loc"][0]) for error in failure.errors(include_input=False) if error["loc"]}))


def _dumped(value: Any, info: SerializationInfo) -> Any:
    if isinstance(value, list):
        return [_dumped(item, info) for item in value]
    return value.model_dump(**dump_options(info)) if isinstance(value, SQLModel) else value


def dump_options(info: SerializationInfo) -> dict[str, Any]:
    """Return the options of `model_dump` for a nested model: those of the outer one without `include` and `exclude`."""
    names = ("mode", "by_alias", "exclude_none", "exclude_unset", "exclude_defaults", "context")
    return {name: getattr(info, name) for name in names}


def _without_serializer(core: Any) -> Any:
    if core.get("type") == "model":
        return {name: part for name, part in core.items() if name != "serialization"}
    return {**core, "schema": _without_serializer(core["schema"])} if "schema" in core else core
