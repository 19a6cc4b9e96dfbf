"""Embedding without the ORM: the related rows of a page are read by one SELECT for each relationship.

A list with a limit may need further ones: see `kit.query.related`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, inspect, select, union_all
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import RelationshipProperty

from kit.auth.embedding import embeddable
from kit.fast.mappings import mapping_of
from kit.fast.selects import fetch
from kit.models.entities import Entity
from kit.models.reads import Read
from kit.query.embedding import ListRelation, is_equality, list_relation, next_name
from kit.query.filters import is_in
from kit.query.list_query import ListQuery
from kit.query.related import MANY_AT_ONCE, first_limit, incomplete, order_fields

Values = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Relation:
    """A relationship whose join condition compares two columns, and the read variant of the related rows."""

    name: str
    local_field: str
    remote_field: str
    target: type[Entity]
    read: type[Read]
    is_list: bool
    ordering: Sequence[ColumnElement[Any]]
    names: Sequence[str]
    """The fields to read: those of the variant, and those of the order, for the cursor of the next page."""
    bounded: ListRelation | None


@cache
def relation_of(model: type[Entity], name: str, read: type[Read]) -> Relation | None:
    """Return the `Relation` of a relationship; None if its join condition is not the equality of two columns."""
    mapped: RelationshipProperty[Any] = inspect(model).relationships[name]
    pairs, target = list(mapped.local_remote_pairs or ()), mapping_of(mapped.mapper.class_)
    if target is None or mapped.collection_class not in (None, list) or not is_equality(mapped):
        return None
    local_field = inspect(model).get_property_by_column(pairs[0][0]).key
    remote_field = mapped.mapper.get_property_by_column(pairs[0][1]).key
    bounded = list_relation(model, name)
    ordering: Any = list(mapped.order_by or ()) or [target.columns["id"]]
    ordering = ordering if bounded is None else bounded.ordering
    others = () if bounded is None else order_fields(bounded)
    names = list(dict.fromkeys((*read.model_fields, *others)))
    is_list = bool(mapped.uselist)
    return Relation(name, local_field, remote_field, target.entity, read, is_list, ordering, names, bounded)


async def embed(engine: AsyncEngine, query: ListQuery, relation: Relation, rows: Sequence[Values]) -> None:
    """Read the related rows, and add their values to `rows`, under the name of the relationship.

    A list that was cut off at the limit gets the URL of its rest under `next_name`.
    """
    wanted = list(dict.fromkeys(row[relation.local_field] for row in rows if row[relation.local_field] is not None))
    limit = query.include_limit if relation.is_list and relation.name in query.included else None
    related = await _related(engine, relation, wanted, limit) if wanted else {}
    for row in rows:
        found = related.get(row[relation.local_field], [])
        row[relation.name] = found[:limit] if relation.is_list else next(iter(found), None)
        if limit is not None and len(found) > limit:
            assert relation.bounded is not None
            rest = relation.bounded.rest(query.runtime, query.root_path, row[relation.local_field], found[limit - 1])
            row[next_name(relation.name)] = rest


async def _related(
    engine: AsyncEngine, relation: Relation, keys: Sequence[Any], limit: int | None
) -> Mapping[Any, list[Values]]:
    """Return the related rows by key, at most `limit + 1` for each. The extra row shows that there are more."""
    found = await fetch(engine, _select(relation, keys, limit))
    missing = [] if limit is None else incomplete(keys, found, limit)
    if limit is not None and missing:
        found = [row for row in found if row[0] not in missing]
        for start in range(0, len(missing), MANY_AT_ONCE):  # a hundred in one statement take 0.3 s to compile
            some = missing[start : start + MANY_AT_ONCE]
            found += await fetch(engine, union_all(*(_limited(relation, key, limit) for key in some)))
    related: defaultdict[Any, list[Values]] = defaultdict(list)
    for key, *values in found:
        related[key].append(dict(zip(relation.names, values, strict=True)))
    return related


def _select(relation: Relation, keys: Sequence[Any], limit: int | None) -> Select[Any]:
    remote = getattr(relation.target, relation.remote_field)
    statement = _columns(relation).where(is_in(remote, keys))
    if limit is None:
        return statement.order_by(*relation.ordering)
    return statement.order_by(remote, *relation.ordering).limit(first_limit(keys, limit))


def _columns(relation: Relation) -> Select[Any]:
    columns = [getattr(relation.target, name) for name in (relation.remote_field, *relation.names)]
    return select(*columns).where(*embeddable(relation.target))


def _limited(relation: Relation, key: Any, limit: int) -> Select[Any]:
    """Return a SELECT of at most `limit + 1` related rows of a key, as a part of a UNION."""
    remote = getattr(relation.target, relation.remote_field)
    wanted = _columns(relation).where(remote == key).order_by(*relation.ordering).limit(limit + 1)
    return select(wanted.subquery())
