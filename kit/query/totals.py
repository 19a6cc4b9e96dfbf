"""Totals: the number of rows for the parameter `count`, exact or estimated."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from kit.query.choices import Choices
from kit.query.estimates import Reader, estimated
from kit.query.filters import RANGES
from kit.query.page_selects import Statement, count_all, count_rows_found, count_up_to

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery
    from kit.query.plans import Plan

MOST = 10_000
"""The maximum number of rows that is counted exactly with `count=estimated`, and that `plans` sorts for a page."""


async def with_total(query: "ListQuery", plan: "Plan", reader: Reader) -> "Plan":
    """Return the plan with the total number of rows, or with its estimate."""
    if query.given["count"] is True or not reader.may_estimate:
        total = await counted(plan.choices, reader, finds_many=plan.finds_many)
        return replace(plan, total=total, may_have_rows=total > 0)
    number = MOST + 1 if plan.finds_many else await number_up_to(query, plan.choices.indexed, reader, MOST)
    if number <= MOST:
        return replace(plan, total=number, may_have_rows=number > 0)
    return replace(plan, estimate=max(number, await estimated(query, plan.choices, reader)))


async def counted(choices: Choices, reader: Reader, *, finds_many: bool) -> int:
    """Count the rows that satisfy the conditions."""
    if choices.only is not None and reader.sees_all and not choices.has_filters:
        ((total,),) = await reader.rows(choices.only, "rows found", count_rows_found)
    else:
        compares = finds_many and any(search.exact is None for search in choices.searches)
        statement = choices.compared if compares else choices.indexed
        ((total,),) = await reader.rows(statement, "count", partial(count_all, model=choices.query.model))
    return int(total)


async def number_up_to(query: "ListQuery", statement: Statement, reader: Reader, most: int) -> int:
    """Count the rows of a statement, up to `most` + 1."""
    fields = [field for field, operator in query.asked if operator in RANGES]
    field = fields[0] if len(query.asked) == len(fields) == 1 and fields[0] in query.sorts else None
    count = partial(count_up_to, model=query.model, most=most + 1, field=field)
    ((number,),) = await reader.rows(statement, f"up to {most}", count)
    return int(number)
