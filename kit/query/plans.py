"""Plans of lists: how the rows of a page are found, chosen so that a page costs little however many rows there are.

An index gives the order of a sort, another one the rows of a condition. Which of them is better depends on the number
of rows that fulfil the conditions, and where they are in the order. Databases often estimate that wrongly. So it is
tried first, with few rows:

    at most MOST rows fulfil the conditions:        their ids and sort keys are read by the index of a condition, and
                                                    sorted; then the rows of the page are read
    a page of them is among the first MOST rows:    the walk along the index of the sort
    otherwise:                                      as with few rows, although there are more to sort
    there are no conditions:                        the walk, in which nothing is left out

A search index of SQLite is asked first for the number of its entries. If there are many, texts are compared instead.
After an offset, the walk reads ids only, for which the index suffices, and then the rows of the page.
"""

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import CompoundSelect, Select, Table

from kit.query.estimates import Reader, estimated
from kit.query.ordering import Order, Segment
from kit.query.page_selects import (
    Statement,
    completed,
    count_all,
    count_among_first,
    count_rows_found,
    count_search,
    count_segment,
    count_up_to,
)
from kit.query.searching import Search

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery

MAX_LIMIT = 100
"""The largest number of rows of a page."""
MOST = 10_000
"""The largest number of matching rows that a page sorts, instead of scanning the index of its order."""
MOST_FOUND = 2000
"""The same for rows that a search index finds, whose texts are compared again."""
KEPT_SECONDS = 5.0
"""Seconds for which a count of rows decides the plan of other pages. An old count makes a page slower, never wrong."""
MAX_KEPT = 1000
RANGES = ("", "lt", "lte", "gt", "gte", "in", "startswith", "isnull")
"""The operators for which a database can scan a range of an index."""


class Choices(NamedTuple):
    """A select with the conditions of a query, written for several plans. Its rows are the same."""

    indexed: Statement
    """For the indexes of the conditions."""
    walking: Statement
    """For a walk along the index of the sort."""
    compared: Statement
    """For the indexes of the filters, but not for that of the search, where that finds too many rows."""
    filtered: Statement
    """With the conditions of the filters alone, which more rows fulfil."""
    searches: Sequence[Search] = ()
    """The searches that an index of SQLite answers."""
    only: CompoundSelect[Any] | None = None
    """The select of exactly the rows of a search, if the request gives no other condition."""

    @property
    def has_filters(self) -> bool:
        """Whether the select has other conditions than that of the search."""
        (table, *joined) = self.filtered.get_final_froms()
        return self.filtered.whereclause is not None or bool(joined) or not isinstance(table, Table)

    @property
    def statements(self) -> Sequence[Statement]:
        return self.indexed, self.walking, self.compared, self.filtered

    def with_statements(self, statements: Sequence[Statement]) -> "Choices":
        """Return the same choices with other statements, in the order of `statements`."""
        indexed, walking, compared, filtered = statements
        return self._replace(indexed=indexed, walking=walking, compared=compared, filtered=filtered)

    @classmethod
    def of(cls, statement: Statement) -> "Choices":
        """Return the choices of a select without conditions that an index could answer."""
        return cls(statement, statement, statement, statement)


class Method(NamedTuple):
    """How the rows of a page are found."""

    sorts: bool
    """Whether all rows that fulfil the conditions are sorted."""
    compares: bool = False
    """Whether texts are compared, and the search index is not used."""


_known: dict[Hashable, tuple[Method, float]] = {}
"""How the rows of a list are found, and until when that is used."""
_lengths: dict[Hashable, int] = {}
"""The last known number of rows of a segment, by which it is decided what is tried first."""


def is_uncertain(query: "ListQuery", order: Order) -> bool:
    """Return whether the number of rows decides between two indexes: that of the sort, and that of a condition."""
    first, found = order.fields[0], query.asked
    is_one_row = ("id", "") in found or ("id", "in") in found
    return not is_one_row and any(field != first or operator not in RANGES for field, operator in found)


def key_of(query: "ListQuery", database_id: Hashable) -> Hashable:
    """Return what the plan depends on."""
    given = ((name, repr(value)) for name, value in query.given.items() if name in query.conditions or name == "q")
    return database_id, type(query), query.sort, tuple(given)


def known_method(query: "ListQuery", database_id: Hashable) -> Method | None:
    """Return how the rows of such a list were found a short time ago; None if that is unknown."""
    method, until = _known.get(key_of(query, database_id), (None, 0.0))
    return method if time.monotonic() < until else None


def remember(query: "ListQuery", database_id: Hashable, method: Method) -> None:
    """Remember how rows are found, for `known_method`."""
    if len(_known) >= MAX_KEPT:
        _known.clear()
    _known[key_of(query, database_id)] = method, time.monotonic() + KEPT_SECONDS


@dataclass(frozen=True)
class Plan:
    """How the rows of a page are read, and their number, if the request asks for it."""

    choices: Choices
    method: Method
    may_have_rows: bool = True
    total: int | None = None
    estimate: int | None = None

    @property
    def sorts(self) -> bool:
        return self.method.sorts

    @property
    def statement(self) -> Select[Any]:
        if not self.method.sorts:
            return self.choices.walking
        return self.choices.compared if self.method.compares else self.choices.indexed

    def page(self, order: Order, segment: Segment, number: Any, offset: Any = None) -> Any:
        """Return the select of a page, or of a segment of it."""
        return completed(self.statement, order, segment, number, offset, sorts=self.sorts)


async def planned(query: "ListQuery", order: Order, choices: Choices, reader: Reader) -> Plan:
    """Return the plan of a page. Counts rows, if the request asks for it, or if their number decides."""
    counting = query.given.get("count", False)
    if not is_uncertain(query, order):
        plan = Plan(choices._replace(walking=choices.indexed), Method(sorts=False))
        return await with_total(query, plan, reader) if counting else plan
    method = None if counting else known_method(query, reader.database_id)
    if method is not None:
        return Plan(choices, method)
    entries = await search_entries(choices, reader)
    if entries is not None and entries <= most_sorted(query) and not counting:
        remember(query, reader.database_id, Method(sorts=True))
        return Plan(choices, Method(sorts=True))
    finds_many = entries is not None and entries > MOST
    number = await number_found(query, choices, reader, finds_many=finds_many)
    if number <= most_sorted(query):
        method = Method(sorts=True, compares=finds_many)
        remember(query, reader.database_id, method)
        return Plan(choices, method, may_have_rows=number > 0, total=number if counting else None)
    method = Method(sorts=await is_late(query, order, choices, reader))
    remember(query, reader.database_id, method)
    plan = Plan(choices, method)
    return await with_total(query, plan, reader, finds_many=finds_many) if counting else plan


def most_sorted(query: "ListQuery") -> int:
    """Return the largest number of rows that are sorted without a look at the index of the order."""
    is_search = any(operator in ("q", "contains") for _, operator in query.asked)
    return min(MOST, MOST_FOUND) if is_search else MOST


async def search_entries(choices: Choices, reader: Reader) -> int | None:
    """Return how many entries of an index of SQLite the search with the fewest finds, up to `MOST` + 1.

    None without such a search. A few rows that FTS5 has not taken over yet are not counted.
    """
    fewest: int | None = None
    for search in choices.searches:
        ((entries,),) = await reader.rows(search.rows, f"entries {MOST}", partial(count_search, most=MOST + 1))
        fewest = entries if fewest is None else min(fewest, entries)
    return fewest


async def number_found(query: "ListQuery", choices: Choices, reader: Reader, *, finds_many: bool) -> int:
    """Return the number of rows, or one more than are sorted if there are more."""
    most = most_sorted(query)
    if not finds_many:
        return await number_up_to(query, choices.indexed, reader, most)
    if not choices.has_filters or await number_up_to(query, choices.filtered, reader, MOST) > MOST:
        return most + 1
    return await number_up_to(query, choices.compared, reader, most)


async def number_up_to(query: "ListQuery", statement: Statement, reader: Reader, most: int) -> int:
    """Return the number of rows, or `most` + 1 if there are more."""
    count = partial(count_up_to, model=query.model, most=most + 1)
    ((number,),) = await reader.rows(statement, f"up to {most}", count)
    return int(number)


async def is_late(query: "ListQuery", order: Order, choices: Choices, reader: Reader) -> bool:
    """Return whether a walk in this order would pass more than `MOST` rows before it has met those of a page."""
    if not order.has_index:
        return True
    page, statement, found, passed = query.given.get("limit", MAX_LIMIT) + 1, choices.walking, 0, 0
    for index, segment in enumerate(order.segments(())):
        if found < page and passed < MOST:
            count = partial(count_among_first, segment=segment, model=order.model, most=page, length=MOST)
            ((number, length),) = await reader.rows(statement, f"{page} among {MOST} by {order.text} {index}", count)
            found, passed = found + number, passed + length
    return bool(found < page)


async def offset_beyond(
    query: "ListQuery", offset: int | None, plan: Plan, segment: Segment, reader: Reader
) -> int | None:
    """Return the offset within the next segment, if that of the page was beyond this one when it was counted last.

    None if rows of this segment may be of the page: they are read then.
    """
    last = _lengths.get((key_of(query, reader.database_id), segment))
    if offset is None or segment.is_last or last is None or last > offset:
        return None
    number = await length_of(query, plan, segment, reader)
    return offset - number if number <= offset else None


async def rest_of_offset(
    query: "ListQuery", offset: int | None, found: int, plan: Plan, segment: Segment, reader: Reader
) -> int | None:
    """Return the offset within the next segment, after `found` rows of this one were read; None at its start."""
    if offset is None or found or segment.is_last:
        return None
    return max(0, offset - await length_of(query, plan, segment, reader)) or None


async def length_of(query: "ListQuery", plan: Plan, segment: Segment, reader: Reader) -> int:
    """Return the number of rows of a segment, up to `MAX_OFFSET`."""
    counted = partial(count_segment, segment=segment, model=query.model)
    ((number,),) = await reader.rows(plan.statement, ("segment", segment), counted)
    if len(_lengths) >= MAX_KEPT:
        _lengths.clear()
    _lengths[key_of(query, reader.database_id), segment] = number
    return int(number)


async def with_total(query: "ListQuery", plan: Plan, reader: Reader, *, finds_many: bool = False) -> Plan:
    """Return the plan with the number of rows, or its estimate."""
    if query.given["count"] is True or not reader.may_estimate:
        total = await counted(plan.choices, reader, finds_many=finds_many)
        return replace(plan, total=total, may_have_rows=total > 0)
    number = MOST + 1 if finds_many else await number_up_to(query, plan.choices.indexed, reader, MOST)
    if number <= MOST:
        return replace(plan, total=number, may_have_rows=number > 0)
    return replace(plan, estimate=max(number, await estimated(query, plan.choices, reader)))


async def counted(choices: Choices, reader: Reader, *, finds_many: bool) -> int:
    """Return the number of rows."""
    if choices.only is not None and reader.sees_all and not choices.has_filters:
        ((total,),) = await reader.rows(choices.only, "rows found", count_rows_found)
    else:
        compares = finds_many and any(search.exact is None for search in choices.searches)
        statement = choices.compared if compares else choices.indexed
        ((total,),) = await reader.rows(statement, "count", count_all)
    return int(total)
