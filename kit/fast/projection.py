"""Projections: what a page shows of each row, made of the values of columns instead of a read variant.

A read variant qualifies if pydantic would show exactly the values of its columns: it has no serializer but that of
`Read`, no validator but those of the kit's types (which accept or refuse a stored value, and never change it), no
alias, no excluded or computed field, and each of its fields has the type of its column. A field may also be a related
row, or a list of them, of which a variant shows columns in the same way.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from types import MappingProxyType, NoneType, SimpleNamespace
from typing import Any, get_args
from uuid import UUID

import asyncpg.pgproto.pgproto
from pydantic.fields import FieldInfo

from kit.fast.embedding import Relation, Values, relation_of
from kit.fast.mappings import EntityMapping, mapping_of, value_type
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity
from kit.models.kinds import shape_of_field
from kit.models.privacy import owner_field, private_fields
from kit.models.reads import Read
from kit.query.embedding import read_variant
from kit.query.list_query import ListQuery

SAME_IN_JSON = (str, int, bool, float, Decimal, datetime, date, UUID)
"""Types of which pydantic and `to_json` write the same."""
OF_DRIVERS: Mapping[type, tuple[type, ...]] = {UUID: (asyncpg.pgproto.pgproto.UUID,)}
"""Types of drivers, which are written in the same way."""
HARMLESS_METADATA = (
    "annotated_types", "pydantic.types", "pydantic.json_schema", "pydantic._internal._fields", "sqlmodel.main",
    "kit.models.forms", "kit.models.tables",
)  # fmt: skip
"""Modules whose annotations only refuse values, or describe them."""
KIT_TYPES = ("kit.models.types", "kit.auth.ownership")
HARMLESS_CONFIG = frozenset({"title", "json_schema_extra", "from_attributes", "registry", "table", "frozen"})
METHODS_OF_READ = frozenset({
    "of", "select", "_hidden", "_serialize_visible", "__init__", "__getattribute__", "__iter__", "model_construct",
    "model_dump", "model_dump_json", "model_post_init", "model_validate", "__get_pydantic_core_schema__",
})  # fmt: skip
DECORATORS = ("validators", "field_validators", "root_validators", "field_serializers", "model_validators",
              "model_serializers", "computed_fields")  # fmt: skip
NOTHING: frozenset[str] = frozenset()
NOBODY: Mapping[str, type[Read]] = MappingProxyType({})
MISSING = object()


@cache
def shows_stored_values(read: type[Read], entity: type[Entity]) -> bool:
    """Whether a read variant shows exactly the values of columns of an entity, and of rows related to it."""
    mapping, nested = mapping_of(entity), nested_variants(read)
    if mapping is None or not _has_methods_of_read(read) or not mapping.relationships.issuperset(nested):
        return False
    relations = [relation_of(entity, name, variant) for name, variant in nested.items()]
    if not all(relation is not None and _shows_related(relation) for relation in relations):
        return False
    return all(
        _is_harmless(field) if name in nested else _shows_column(name, field, mapping)
        for name, field in read.model_fields.items()
    )


def _shows_related(relation: Relation) -> bool:
    return not nested_variants(relation.read) and shows_stored_values(relation.read, relation.target)


def included_variants(query: ListQuery) -> dict[str, type[Read]]:
    return {name: read_variant(query.includes[name]) for name in query.included}


@cache
def nested_variants(read: type[Read]) -> dict[str, type[Read]]:
    """The fields of a variant that show related rows, each with their variant."""
    kinds = {name: _variant_in(field.annotation) for name, field in read.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _variant_in(annotation: Any) -> type[Read] | None:
    """The read variant in `Variant`, `Variant | None` or `list[Variant]`."""
    parts = {annotation, *get_args(annotation)} - {NoneType}
    return next((part for part in parts if isinstance(part, type) and issubclass(part, Read)), None)


def _has_methods_of_read(read: type[Read]) -> bool:
    classes = [part for part in read.__mro__ if part not in Read.__mro__]
    is_overridden = any(_has_own(part, name) for part in classes for name in METHODS_OF_READ)
    own, known = read.__pydantic_decorators__, Read.__pydantic_decorators__
    has_decorators = any(getattr(own, kind).keys() != getattr(known, kind).keys() for kind in DECORATORS)
    settings = {*read.model_config, *Read.model_config} - HARMLESS_CONFIG
    is_configured = any(read.model_config.get(name) != Read.model_config.get(name) for name in settings)
    return not (is_overridden or has_decorators or is_configured)


def _has_own(part: type, name: str) -> bool:
    """Whether a class defines this method itself; pydantic adds one to each class with private attributes."""
    method = vars(part).get(name)
    return method is not None and getattr(method, "__name__", "") != "init_private_attributes"


def _shows_column(name: str, field: FieldInfo, mapping: EntityMapping) -> bool:
    column, kind = mapping.columns.get(name), shape_of_field(field).plain
    if column is None or not isinstance(kind, type):
        return False
    stored = value_type(column.type)
    is_same = kind is stored and (kind in SAME_IN_JSON or issubclass(kind, Enum))
    is_text = stored is str and issubclass(kind, Enum) and issubclass(kind, str)
    return (is_same or is_text) and all(map(_is_harmless, (field, *_metadata(field.annotation), *field.metadata)))


def _metadata(annotation: Any) -> Iterator[Any]:
    """The annotations of a type, and of the types of which it is made."""
    yield from getattr(annotation, "__metadata__", ())
    for part in get_args(annotation):
        yield from _metadata(part)


def _is_harmless(part: Any) -> bool:
    """Whether an annotation never changes what is shown."""
    if isinstance(part, FieldInfo):
        names = (part.alias, part.validation_alias, part.serialization_alias, part.exclude)
        return not any(names) and getattr(part, "exclude_if", None) is None and all(map(_is_harmless, part.metadata))
    if not hasattr(part, "func"):
        return type(part).__module__.startswith(HARMLESS_METADATA) and not getattr(part, "coerce_numbers_to_str", None)
    return getattr(part.func, "__module__", None) in KIT_TYPES


class Viewer:
    """What the principal may see of the rows that a variant shows.

    `names` are the fields that are asked for, all if None; `included` are related rows that are shown after them.
    """

    def __init__(self, read: type[Read], names: Collection[str] | None, included: Mapping[str, type[Read]]) -> None:
        variants = {**nested_variants(read), **included}
        self.names = [name for name in read.model_fields if names is None or name in names] + list(included)
        self.related = [(name, Viewer(variants[name], None, NOBODY)) for name in self.names if name in variants]
        principal = CURRENT_PRINCIPAL.get()
        self.id = principal.id
        self.hidden = NOTHING if principal.is_superuser else private_fields(read)
        """The fields that the principal may not see of rows of others."""
        self.owner = owner_field(read)

    @property
    def depends_on_principal(self) -> bool:
        return bool(self.hidden) or any(viewer.depends_on_principal for _, viewer in self.related)

    def show(self, values: Mapping[str, Any]) -> Values:
        """What is shown of a row with these values, among which are those of its related rows."""
        is_owner = self.owner is not None and self.id is not None and values[self.owner] == self.id
        hidden = NOTHING if is_owner else self.hidden
        shown = {name: values[name] for name in self.names if name not in hidden}
        for name, viewer in self.related:
            shown[name] = viewer.show_related(shown[name])
        return shown

    def show_related(self, related: Any) -> Any:
        if isinstance(related, list):
            return [self.show(values_of(one)) for one in related]
        return None if related is None else self.show(values_of(related))

    def show_all(self, rows: Sequence[Values]) -> Sequence[Values]:
        """The same of many rows that have the same names. They are not copied if all is shown of them."""
        is_everything = not self.hidden and not self.related and (not rows or list(rows[0]) == self.names)
        return rows if is_everything else [self.show(row) for row in rows]


def values_of(row: Any) -> Mapping[str, Any]:
    """The values of a row, which may be an entity."""
    return row if isinstance(row, dict) else vars(row)


class Projection:
    """What a query shows of each row."""

    def __init__(self, query: ListQuery, relations: Sequence[Relation]) -> None:
        self.query, self.relations = query, relations
        self.viewer = Viewer(query.read, query.fields, included_variants(query))

    @classmethod
    def of(cls, query: ListQuery) -> "Projection | None":
        """None if something is shown that is no value of a column."""
        included, nested = included_variants(query), nested_variants(query.read)
        if not shows_stored_values(query.read, query.model) or not nested.keys().isdisjoint(included):
            return None
        relations = [relation_of(query.model, name, variant) for name, variant in (nested | included).items()]
        known = [relation for relation in relations if relation and _shows_related(relation)]
        return cls(query, known) if len(known) == len(relations) else None

    @property
    def entities(self) -> list[type[Entity]]:
        """All that is read."""
        return [self.query.model, *(relation.target for relation in self.relations)]

    def columns(self, others: Iterable[str]) -> list[str]:
        """The fields to read: those of the variant, others that are needed, and those that lead to related rows."""
        nested = nested_variants(self.query.read)
        own = [name for name in self.query.read.model_fields if name not in nested]
        return list(dict.fromkeys([*own, *others, *(relation.here for relation in self.relations)]))

    def reads(self, rows: Sequence[Values]) -> list[Read]:
        """The same as instances of the read variant, as a plain page has them."""
        return [self.query.shown(_as_object(row)) for row in rows]


def _as_object(values: Any) -> Any:
    """An object that has these values, and those of related rows, as attributes."""
    if isinstance(values, list):
        return [_as_object(one) for one in values]
    if not isinstance(values, dict):
        return values
    return SimpleNamespace(**{name: _as_object(value) for name, value in values.items()})


def has_stored_types(row: Any, read: type[Read], included: Mapping[str, type[Read]]) -> bool:
    """Whether each value is of the type that its column would give: a handler may have set another."""
    values = vars(row)
    if not all(type(values.get(name, MISSING)) in types for name, types in stored_types(read)):
        return False
    return all(
        name in values and all(_has_stored_types(one, variant) for one in _as_list(values[name]))
        for name, variant in {**nested_variants(read), **included}.items()
    )


def _has_stored_types(row: Any, read: type[Read]) -> bool:
    entity: Any = type(row)
    return shows_stored_values(read, entity) and has_stored_types(row, read, NOBODY)


def _as_list(related: Any) -> Sequence[Any]:
    if isinstance(related, list):
        return related
    return () if related is None else (related,)


@cache
def stored_types(read: type[Read]) -> list[tuple[str, tuple[type, ...]]]:
    """The columns of a variant that shows stored values, each with the types that its values may have."""
    fields = [(name, field) for name, field in read.model_fields.items() if name not in nested_variants(read)]
    shapes = {name: shape_of_field(field) for name, field in fields}
    return [
        (name, (*_types_of(shape.plain), *((NoneType,) if shape.is_nullable else ()))) for name, shape in shapes.items()
    ]


def _types_of(kind: type) -> tuple[type, ...]:
    """A type, and others of which the JSON is the same."""
    return (kind, str) if issubclass(kind, Enum) and issubclass(kind, str) else (kind, *OF_DRIVERS.get(kind, ()))
