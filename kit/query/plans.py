"""Plans of lists: chooses how the rows of a page are found, so that a page is fast however many rows there are.

A page can be read in two ways: by a scan of the index of the sort, until enough rows satisfy the conditions; or by the
index of a condition, and sorting all rows that it finds. Which one is faster depends on the number of rows that satisfy
the conditions, and on their position in the order. Databases often estimate that wrongly. Therefore it is measured
first, by counting a bounded number of rows:

    at most MOST rows satisfy the conditions:       sort: their ids and sort keys are read by the index of a condition
                                                    and sorted; then the rows of the page are read
    a page of them is among the first MOST rows:    scan of the index of the sort
    otherwise:                                      sort, although there are more rows to sort
    there are no conditions:                        scan of the index of the sort

With a search index of SQLite, its entries are counted first. If there are many, texts are compared instead. After an
offset, the scan reads only ids, for which the index suffices, and then the rows of the page.
"""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select

from kit.query.choices import Choices
from kit.query.estimates import Reader
from kit.query.filters import RANGES
from kit.query.known_plans import Method, known_method, probably_scans, remember
from kit.query.ordering import Order, Segment
from kit.query.page_selects import MAX_LIMIT, completed, count_among_first, count_search
from kit.query.totals import MOST, number_up_to, with_total

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery

MOST_FOUND = 2000
"""The maximum number of rows of a search that are sorted for a page. It is lower than `MOST`, as texts are compared."""


def is_uncertain(query: "ListQuery", order: Order) -> bool:
    """Return whether the choice between the index of the sort and that of a condition depends on the number of rows."""
    first, found = order.fields[0], query.asked
    is_one_row = ("id", "") in found or ("id", "in") in found
    return not is_one_row and any(field != first or operator not in RANGES for field, operator in found)


@dataclass(frozen=True)
class Plan:
    """How the rows of a page are read, and their total number or its estimate, if it is known."""

    choices: Choices
    method: Method
    may_have_rows: bool = True
    total: int | None = None
    estimate: int | None = None
    finds_many: bool = False
    """Whether the search index of SQLite finds too many entries to be used."""
    is_certain: bool = False
    """Whether no choice was necessary: there are no conditions, or they are ranges of the index of the sort."""

    @property
    def sorts(self) -> bool:
        return self.method.sorts

    @property
    def statement(self) -> Select[Any]:
        if self.is_certain or (self.method.sorts and not self.method.compares):
            return self.choices.indexed
        return self.choices.compared if self.method.sorts else self.choices.scanned

    def page(self, order: Order, segment: Segment, number: Any, offset: Any = None) -> Any:
        """Return the SELECT of up to `number` rows of a segment, after `offset` rows."""
        return completed(self.statement, order, segment, number, offset, sorts=self.sorts)


async def planned(query: "ListQuery", order: Order, choices: Choices, reader: Reader) -> Plan:
    """Return the plan of a page. Counts rows if the request asks for it, or if the choice depends on their number."""
    if is_uncertain(query, order):
        plan = await known_or_chosen(query, order, choices, reader)
    else:
        plan = Plan(choices, Method(sorts=False), is_certain=True)
    is_counted = plan.total is not None or not query.given.get("count", False)
    return plan if is_counted else await with_total(query, plan, reader)


async def known_or_chosen(query: "ListQuery", order: Order, choices: Choices, reader: Reader) -> Plan:
    """Return the plan with the cached method for the list, or choose one and cache its method."""
    is_counted_search = query.is_search and query.given.get("count", False)  # `with_total` needs `finds_many`
    method = None if is_counted_search else known_method(query, reader.database_id)
    if method is not None:
        return Plan(choices, method)
    plan = await chosen(query, order, choices, reader)
    remember(query, reader.database_id, plan.method)
    return plan


async def chosen(query: "ListQuery", order: Order, choices: Choices, reader: Reader) -> Plan:
    """Choose how the rows are found, by counting.

    The scan of the index of the sort is tried first if no index can find the rows of the filters, or if it was chosen
    last for other values of the same filters.
    """
    has_ranges = query.is_search or any(operator in RANGES for _, operator in query.asked)
    scans = not has_ranges or (not query.is_search and probably_scans(query, reader.database_id))
    if scans and not await is_late(query, order, choices, reader):
        return Plan(choices, Method(sorts=False))
    entries = await search_entries(choices, reader)
    if entries is not None and entries <= most_sorted(query):
        return Plan(choices, Method(sorts=True))
    finds_many = entries is not None and entries > MOST
    number = await number_found(query, choices, reader, finds_many=finds_many)
    if number <= most_sorted(query):
        total = number if query.given.get("count", False) else None
        method = Method(sorts=True, compares=finds_many)
        return Plan(choices, method, may_have_rows=number > 0, total=total, finds_many=finds_many)
    method = Method(sorts=await is_late(query, order, choices, reader))
    return Plan(choices, method, finds_many=finds_many)


def most_sorted(query: "ListQuery") -> int:
    """Return the number of rows up to which they are sorted without trying a scan of the index of the sort."""
    return min(MOST, MOST_FOUND) if query.is_search else MOST


async def search_entries(choices: Choices, reader: Reader) -> int | None:
    """Count the entries that a search index of SQLite finds, up to `MOST` + 1; with several searches, the fewest.

    Returns None if no search index can be used. The few changed rows that are not in FTS5 yet are not counted.
    """
    fewest: int | None = None
    for search in choices.searches:
        ((entries,),) = await reader.rows(search.rows, f"entries {MOST}", partial(count_search, most=MOST + 1))
        fewest = entries if fewest is None else min(fewest, entries)
    return fewest


async def number_found(query: "ListQuery", choices: Choices, reader: Reader, *, finds_many: bool) -> int:
    """Count the rows that satisfy the conditions, up to `most_sorted` + 1."""
    most = most_sorted(query)
    if not finds_many:
        return await number_up_to(query, choices.indexed, reader, most)
    if not choices.has_filters or await number_up_to(query, choices.filtered, reader, MOST) > MOST:
        return most + 1
    return await number_up_to(query, choices.compared, reader, most)


async def is_late(query: "ListQuery", order: Order, choices: Choices, reader: Reader) -> bool:
    """Return whether a scan in this order would read more than `MOST` rows to find those of a page."""
    if not order.has_index:
        return True
    page, statement, found, passed = query.given.get("limit", MAX_LIMIT) + 1, choices.scanned, 0, 0
    for index, segment in enumerate(order.segments(())):
        if found < page and passed < MOST:
            count = partial(count_among_first, segment=segment, model=order.model, most=page, length=MOST)
            ((number, length),) = await reader.rows(statement, f"{page} among {MOST} by {order.text} {index}", count)
            found, passed = found + number, passed + length
    return bool(found < page)
