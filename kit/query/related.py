"""Related rows: loads the rows of relationships to many that a page embeds, at most `include_limit` for each parent.

One query with a limit reads those of all parents. If it reaches its limit, further queries read a limited number of
rows for each parent that is incomplete. Therefore a parent with 100,000 children costs as much as one with a hundred.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Select, inspect, select, union_all
from sqlalchemy.orm import aliased, load_only

from kit.auth.embedding import embeddable
from kit.database.sessions import execute
from kit.models.entities import Entity
from kit.query.embedding import ListRelation, Related, columns_shown
from kit.query.filters import is_in
from kit.query.shown_values import load_shown, shown_by

if TYPE_CHECKING:
    from kit.database.sessions import ReadSession, WriteSession
    from kit.query.list_query import ListQuery

T = TypeVar("T")
MANY_AT_ONCE = 20
"""The limit of a query, as a number of complete lists of related rows."""


def first_limit(keys: Collection[Any], limit: int) -> int:
    """Return the limit of the first query: for each parent one row more than `limit`, to see whether there are more."""
    return min(len(keys), MANY_AT_ONCE) * (limit + 1)


def incomplete(keys: Sequence[Any], found: Sequence[Sequence[Any]], limit: int) -> list[Any]:
    """Return the parents' keys whose rows the first query has not read completely.

    `found` are its rows, sorted by the parent's key, which is their first column.
    """
    if len(keys) == 1 or len(found) < first_limit(keys, limit):
        return []
    complete = {row[0] for row in found} - {found[-1][0]}
    return [key for key in keys if key not in complete]


async def load_lists(session: "ReadSession | WriteSession", query: "ListQuery", rows: Sequence[Entity]) -> None:
    """Load the related rows to embed in these rows, and store them in `query.related`, for `query.to_read`."""
    for name, (relation, read) in query.lists.items():
        found = await _related(session, query, relation, read, [row.id for row in rows])
        await load_shown(session, chain.from_iterable(found.values()), shown_by(read))
        query.related[name] = {row.id: _limited_list(query, relation, row, found[row.id]) for row in rows}


def _limited_list(query: "ListQuery", relation: ListRelation, row: Entity, found: Sequence[Any]) -> Related:
    """Return the first `include_limit` related rows, and a link to the others if there are more."""
    limit = query.include_limit
    if len(found) <= limit:
        return Related(found)
    value = None if relation.local_field is None else getattr(row, relation.local_field)
    last = {name: getattr(found[limit - 1], name) for name in order_fields(relation)}
    return Related(found[:limit], True, relation.rest(query.runtime, query.root_path, value, last))


def order_fields(relation: ListRelation) -> Sequence[str]:
    return () if relation.order is None else relation.order.fields


async def _related(
    session: "ReadSession | WriteSession", query: "ListQuery", relation: ListRelation, read: Any, ids: Sequence[Any]
) -> dict[Any, list[Any]]:
    """Return the related rows by the parent's id, at most `include_limit` + 1 for each."""
    related: defaultdict[Any, list[Any]] = defaultdict(list)
    if not ids:
        return related
    limit, shown = query.include_limit, columns_shown(relation.relationship, read, *order_fields(relation))
    options = [] if shown is None else [load_only(*shown)]
    parent = aliased(relation.relationship.parent.class_)
    children = getattr(parent, relation.relationship.key)
    wanted = select(parent.id, relation.target).join_from(parent, children)
    wanted = wanted.where(is_in(parent.id, ids), *embeddable(relation.target))
    wanted = wanted.order_by(parent.id, *relation.ordering).limit(first_limit(ids, limit))
    found: list[Any] = list((await execute(session, wanted.options(*options))).all())
    missing = incomplete(ids, found, limit)
    if missing:
        found = [row for row in found if row[0] not in missing]
        for start in range(0, len(missing), MANY_AT_ONCE):
            some = _for_each(relation, missing[start : start + MANY_AT_ONCE], limit)
            found += (await execute(session, some.options(*options))).all()
    for ident, row in found:
        related[ident].append(row)
    return related


def _for_each(relation: ListRelation, ids: Sequence[Any], limit: int) -> Select[Any]:
    """Return a SELECT of at most `limit` + 1 related rows for each of these parents' ids."""
    (key,) = inspect(relation.target).primary_key
    parts = [_of_one(relation, key, ident, limit) for ident in ids]
    pairs = union_all(*parts).subquery()
    return (
        select(pairs.c.parent_id, relation.target)
        .join(pairs, pairs.c.child_id == key)
        .order_by(pairs.c.parent_id, *relation.ordering)
    )


def _of_one(relation: ListRelation, key: Any, ident: Any, limit: int) -> Select[Any]:
    parent = aliased(relation.relationship.parent.class_)
    children = getattr(parent, relation.relationship.key)
    pairs = select(parent.id.label("parent_id"), key.label("child_id")).join_from(parent, children)
    few = pairs.where(parent.id == ident, *embeddable(relation.target)).order_by(*relation.ordering).limit(limit + 1)
    return select(few.subquery())
