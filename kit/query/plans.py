"""Plans of lists: how the rows of a page are found, chosen so that a page costs little however many rows there are.

An index gives the order of a sort, another one the rows of a condition. Which of them is better depends on the number
of rows that fulfil the conditions, and where they are in the order. Databases often estimate that wrongly. So it is
tried first, with few rows:

    at most MOST rows fulfil the conditions:        their ids and sort keys are read by the index of a condition, and
                                                    sorted; then the rows of the page are read
    a page of them is among the first MOST rows:    the walk along the index of the sort
    otherwise:                                      as with few rows, although there are more to sort
    there are no conditions:                        the walk, in which nothing is left out

After an offset, the walk reads ids only, for which the index suffices, and then the rows of the page.
"""

import time
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Select, func, select
from sqlmodel.sql.expression import SelectOfScalar

from kit.models.entities import Entity
from kit.query.estimates import Reader, estimated
from kit.query.ordering import Order, Segment

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery

MAX_OFFSET = 1_000_000
MAX_LIMIT = 100
"""The largest number of rows of a page."""
MOST = 10_000
"""The largest number of matching rows that a page sorts, instead of scanning the index of its order."""
KEPT_SECONDS = 5.0
"""Seconds for which a count of rows decides the plan of other pages. An old count makes a page slower, never wrong."""
MAX_KEPT = 1000
RANGES = ("", "lt", "lte", "gt", "gte", "in", "startswith", "isnull")
"""The operators for which a database can scan a range of an index."""
Statement = SelectOfScalar[Any]
_known: dict[Hashable, tuple[bool, float]] = {}
"""Whether the rows of a list are sorted, and until when that is used."""


class Choices(NamedTuple):
    """A select with the conditions of a query, written for two plans. Its rows are the same."""

    indexed: Statement
    walking: Statement


def is_uncertain(query: "ListQuery", order: Order) -> bool:
    """Return whether the number of rows decides between two indexes: that of the sort, and that of a condition."""
    first, found = order.fields[0], query.asked
    is_one_row = ("id", "") in found or ("id", "in") in found
    return not is_one_row and any(field != first or operator not in RANGES for field, operator in found)


def key_of(query: "ListQuery", database_id: Hashable) -> Hashable:
    """Return what the plan depends on."""
    given = ((name, repr(value)) for name, value in query.given.items() if name in query.conditions or name == "q")
    return database_id, type(query), query.sort, tuple(given)


def known_plan(query: "ListQuery", database_id: Hashable) -> bool | None:
    """Return whether rows were sorted for such a list a short time ago; None if that is unknown."""
    sorts, until = _known.get(key_of(query, database_id), (None, 0.0))
    return sorts if time.monotonic() < until else None


def remember(query: "ListQuery", database_id: Hashable, *, sorts: bool) -> None:
    """Remember a plan, for `known_plan`."""
    if len(_known) >= MAX_KEPT:
        _known.clear()
    _known[key_of(query, database_id)] = sorts, time.monotonic() + KEPT_SECONDS


def count_up_to(statement: Select[Any], model: type[Entity], most: int) -> Select[Any]:
    """Return a select that counts the rows, up to a maximum."""
    chosen = statement.with_only_columns(_id(model), maintain_column_froms=True).limit(most)
    return select(func.count()).select_from(chosen.subquery())


def page_of_few(statement: Select[Any], order: Order, segment: Segment, number: Any, offset: Any = None) -> Select[Any]:
    """Return the select of the ids of a page, for conditions that few rows match.

    The inner select has an offset, so that a database plans it by itself, without the index of the sort.
    """
    names = dict.fromkeys(("id", *(key.column.key for key in segment.keys)))
    columns = [getattr(order.model, name) for name in names]
    chosen = statement.with_only_columns(*columns, maintain_column_froms=True).where(segment.condition)
    few = chosen.offset(0).subquery()
    found: dict[str, Any] = dict(zip(names, few.columns, strict=True))
    ordering = [key.ordering(found[key.column.key]) for key in segment.keys]
    ids = select(found["id"]).order_by(*ordering).limit(number).offset(offset)
    return statement.where(_id(order.model).in_(ids))


def page_after_offset(statement: Select[Any], order: Order, segment: Segment, number: Any, offset: Any) -> Select[Any]:
    """Return the select with the ids of a page after an offset."""
    chosen = statement.with_only_columns(_id(order.model), maintain_column_froms=True).where(segment.condition)
    ids = chosen.order_by(*segment.ordering).limit(number).offset(offset)
    return statement.where(_id(order.model).in_(ids))


def _id(model: type[Entity]) -> Any:
    return model.id


def count_among_first(statement: Select[Any], segment: Segment, model: type[Entity], most: int) -> Select[Any]:
    """Return a select that counts the matching rows, up to a maximum, among the first `MOST` rows of a segment.

    The second column is the number of the latter.
    """
    key = _id(model)
    first = select(key).where(segment.condition).order_by(*segment.ordering).limit(MOST)
    found = count_up_to(statement.where(key.in_(first)), model, most)
    return select(found.scalar_subquery(), select(func.count()).select_from(first.subquery()).scalar_subquery())


@dataclass(frozen=True)
class Plan:
    """How the rows of a page are read, and their number, if the request asks for it."""

    choices: Choices
    sorts: bool
    """Whether all rows that fulfil the conditions are sorted."""
    may_have_rows: bool = True
    total: int | None = None
    estimate: int | None = None

    @property
    def statement(self) -> Select[Any]:
        return self.choices.indexed if self.sorts else self.choices.walking

    def page(self, order: Order, segment: Segment, number: Any, offset: Any = None) -> Any:
        """Return the select of a page, or of a segment of it."""
        return completed(self.statement, order, segment, number, offset, sorts=self.sorts)


def completed(
    statement: Select[Any], order: Order, segment: Segment, number: Any, offset: Any, *, sorts: bool
) -> Select[Any]:
    """Return the select of a page, ordered and limited."""
    if sorts:
        statement = page_of_few(statement, order, segment, number, offset)
    elif offset is not None:
        statement = page_after_offset(statement, order, segment, number, offset)
    else:
        statement = statement.where(segment.condition)
    return statement.order_by(*segment.ordering).limit(number)


async def planned(query: "ListQuery", order: Order, choices: Choices, reader: Reader) -> Plan:
    """Return the plan of a page. Counts rows, if the request asks for it, or if their number decides."""
    counting = query.given.get("count", False)
    if not is_uncertain(query, order):
        choices = Choices(choices.indexed, choices.indexed)
        return await with_total(query, Plan(choices, sorts=False), reader) if counting else Plan(choices, sorts=False)
    sorts = None if counting else known_plan(query, reader.database_id)
    if sorts is not None:
        return Plan(choices, sorts)
    number = await number_up_to_most(query, choices, reader)
    if number <= MOST:
        remember(query, reader.database_id, sorts=True)
        return Plan(choices, sorts=True, may_have_rows=number > 0, total=number if counting else None)
    plan = Plan(choices, sorts=await is_late(query, order, choices, reader))
    remember(query, reader.database_id, sorts=plan.sorts)
    return await with_total(query, plan, reader, number) if counting else plan


async def number_up_to_most(query: "ListQuery", choices: Choices, reader: Reader) -> int:
    """Return the number of rows, or `MOST` + 1 if there are more."""
    count = partial(count_up_to, model=query.model, most=MOST + 1)
    ((number,),) = await reader.rows(choices.indexed, f"up to {MOST}", count)
    return int(number)


async def is_late(query: "ListQuery", order: Order, choices: Choices, reader: Reader) -> bool:
    """Return whether a walk in this order would pass more than `MOST` rows before it has met those of a page."""
    if not order.has_index:
        return True
    page, statement, found, passed = query.given.get("limit", MAX_LIMIT) + 1, choices.walking, 0, 0
    for index, segment in enumerate(order.segments(())):
        if found < page and passed < MOST:
            count = partial(count_among_first, segment=segment, model=order.model, most=page)
            ((number, length),) = await reader.rows(statement, f"{page} among {MOST} by {order.text} {index}", count)
            found, passed = found + number, passed + length
    return bool(found < page)


async def rest_of_offset(
    offset: int | None, found: int, plan: Plan, segment: Segment, model: type[Entity], reader: Reader
) -> int | None:
    """Return the offset within the next segment, after `found` rows of this one were read; None at its start."""
    if offset is None or found or segment.is_last:
        return None
    counted = partial(count_segment, segment=segment, model=model)
    ((number,),) = await reader.rows(plan.statement, ("segment", segment), counted)
    return max(0, offset - number) or None


def count_segment(statement: Select[Any], segment: Segment, model: type[Entity]) -> Select[Any]:
    """Return the select of the number of rows of a segment. Its order is for SQLite, which then uses the index."""
    return count_up_to(statement.where(segment.condition).order_by(*segment.ordering), model, MAX_OFFSET)


async def with_total(query: "ListQuery", plan: Plan, reader: Reader, number: int | None = None) -> Plan:
    """Return the plan with the number of rows, or its estimate. `number` is known if it is `MOST` + 1."""
    if query.given["count"] is True or not reader.may_estimate:
        ((total,),) = await reader.rows(plan.choices.indexed, "count", count_all)
        return replace(plan, total=total, may_have_rows=total > 0)
    number = await number_up_to_most(query, plan.choices, reader) if number is None else number
    if number <= MOST:
        return replace(plan, total=number, may_have_rows=number > 0)
    return replace(plan, estimate=max(number, await estimated(query, plan.choices, reader)))


def count_all(statement: Select[Any]) -> Select[Any]:
    return statement.with_only_columns(func.count(), maintain_column_froms=True)
