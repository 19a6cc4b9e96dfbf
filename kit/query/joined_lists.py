"""Joined lists: reads the rows of a page whose SELECT loads lists by a join (`joinedload`, `lazy="joined"`)."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, inspect, select
from sqlalchemy.exc import InvalidRequestError

from kit.database.sessions import ReadSession, execute

WHOLE = {"yield_per": None, "stream_results": False}
"""Execution options by which a page is read at once, also with a statement that asks for parts (`yield_per`)."""
JOINED = ("joined", False)
"""The values of `lazy` of relationships that are loaded by a join."""


async def rows_of_page(session: ReadSession, statement: Select[Any], entity: Any) -> Sequence[Any]:
    """Return the rows of the SELECT of a page.

    If it loads lists by a join, SQLAlchemy returns rows only without duplicates. Then their ids are read first.
    """
    if not joins_lists(entity):
        found = await execute(session, statement, execution_options=WHOLE)
        try:
            return found.scalars().all()
        except InvalidRequestError:  # an option loads lists by a join
            pass
    return await rows_with_lists(session, statement, entity)


async def rows_with_lists(session: ReadSession, statement: Select[Any], entity: Any) -> Sequence[Any]:
    """Return the rows of a page with the lists that are loaded by a join, by a SELECT of the ids of the page."""
    chosen = select(statement.subquery().columns.id)
    ids = (await execute(session, chosen, execution_options=WHOLE)).scalars().all()
    found = await execute(session, statement.where(entity.id.in_(ids)).limit(None), execution_options=WHOLE)
    return found.unique().scalars().all()


@cache
def joins_lists(entity: Any) -> bool:
    """Return whether a SELECT of an entity loads lists by a join, because its relationships say so."""
    found, seen = [inspect(entity)], set[Any]()
    while found:
        mapper = found.pop()
        joined = [each for each in mapper.relationships if each.lazy in JOINED]
        if any(each.uselist for each in joined):
            return True
        seen.add(mapper)
        found += [each.mapper for each in joined if each.mapper not in seen]
    return False
