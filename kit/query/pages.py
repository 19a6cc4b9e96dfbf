"""Pages: reads the rows of a list after a cursor (keyset pagination) or an offset, in a total order."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Select

from kit.auth.ownership import RESTRICTED_READS
from kit.database.sessions import ReadSession, execute, trusted_connection
from kit.http.fairness import in_turns
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.reads import Read
from kit.query.choices import Choices
from kit.query.estimates import Explain
from kit.query.joined_lists import WHOLE, rows_of_page
from kit.query.list_query import ListQuery
from kit.query.offsets import offset_beyond, rest_of_offset
from kit.query.ordering import Order, order_of
from kit.query.page_selects import MAX_LIMIT
from kit.query.page_sizes import rows_that_fit
from kit.query.page_statements import refuse_other_rows, refuse_own_order
from kit.query.plans import Plan, planned
from kit.query.related import load_lists
from kit.query.repeated_rows import refuse_repeated_rows
from kit.query.shown_values import load_shown, shown_in, shows_related
from kit.query.slow_reads import counted, in_turn

WITH_LISTS = 10
"""The number of rows with embedded lists after whose conversion the event loop serves other requests."""


@dataclass(kw_only=True)
class Page:
    """A page of a list: its rows, as instances of the read variant, and the cursor of the next page, if any.

    `total` is the number of all rows, with `count=true`, or `count=estimated` if there are few; `estimate` is an
    estimate of it, with `count=estimated` if there are many.
    """

    rows: Sequence[Read]
    cursor: str | None
    total: int | None
    estimate: int | None = None


class SessionReader:
    """The `Reader` that counts or estimates rows by a session."""

    def __init__(self, session: ReadSession) -> None:
        self.session, self.database_id = session, id(session.get_bind())
        self.may_estimate, self.sees_all = not session.info.get(RESTRICTED_READS), False

    async def rows(self, statement: Any, name: Hashable, complete: Callable[[Any], Any]) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = (
            await execute(self.session, complete(statement), execution_options=WHOLE)
        ).all()
        return rows

    async def explained(self, statement: Explain) -> Sequence[Sequence[Any]]:
        """Return the rows of EXPLAIN, on the connection of the session, without its restriction."""
        rows: Sequence[Sequence[Any]] = await self.session.run_sync(
            lambda session: trusted_connection(session).execute(statement).all()
        )
        return rows


async def page(session: ReadSession, query: ListQuery, statement: Select[Any]) -> Page:
    """Return a page of the rows of `statement`, filtered, ordered and limited by the query.

    It is to be returned from a handler with the response model `list[ReadVariant]`. Raises a 422 for an invalid cursor
    or sort.
    """
    with counted(query):
        if query.runtime.fast_page is not None:
            fast: Page | None = await query.runtime.fast_page(session, query, statement)
            if fast is not None:
                return fast
        return await in_turn(query, partial(plain_page, session, query, statement))


async def plain_page(session: ReadSession, query: ListQuery, statement: Select[Any]) -> Page:
    """Read a page by the ORM: by at most two SELECTs, two more for counts, and one for each embedded relationship.

    It has fewer rows than `limit` if they are large.
    """
    refuse_other_rows(statement, query)
    query.has_search_index = not reads_own_rows(session)
    order = order_of(query.model, query.sort)
    position, choices = order.position_of(query), Choices(query, statement)
    refuse_own_order(choices)
    refuse_repeated_rows(choices.scanned, query.model)
    plan = await planned(query, order, choices, SessionReader(session))
    limit = query.given.get("limit", MAX_LIMIT)
    rows = await _collect(session, query, order, position, plan, limit + 1) if plan.may_have_rows else []
    shown = shown_in(query, *order.fields)
    await load_shown(session, rows[:limit], shown)
    await load_lists(session, query, rows[:limit])
    reads = await in_turns(
        query.to_read, rows[:limit], WITH_LISTS if query.lists or shows_related(query.model, shown) else limit
    )
    number = rows_that_fit(query, len(reads), lambda: (len(read.model_dump_json()) for read in reads))
    cursor = None
    if len(rows) > number:
        last = rows[number - 1]
        cursor = order.cursor_after(query.secret, {field: getattr(last, field) for field in order.fields})
    return Page(rows=reads[:number], cursor=cursor, total=plan.total, estimate=plan.estimate)


def reads_own_rows(session: ReadSession) -> bool:
    """Return whether a session finds only rows of the principal."""
    return bool(session.info.get(RESTRICTED_READS)) and not CURRENT_PRINCIPAL.get().is_superuser


async def _collect(
    session: ReadSession, query: ListQuery, order: Order, position: Sequence[Any], plan: Plan, number: int
) -> list[Any]:
    """Return up to `number` rows in the order of the list, from the keyset position or from the offset on."""
    offset = query.given.get("offset") or None
    values = {f"position_{index}": value for index, value in enumerate(position)}
    rows: list[Any] = []
    reader = SessionReader(session)
    for segment in order.parts(position, has_offset=offset is not None):
        if len(rows) < number:
            beyond = await offset_beyond(query, offset, plan, segment, reader)
            if beyond is not None:
                offset = beyond or None
                continue
            part = plan.page(order, segment, number - len(rows), offset).options(*query.loading)
            rows += await rows_of_page(session, part.params(values), query.model)
            offset = await rest_of_offset(query, offset, len(rows), plan, segment, reader)
    return rows
