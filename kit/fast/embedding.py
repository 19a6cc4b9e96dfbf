"""Embedding without the ORM: the related rows of a page are read by one select for each relationship.

A list that the query bounds may need a second select: see `kit.query.related`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import eq
from typing import Any

from sqlalchemy import BinaryExpression, ColumnElement, Select, inspect, select, union_all
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import RelationshipProperty

from kit.fast.mappings import mapping_of
from kit.fast.selects import fetch
from kit.models.deletion import visible
from kit.models.entities import Entity
from kit.models.reads import Read
from kit.query.embedding import ListRelation, list_relation, next_name
from kit.query.filters import is_in
from kit.query.list_query import ListQuery
from kit.query.related import first_limit, incomplete, order_fields

Values = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Relation:
    """A relationship that joins one column of each table, and the read variant of the related rows."""

    name: str
    here: str
    there: str
    target: type[Entity]
    read: type[Read]
    is_list: bool
    ordering: Sequence[ColumnElement[Any]]
    names: Sequence[str]
    """The fields to read: those of the variant, and those of the order, which the cursor of the next rows needs."""
    bounded: ListRelation | None


@cache
def relation_of(model: type[Entity], name: str, read: type[Read]) -> Relation | None:
    """Return the relation of a relationship; None if it needs more than the comparison of two columns."""
    way: RelationshipProperty[Any] = inspect(model).relationships[name]
    pairs, target = list(way.local_remote_pairs or ()), mapping_of(way.mapper.class_)
    if target is None or way.secondary is not None or len(pairs) != 1 or not _compares(way.primaryjoin, *pairs[0]):
        return None
    if way.collection_class not in (None, list):
        return None
    here = inspect(model).get_property_by_column(pairs[0][0]).key
    there = way.mapper.get_property_by_column(pairs[0][1]).key
    bounded = list_relation(model, name)
    ordering: Any = list(way.order_by or ()) or [target.columns["id"]]
    ordering = ordering if bounded is None else bounded.ordering
    others = () if bounded is None else order_fields(bounded)
    names = list(dict.fromkeys((*read.model_fields, *others)))
    return Relation(name, here, there, target.entity, read, bool(way.uselist), ordering, names, bounded)


def _compares(condition: Any, local: ColumnElement[Any], remote: ColumnElement[Any]) -> bool:
    """Return whether a condition is `local = remote`, and nothing else."""
    if not isinstance(condition, BinaryExpression) or condition.operator is not eq:
        return False
    return {str(condition.left), str(condition.right)} == {str(local), str(remote)}


async def embed(engine: AsyncEngine, query: ListQuery, relation: Relation, rows: Sequence[Values]) -> None:
    """Put the values of the related rows into these rows, under the name of the relationship."""
    wanted = list(dict.fromkeys(row[relation.here] for row in rows if row[relation.here] is not None))
    limit = query.include_limit if relation.is_list and relation.name in query.included else None
    related = await _related(engine, relation, wanted, limit) if wanted else {}
    for row in rows:
        found = related.get(row[relation.here], [])
        row[relation.name] = found[:limit] if relation.is_list else next(iter(found), None)
        if limit is not None and len(found) > limit:
            assert relation.bounded is not None
            rest = relation.bounded.rest(query.runtime, query.root_path, row[relation.here], found[limit - 1])
            row[next_name(relation.name)] = rest


async def _related(
    engine: AsyncEngine, relation: Relation, keys: Sequence[Any], limit: int | None
) -> Mapping[Any, list[Values]]:
    """Return the related rows by their keys, at most one more than the limit."""
    found = await fetch(engine, _select(relation, keys, limit))
    missing = [] if limit is None else incomplete(keys, found, limit)
    if limit is not None and missing:
        found = [row for row in found if row[0] not in missing]
        found += list(await fetch(engine, union_all(*(_limited(relation, key, limit) for key in missing))))
    related: defaultdict[Any, list[Values]] = defaultdict(list)
    for key, *values in found:
        related[key].append(dict(zip(relation.names, values, strict=True)))
    return related


def _select(relation: Relation, keys: Sequence[Any], limit: int | None) -> Select[Any]:
    there = getattr(relation.target, relation.there)
    statement = _columns(relation).where(is_in(there, keys))
    if limit is None:
        return statement.order_by(*relation.ordering)
    return statement.order_by(there, *relation.ordering).limit(first_limit(keys, limit))


def _columns(relation: Relation) -> Select[Any]:
    columns = [getattr(relation.target, name) for name in (relation.there, *relation.names)]
    return select(*columns).where(*visible(relation.target))


def _limited(relation: Relation, key: Any, limit: int) -> Select[Any]:
    """Return a select of a limited number of related rows, as a part of a union."""
    there = getattr(relation.target, relation.there)
    wanted = _columns(relation).where(there == key).order_by(*relation.ordering).limit(limit + 1)
    return select(wanted.subquery())
