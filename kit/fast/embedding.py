"""Embedding past the ORM: the related rows of a page are read by one select for each relationship."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from operator import eq
from typing import Any

from sqlalchemy import BinaryExpression, ColumnElement, Select, inspect, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import RelationshipProperty
from sqlmodel import col

from kit.fast.mappings import mapping_of
from kit.fast.selects import fetch
from kit.models.entities import Entity
from kit.models.reads import Read
from kit.query.filters import among

Values = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Relation:
    """A relationship that joins one column here with one there, and the variant that shows what it leads to."""

    name: str
    here: str
    there: str
    target: type[Entity]
    read: type[Read]
    is_list: bool
    ordering: Sequence[ColumnElement[Any]]


@cache
def relation_of(model: type[Entity], name: str, read: type[Read]) -> Relation | None:
    """The relation of a relationship; None if it needs more than the comparison of two columns."""
    way: RelationshipProperty[Any] = inspect(model).relationships[name]
    pairs, target = list(way.local_remote_pairs or ()), mapping_of(way.mapper.class_)
    if target is None or way.secondary is not None or len(pairs) != 1 or not _compares(way.primaryjoin, *pairs[0]):
        return None
    if way.collection_class not in (None, list):
        return None
    here = inspect(model).get_property_by_column(pairs[0][0]).key
    there = way.mapper.get_property_by_column(pairs[0][1]).key
    ordering: list[Any] = list(way.order_by or ()) or [col(target.entity.id)]
    return Relation(name, here, there, target.entity, read, bool(way.uselist), ordering)


def _compares(condition: Any, local: ColumnElement[Any], remote: ColumnElement[Any]) -> bool:
    """Whether a condition is `local = remote`, and nothing else."""
    if not isinstance(condition, BinaryExpression) or condition.operator is not eq:
        return False
    return {str(condition.left), str(condition.right)} == {str(local), str(remote)}


async def embed(engine: AsyncEngine, relation: Relation, rows: Sequence[Values]) -> None:
    """Put the values of the related rows into these rows, under the name of the relationship."""
    wanted = list(dict.fromkeys(row[relation.here] for row in rows if row[relation.here] is not None))
    related: defaultdict[Any, list[Values]] = defaultdict(list)
    if wanted:
        names = list(relation.read.model_fields)
        for key, *values in await fetch(engine, _select(relation, wanted)):
            related[key].append(dict(zip(names, values, strict=True)))
    for row in rows:
        found = related[row[relation.here]]
        row[relation.name] = found if relation.is_list else next(iter(found), None)


def _select(relation: Relation, keys: Sequence[Any]) -> Select[Any]:
    target = relation.target
    columns = [getattr(target, name) for name in (relation.there, *relation.read.model_fields)]
    return select(*columns).where(among(getattr(target, relation.there), keys)).order_by(*relation.ordering)
