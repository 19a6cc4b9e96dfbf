"""Embedding (`include=`): related rows in a response, under the name of their relationship.

For each row, at most `include_limit` related rows are embedded, in the order of the relationship, or by id. If there
are more, the property `…_next` of the row is a link to the others: a list of the related resource, filtered by the
row, and after the last embedded one. It is null if no list has exactly these rows in this order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import eq
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import BinaryExpression, Column, ColumnElement, UnaryExpression, inspect
from sqlalchemy.orm import RelationshipProperty, selectinload
from sqlalchemy.orm.interfaces import ORMOption
from sqlalchemy.sql.operators import asc_op, desc_op

from kit.auth.embedding import embeddable
from kit.models.entities import Entity
from kit.models.reads import Read
from kit.query.ordering import Order, order_of
from kit.runtime import Runtime

MAX_RELATED = 100
"""The maximum number of related rows that are embedded in a row, and the default."""


@cache
def read_variant(name: str | type[Read], model: type[Entity], relationship: str) -> type[Read]:
    """Return the read variant with this class name, or the given one, for a relationship in the `includes` of a query.

    `includes` may have names instead of classes, because a parent resource does not import its children. Of several
    classes with the name, the one in the module of the related entity is meant. Raises a TypeError if there is none of
    this name, or if it is not clear which one is meant.
    """
    if isinstance(name, type):
        return name
    found = [variant for variant in _variants_of(Read) if variant.__name__ == name]
    if not found:
        raise TypeError(
            f"`includes` names the read variant {name!r}, which no module defines: write the name of a subclass of "
            "`Read`, as InvoiceRead, or the class itself."
        )
    related = inspect(model).relationships[relationship].mapper.class_
    near = [variant for variant in found if variant.__module__ == related.__module__]
    if len(found) > 1 and len(near) != 1:
        modules = ", ".join(sorted(variant.__module__ for variant in found))
        raise TypeError(
            f"`includes` names the read variant {name!r}, of which there are several, in {modules}: write the class "
            "itself, or give them different names."
        )
    return (near or found)[0]


def _variants_of(parent: type[Read]) -> Iterator[type[Read]]:
    for child in parent.__subclasses__():
        yield from (child, *_variants_of(child))


def embedding(model: type[Entity], relationship: str, read: type[Read]) -> ORMOption:
    """Return the loader option for an embedded row, which loads only the columns of the read variant.

    A softly deleted row is loaded as None. Raises a TypeError for a relationship to many rows, which has no bound.
    """
    mapped = inspect(model).relationships[relationship]
    if mapped.uselist:
        raise TypeError(
            f"embedding({model.__name__}, {relationship!r}) would load all rows of a list: name it in `includes` "
            f"of the `ListQuery`, which embeds at most {MAX_RELATED}."
        )
    option = selectinload(getattr(model, relationship).and_(*embeddable(mapped.mapper.class_)))
    shown = columns_shown(mapped, read)
    return option if shown is None else option.load_only(*shown)


def columns_shown(relationship: RelationshipProperty[Any], read: type[Read], *others: str) -> list[Any] | None:
    """Return the column attributes for a read variant of related rows, and `others`; None if it may need more."""
    target = relationship.mapper
    if read.model_computed_fields or not set(read.model_fields) <= set(target.column_attrs.keys()):
        return None
    return [getattr(target.class_, name) for name in dict.fromkeys((*read.model_fields, *others))]


def embedded(row: object, relationship: str, read: type[Read]) -> Any:
    """Return the related row, or the list of related rows, as instances of the read variant."""
    related = getattr(row, relationship)
    if isinstance(related, list):
        return [read.of(part) for part in related]
    return None if related is None else read.of(related)


@dataclass(frozen=True)
class Related:
    """The rows that are embedded in a row, whether there are more, and the link to these (`rest`), if any."""

    rows: Sequence[Any]
    has_more: bool = False
    rest: str | None = None

    def members(self, name: str, read: type[Read]) -> dict[str, Any]:
        """Return the properties of a response for the relationship `name`: the rows, and a link if there are more."""
        shown: dict[str, Any] = {name: [read.of(row) for row in self.rows]}
        return shown | ({next_name(name): self.rest} if self.has_more else {})


def next_name(relationship: str) -> str:
    """Return the name of the property with the link to the related rows that are not embedded."""
    return f"{relationship}_next"


@dataclass(frozen=True, eq=False)
class ListRelation:
    """A relationship to many rows, with their order, and the filter by which a list has the same rows."""

    relationship: RelationshipProperty[Any]
    order: Order | None
    """The order as that of a list, whose cursor can continue after the embedded rows; None if it is not possible."""
    ordering: Sequence[ColumnElement[Any]]
    local_field: str | None
    """The field to which the foreign key of the related rows refers."""
    foreign_key: str | None
    """The foreign key of the related rows; None if the relationship has another condition than its equality."""

    @property
    def target(self) -> type[Any]:
        target: type[Any] = self.relationship.mapper.class_
        return target

    def rest(self, runtime: Runtime, root: str, value: Any, last: Mapping[str, Any]) -> str | None:
        """Return the link to the rows after the last embedded one; None if no list has these rows in this order.

        `root` is `root_path`, `value` that of `local_field`, and `last` has the sort key values of the last row.
        """
        found = None if self.foreign_key is None else runtime.filtered_lists.get((self.target, self.foreign_key))
        if found is None or self.order is None:
            return None
        path, sorts, default = found
        if not set(self.order.text.split(",")) <= set(sorts):
            return None
        sort = [("sort", self.order.text)] if self.order.text != default else []
        cursor = self.order.cursor_after(runtime.secrets[0], last)
        return f"{root}{path}?{urlencode([(str(self.foreign_key), str(value)), *sort, ('cursor', cursor)])}"


@cache
def list_relation(model: type[Any], name: str) -> ListRelation | None:
    """Return the `ListRelation` of a relationship; None for a relationship to a single row."""
    relationship: RelationshipProperty[Any] = inspect(model).relationships[name]
    if not relationship.uselist:
        return None
    target, pairs = relationship.mapper, list(relationship.local_remote_pairs or ())
    sort = sort_of(relationship) if issubclass(target.class_, Entity) else None
    order = None if sort is None else order_of(target.class_, sort)  # type: ignore[arg-type]
    given: list[Any] = list(relationship.order_by or ())
    ordering = [*given, *target.primary_key] if order is None else order.everything.ordering
    is_direct = is_equality(relationship)
    local_field = inspect(model).get_property_by_column(pairs[0][0]).key if is_direct else None
    key = target.get_property_by_column(pairs[0][1]).key if is_direct else None
    return ListRelation(relationship, order, ordering, local_field, key)


def is_equality(relationship: RelationshipProperty[Any]) -> bool:
    """Return whether the condition of a relationship is that two columns are equal, and nothing else."""
    condition, pairs = relationship.primaryjoin, list(relationship.local_remote_pairs or ())
    if len(pairs) != 1 or relationship.secondary is not None or not isinstance(condition, BinaryExpression):
        return False
    return condition.operator is eq and {str(condition.left), str(condition.right)} == set(map(str, pairs[0]))


def sort_of(relationship: RelationshipProperty[Any]) -> str | None:
    """Return the `order_by` of a relationship as a value of `sort`, such as `-amount,id`; None if it is not columns."""
    terms = []
    for term in relationship.order_by or ():
        is_signed = isinstance(term, UnaryExpression) and term.modifier in (asc_op, desc_op)
        sign, column = ("-" if term.modifier is desc_op else "", term.element) if is_signed else ("", term)
        if not isinstance(column, Column) or column.table is not relationship.mapper.local_table:
            return None
        terms.append(sign + relationship.mapper.get_property_by_column(column).key)
    return ",".join(terms) or "id"
