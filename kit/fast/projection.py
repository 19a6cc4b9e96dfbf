"""Projections: the JSON objects of a page, made of column values instead of instances of a read variant.

They are possible for the read variants that `kit.fast.read_variants` accepts.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType, SimpleNamespace
from typing import Any

from kit.fast.embedding import Relation, Values, relation_of
from kit.fast.read_variants import nested_variants, shows_related, shows_stored_values, stored_types
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity
from kit.models.privacy import fields_for_owners, owner_field
from kit.models.reads import Read
from kit.query.embedding import next_name, read_variant
from kit.query.list_query import ListQuery

NO_FIELDS: frozenset[str] = frozenset()
NO_VARIANTS: Mapping[str, type[Read]] = MappingProxyType({})
MISSING = object()
MAX_KNOWN = 500
"""The maximum size of the LRU caches of relations and of columns."""


def included_variants(query: ListQuery) -> dict[str, type[Read]]:
    """Return the relationships in the parameter `include`, each with its read variant."""
    return {name: read_variant(query.includes[name], query.model, name) for name in query.included}


class VisibleFields:
    """Selects the fields of a read variant that the principal may see.

    `names` are the fields in the parameter `fields`; None for all. `included` are relationships, appended to them.
    """

    def __init__(self, read: type[Read], names: Collection[str] | None, included: Mapping[str, type[Read]]) -> None:
        variants = {**nested_variants(read), **included}
        self.names = [name for name in read.model_fields if names is None or name in names] + list(included)
        related = [name for name in self.names if name in variants]
        self.related = [(name, VisibleFields(variants[name], None, NO_VARIANTS), next_name(name)) for name in related]
        self.id = CURRENT_PRINCIPAL.get().id
        self.hidden = fields_for_owners(read)
        """The fields that are left out, except for the owner of a row."""
        self.owner = owner_field(read)

    @property
    def depends_on_principal(self) -> bool:
        return bool(self.hidden) or any(fields.depends_on_principal for _, fields, _ in self.related)

    def of_row(self, values: Mapping[str, Any]) -> Values:
        """Return the visible values of a row, and of the related rows in it."""
        is_owner = self.owner is not None and self.id is not None and values[self.owner] == self.id
        hidden = NO_FIELDS if is_owner else self.hidden
        visible = {name: values[name] for name in self.names if name not in hidden}
        for name, fields, rest in self.related:
            visible[name] = fields.of_related(visible[name])
            if rest in values:
                visible[rest] = values[rest]
        return visible

    def of_related(self, related: Any) -> Any:
        if isinstance(related, list):
            return [self.of_row(values_of(row)) for row in related]
        return None if related is None else self.of_row(values_of(related))

    def of_rows(self, rows: Sequence[Values]) -> Sequence[Values]:
        """Return the visible values of rows with the same fields; the rows themselves if every value is visible."""
        is_everything = not self.hidden and not self.related and (not rows or list(rows[0]) == self.names)
        return rows if is_everything else [self.of_row(row) for row in rows]


def values_of(row: Any) -> Mapping[str, Any]:
    """Return the values by field of a row, which is a dict or an entity."""
    return row if isinstance(row, dict) else vars(row)


class Projection:
    """The columns and related rows in the response to a list query."""

    def __init__(self, query: ListQuery, relations: Sequence[Relation]) -> None:
        self.query, self.relations = query, relations
        self.visible_fields = VisibleFields(query.read, query.fields, included_variants(query))

    @classmethod
    def of(cls, query: ListQuery) -> "Projection | None":
        """Return the projection of a query; None if its response contains more than column values."""
        kind: Any = type(query)
        relations = relations_of(kind, tuple(query.included))
        return None if relations is None else cls(query, relations)

    @property
    def entities(self) -> list[type[Entity]]:
        """The entity of the list, and those of the related rows."""
        return [self.query.model, *(relation.target for relation in self.relations)]

    def columns(self, *others: str) -> Sequence[str]:
        """Return the columns to read: those of the variant, `others`, and those that lead to related rows."""
        return columns_of(self.query.read, (*others, *(relation.local_field for relation in self.relations)))

    def reads(self, rows: Sequence[Values]) -> list[Read]:
        """Return the rows as instances of the read variant, as in a plain page."""
        return [self.query.to_read(_as_object(row)) for row in rows]


@lru_cache(MAX_KNOWN)
def relations_of(kind: Any, included: tuple[str, ...]) -> Sequence[Relation] | None:
    """Return the relations in the response of a query class; None if the response has more than column values."""
    variants = nested_variants(kind.read)
    if not shows_stored_values(kind.read, kind.model) or not variants.keys().isdisjoint(included):
        return None
    variants = variants | {name: read_variant(kind.includes[name], kind.model, name) for name in included}
    relations = [relation_of(kind.model, name, variant) for name, variant in variants.items()]
    known = [relation for relation in relations if relation and shows_related(relation)]
    return known if len(known) == len(relations) else None


@lru_cache(MAX_KNOWN)
def columns_of(read: type[Read], others: tuple[str, ...]) -> Sequence[str]:
    """Return the columns of a variant and `others`, without duplicates."""
    nested = nested_variants(read)
    return tuple(dict.fromkeys([*(name for name in read.model_fields if name not in nested), *others]))


def _as_object(values: Any) -> Any:
    """Return an object with these values as attributes, recursively for related rows."""
    if isinstance(values, list):
        return [_as_object(value) for value in values]
    if not isinstance(values, dict):
        return values
    return SimpleNamespace(**{name: _as_object(value) for name, value in values.items()})


def has_stored_types(row: Any, read: type[Read], included: Mapping[str, type[Read]]) -> bool:
    """Return whether each value of a row has the type of its column. A handler may have set another type."""
    values = vars(row)
    if not all(type(values.get(name, MISSING)) in types for name, types in stored_types(read)):
        return False
    return all(
        name in values and all(_has_stored_types(related, variant) for related in _as_list(values[name]))
        for name, variant in {**nested_variants(read), **included}.items()
    )


def _has_stored_types(row: Any, read: type[Read]) -> bool:
    entity: Any = type(row)
    return shows_stored_values(read, entity) and has_stored_types(row, read, NO_VARIANTS)


def _as_list(related: Any) -> Sequence[Any]:
    if isinstance(related, list):
        return related
    return () if related is None else (related,)
