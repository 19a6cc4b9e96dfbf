"""Shown values: loads the columns and related rows that a response model shows, and that rows lack.

A response model reads attributes of a row: fields, related rows with a response model of their own, and so on. An async
session cannot load them on access. They are loaded level by level: those of the rows, then those of the related rows.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, AliasPath, BaseModel
from sqlalchemy import inspect, select, tuple_
from sqlalchemy.ext.associationproxy import AssociationProxy
from sqlalchemy.ext.asyncio import AsyncSession, async_object_session
from sqlalchemy.orm import Mapper, RelationshipProperty, selectinload, undefer
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.interfaces import ORMOption

from kit.auth.checked_sessions import RESTRICTED_READS
from kit.auth.embedding import FOR_OWNERS, embeddable, own_rows_of
from kit.database.sessions import execute
from kit.models.type_parts import types_within
from kit.query.embedding import list_relation, read_variant

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery

NEVER_LOADED = ("dynamic", "write_only")
"""The values of `lazy` of relationships whose rows are never loaded, but queried."""
MAX_IDS = 1000
"""The maximum number of rows that one SELECT loads, because drivers limit the number of parameters."""
Path = tuple[str, ...]
Shown = frozenset[tuple[Path, tuple[type[BaseModel], ...]]]
"""The attributes that are read: each a path from the row, with the response models of its value."""
MAX_KNOWN = 500
"""The maximum size of the LRU cache of what list queries show."""


@cache
def shown_by(model: type[BaseModel]) -> Shown:
    """Return the attributes of a row that a response model reads."""
    model.model_rebuild(raise_errors=False)
    return frozenset(
        (path, tuple(dict.fromkeys(models_in(field.annotation))))
        for name, field in model.model_fields.items()
        for path in (*paths_of(field.validation_alias), (name,))
    )


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in an annotation such as `list[Variant]`, without those in their fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in types_within(annotation):
        yield from models_in(part)


def paths_of(alias: str | AliasPath | AliasChoices | None) -> Iterator[Path]:
    """Yield the paths that the validation alias of a field names."""
    if isinstance(alias, AliasChoices):
        for choice in alias.choices:
            yield from paths_of(choice)
    elif isinstance(alias, AliasPath):
        yield tuple(part for part in alias.path if isinstance(part, str))
    elif alias is not None:
        yield (alias,)


@dataclass(frozen=True)
class Needed:
    """The columns and relationships that rows of an entity need, and what is shown of the rows of each relationship."""

    names: frozenset[str]
    related: Mapping[str, Shown]


@cache
def needed_of(entity: Any, shown: Shown) -> Needed:
    """Return which of the shown attributes are columns or relationships of an entity."""
    mapper, related, columns = inspect(entity), defaultdict[str, set[Any]](set), set()
    for path, models in shown:
        first, *rest = (*attributes_behind(mapper, path[0]), *path[1:])
        if first in mapper.column_attrs:
            columns.add(first)
        elif first in mapper.relationships and mapper.relationships[first].lazy not in NEVER_LOADED:
            related[first].update(
                [(tuple(rest), models)] if rest else {part for each in models for part in shown_by(each)}
            )
    return Needed(frozenset({*columns, *related}), {name: frozenset(parts) for name, parts in related.items()})


def shows_related(entity: Any, shown: Shown) -> bool:
    """Return whether related rows are among the shown attributes of an entity."""
    return bool(needed_of(entity, shown).related)


def attributes_behind(mapper: Mapper[Any], name: str) -> Path:
    """Return the path to the values of an attribute; for an association proxy, it leads over its relationship."""
    descriptor: Any = mapper.all_orm_descriptors.get(name)
    if isinstance(descriptor, AssociationProxy):
        return descriptor.target_collection, descriptor.value_attr
    return (name,)


def queried_relationships(
    entity: Any, shown: Shown, seen: frozenset[tuple[Any, Shown]] = frozenset()
) -> Iterator[RelationshipProperty[Any]]:
    """Yield the shown relationships of an entity, and of its related rows, that are never loaded, but queried."""
    if (entity, shown) in seen:
        return
    mapper = inspect(entity)
    for path, _ in shown:
        relationship = mapper.relationships.get(attributes_behind(mapper, path[0])[0])
        if relationship is not None and relationship.lazy in NEVER_LOADED:
            yield relationship
    for name, parts in needed_of(entity, shown).related.items():
        yield from queried_relationships(mapper.relationships[name].mapper.class_, parts, seen | {(entity, shown)})


def shown_in(query: "ListQuery", *fields: str) -> Shown:
    """Return the attributes that the response to a list query reads of its rows, and these fields."""
    kind: Any = type(query)
    return _shown_in(kind, tuple(query.included), fields)


@lru_cache(MAX_KNOWN)
def _shown_in(kind: Any, included: tuple[str, ...], fields: tuple[str, ...]) -> Shown:
    shown = {*shown_by(kind.read), *(((field,), ()) for field in fields)}
    for name in included:
        relation = list_relation(kind.model, name)
        if relation is None:
            shown.add(((name,), (read_variant(kind.includes[name], kind.model, name),)))
        elif relation.local_field is not None:  # for the link to the rest
            shown.add(((relation.local_field,), ()))
    return frozenset(shown)


async def load_shown(session: AsyncSession, rows: Iterable[Any], shown: Shown) -> None:
    """Load the attributes that rows lack, and recursively those that their related rows lack.

    Related rows that only their owners may read are left out for others, also those that were loaded before.
    """
    await _load(session, rows, shown, set())


async def _load(session: AsyncSession, rows: Iterable[Any], shown: Shown, seen: set[tuple[int, Shown]]) -> None:
    groups: defaultdict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        groups[type(row)].append(row)
    for entity, group in groups.items():
        needed = needed_of(entity, shown)
        lacking = [row for row in group if not needed.names <= vars(row).keys() and may_load(session, row)]
        if lacking:
            await load_attributes(async_object_session(lacking[0]) or session, entity, lacking, needed.names)
        for name, parts in needed.related.items():
            await leave_out_others(session, inspect(entity).relationships[name], group)
            found = {(id(related), parts): related for row in group for related in rows_of(vars(row).get(name))}
            new = [related for key, related in found.items() if key not in seen]
            seen.update(found)  # a row may be related to itself
            await _load(session, new, parts, seen)


async def leave_out_others(session: AsyncSession, relationship: RelationshipProperty[Any], rows: Sequence[Any]) -> None:
    """Leave out rows of other users in a relationship that the handler has loaded, if only owners may read them."""
    target, name = relationship.mapper.class_, relationship.key
    if target not in FOR_OWNERS.get() or session.info.get(RESTRICTED_READS):
        return
    ids = list({related.id for row in rows for related in rows_of(vars(row).get(name))})
    own: set[Any] = set()
    for start in range(0, len(ids), MAX_IDS):
        known = target.id.in_(ids[start : start + MAX_IDS])
        own.update(await session.scalars(select(target.id).where(known, own_rows_of(target))))
    for row in rows:
        kept = [related for related in rows_of(vars(row).get(name)) if related.id in own]
        if len(kept) < len(rows_of(vars(row).get(name))):
            set_committed_value(row, name, kept if relationship.uselist else None)


def may_load(session: AsyncSession, row: object) -> bool:
    """Return whether a session can load attributes of a row, because the row is persistent in it.

    The fast path adds rows to its session when the session is first asked for them.
    """
    return inspect(row).persistent or (row in session and inspect(row).persistent)


def rows_of(value: Any) -> Collection[Any]:
    """Return the rows in the value of a relationship: None, a row, or a collection of rows."""
    if value is None:
        return ()
    if inspect(value, raiseerr=False) is not None:
        return (value,)
    rows: Collection[Any] = value.values() if isinstance(value, Mapping) else value
    return rows


async def load_attributes(
    session: AsyncSession, entity: type[Any], rows: Sequence[Any], names: Collection[str]
) -> None:
    """Load those of these columns and relationships that the rows lack, without softly deleted related rows."""
    mapper = inspect(entity)
    key: Any = mapper.primary_key[0] if len(mapper.primary_key) == 1 else tuple_(*mapper.primary_key)
    missing = {name for row in rows for name in names if name not in vars(row)}
    options = [loading(mapper, name) for name in missing]
    for start in range(0, len(rows), MAX_IDS):
        idents = [inspect(row).identity for row in rows[start : start + MAX_IDS]]
        wanted = key.in_([ident[0] if len(ident) == 1 else ident for ident in idents])
        found = await execute(session, select(entity).where(wanted).options(*options))
        found.unique().all()
    for row in rows:
        for name in missing.difference(vars(row)):  # it was deleted meanwhile
            is_list = name in mapper.relationships and mapper.relationships[name].uselist
            set_committed_value(row, name, [] if is_list else None)


def loading(mapper: Mapper[Any], name: str) -> ORMOption:
    """Return the option that loads a column, or the related rows that are not softly deleted."""
    attribute = getattr(mapper.class_, name)
    if name in mapper.column_attrs:
        return undefer(attribute)
    return selectinload(attribute.and_(*embeddable(mapper.relationships[name].mapper.class_)))
