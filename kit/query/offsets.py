"""Offsets in lists of several segments: computes which part of an offset is within which segment."""

from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING

from kit.query.estimates import Reader
from kit.query.known_plans import MAX_KEPT, key_of
from kit.query.ordering import Segment
from kit.query.page_selects import count_segment

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery
    from kit.query.plans import Plan

_lengths: dict[Hashable, int] = {}
"""A cache of the last known number of rows by list and segment, which decides what is tried first."""


async def offset_beyond(
    query: "ListQuery", offset: int | None, plan: "Plan", segment: Segment, reader: Reader
) -> int | None:
    """Return the offset within the next segment, if the page begins after `segment`; otherwise None.

    It is only tried if the segment had at most `offset` rows when it was counted last. With None, the caller reads the
    rows of this segment.
    """
    last = _lengths.get((key_of(query, reader.database_id), segment))
    if offset is None or segment.is_last or last is None or last > offset:
        return None
    number = await length_of(query, plan, segment, reader)
    return offset - number if number <= offset else None


async def rest_of_offset(
    query: "ListQuery", offset: int | None, found: int, plan: "Plan", segment: Segment, reader: Reader
) -> int | None:
    """Return the offset within the next segment, after `found` rows of `segment` were read; None for its start."""
    if offset is None or found or segment.is_last:
        return None
    return max(0, offset - await length_of(query, plan, segment, reader)) or None


async def length_of(query: "ListQuery", plan: "Plan", segment: Segment, reader: Reader) -> int:
    """Count the rows of a segment, up to `MAX_OFFSET`."""
    counted = partial(count_segment, segment=segment, model=query.model)
    ((number,),) = await reader.rows(plan.statement, ("segment", segment), counted)
    if len(_lengths) >= MAX_KEPT:
        _lengths.clear()
    _lengths[key_of(query, reader.database_id), segment] = number
    return int(number)
