"""Read variants: recognises those whose JSON is exactly the values of their columns, so that no instance is needed.

This is so if the variant has no serializer except that of `Read`, no validator except those of the kit's types (which
accept or refuse a stored value and never change it), no alias, no excluded or computed field, and if each field has the
type of its column. A field may also be a related row, or a list of related rows, if their variant is such a variant too
and has no related rows itself.

All functions are cached: the checks run once for each variant.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, get_args
from uuid import UUID

import asyncpg.pgproto.pgproto
from pydantic.fields import FieldInfo

from kit.fast.embedding import Relation, relation_of
from kit.fast.mappings import EntityMapping, mapping_of, value_type
from kit.models.entities import Entity
from kit.models.kinds import shape_of_field
from kit.models.reads import Read

SAME_IN_JSON = (str, int, bool, float, Decimal, datetime, date, UUID)
"""Types whose values have the same JSON by pydantic and by `to_json`."""
DRIVER_TYPES: Mapping[type, tuple[type, ...]] = {UUID: (asyncpg.pgproto.pgproto.UUID,)}
"""The subclasses of a type that drivers return. Their JSON by `to_json` is the same."""
HARMLESS_METADATA = (
    "annotated_types", "pydantic.types", "pydantic.json_schema", "pydantic._internal._fields", "sqlmodel.main",
    "kit.models.annotations", "kit.models.json_forms", "kit.models.fields",
)  # fmt: skip
"""Modules whose annotations only describe or check a value, and never change it."""
KIT_TYPES = ("kit.models.types", "kit.auth.owner_fields")
"""Modules of the kit whose validators only check a stored value, and never change it."""
HARMLESS_CONFIG = frozenset(
    {"title", "json_schema_extra", "from_attributes", "registry", "table", "frozen", "defer_build"}
)
"""Model settings that do not affect the JSON."""
READ_METHODS = frozenset({
    "of", "select", "_hidden", "_serialize_visible", "__init__", "__getattribute__", "__iter__", "model_construct",
    "model_dump", "model_dump_json", "model_post_init", "model_validate", "__get_pydantic_core_schema__",
})  # fmt: skip
"""Methods that the shortcut does not call. A variant that overrides one of them needs instances."""
DECORATORS = ("validators", "field_validators", "root_validators", "field_serializers", "model_validators",
              "model_serializers", "computed_fields")  # fmt: skip


@cache
def shows_stored_values(read: type[Read], entity: type[Entity]) -> bool:
    """Return whether the JSON of a variant is exactly the column values of an entity and of its related rows."""
    mapping, nested = mapping_of(entity), nested_variants(read)
    if mapping is None or not _behaves_like_read(read) or not mapping.relationships.issuperset(nested):
        return False
    relations = [relation_of(entity, name, variant) for name, variant in nested.items()]
    if not all(relation is not None and shows_related(relation) for relation in relations):
        return False
    return all(
        _is_harmless(field) if name in nested else _shows_column(name, field, mapping)
        for name, field in read.model_fields.items()
    )


def shows_related(relation: Relation) -> bool:
    """Return whether the JSON of related rows is exactly their column values."""
    return not nested_variants(relation.read) and shows_stored_values(relation.read, relation.target)


@cache
def nested_variants(read: type[Read]) -> dict[str, type[Read]]:
    """Return the fields of a variant that are related rows, each with its read variant."""
    kinds = {name: _variant_in(field.annotation) for name, field in read.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if kind is not None}


@cache
def stored_types(read: type[Read]) -> list[tuple[str, tuple[type, ...]]]:
    """Return the columns of a variant, each with the types that a stored value may have."""
    fields = [(name, field) for name, field in read.model_fields.items() if name not in nested_variants(read)]
    shapes = {name: shape_of_field(field) for name, field in fields}
    return [
        (name, (*_types_of(shape.plain), *((NoneType,) if shape.is_nullable else ()))) for name, shape in shapes.items()
    ]


def _variant_in(annotation: Any) -> type[Read] | None:
    """Return the read variant in an annotation `Variant`, `Variant | None` or `list[Variant]`; None for others."""
    parts = {annotation, *get_args(annotation)} - {NoneType}
    return next((part for part in parts if isinstance(part, type) and issubclass(part, Read)), None)


def _behaves_like_read(read: type[Read]) -> bool:
    """Return whether a variant overrides no method, decorator or setting of `Read` that affects the JSON."""
    classes = [part for part in read.__mro__ if part not in Read.__mro__]
    is_overridden = any(_defines(part, name) for part in classes for name in READ_METHODS)
    own, known = read.__pydantic_decorators__, Read.__pydantic_decorators__
    has_decorators = any(getattr(own, kind).keys() != getattr(known, kind).keys() for kind in DECORATORS)
    settings = {*read.model_config, *Read.model_config} - HARMLESS_CONFIG
    is_configured = any(read.model_config.get(name) != Read.model_config.get(name) for name in settings)
    return not (is_overridden or has_decorators or is_configured)


def _defines(part: type, name: str) -> bool:
    """Return whether a class defines this method itself. One that pydantic adds for private attributes is ignored."""
    method = vars(part).get(name)
    return method is not None and getattr(method, "__name__", "") != "init_private_attributes"


def _shows_column(name: str, field: FieldInfo, mapping: EntityMapping) -> bool:
    """Return whether the JSON of a field is the value of the column with the same name."""
    column, kind = mapping.columns.get(name), shape_of_field(field).plain
    if column is None or not isinstance(kind, type):
        return False
    stored = value_type(column.type)
    is_same = kind is stored and (kind in SAME_IN_JSON or issubclass(kind, Enum))
    is_text = stored is str and issubclass(kind, Enum) and issubclass(kind, str)
    return (is_same or is_text) and all(map(_is_harmless, (field, *_metadata(field.annotation), *field.metadata)))


def _metadata(annotation: Any) -> Iterator[Any]:
    """Yield the annotations of a type and of its arguments."""
    yield from getattr(annotation, "__metadata__", ())
    for part in get_args(annotation):
        yield from _metadata(part)


def _is_harmless(part: Any) -> bool:
    """Return whether an annotation never changes the JSON."""
    if isinstance(part, FieldInfo):
        names = (part.alias, part.validation_alias, part.serialization_alias, part.exclude)
        return not any(names) and getattr(part, "exclude_if", None) is None and all(map(_is_harmless, part.metadata))
    if not hasattr(part, "func"):
        return type(part).__module__.startswith(HARMLESS_METADATA) and not getattr(part, "coerce_numbers_to_str", None)
    return getattr(part.func, "__module__", None) in KIT_TYPES


def _types_of(kind: type) -> tuple[type, ...]:
    """Return a type, with other types whose JSON is the same."""
    return (kind, str) if issubclass(kind, Enum) and issubclass(kind, str) else (kind, *DRIVER_TYPES.get(kind, ()))
