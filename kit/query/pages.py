"""Pages: the rows of a list after a cursor or an offset, in a total order (keyset pagination)."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlmodel.sql.expression import SelectOfScalar

from kit.auth.ownership import RESTRICTED_READS
from kit.database.sessions import ReadSession
from kit.http.fairness import in_turns
from kit.models.reads import Read
from kit.query.choices import Choices
from kit.query.estimates import Explain
from kit.query.list_query import ListQuery
from kit.query.offsets import offset_beyond, rest_of_offset
from kit.query.ordering import Order, order_of
from kit.query.page_selects import MAX_LIMIT
from kit.query.page_sizes import rows_that_fit
from kit.query.plans import Plan, planned
from kit.query.related import load_lists
from kit.query.slow_reads import counted, in_turn

WITH_LISTS = 10
"""The number of rows with embedded lists after whose conversion other requests have their turns."""


@dataclass(kw_only=True)
class Page:
    """A page of a list: its rows, as instances of the read variant, and the cursor of the next page, if any.

    `total` is the number of all rows, if the request asks for it; `estimate` an estimate of that number, if the request
    asks for one and there are many rows.
    """

    rows: Sequence[Read]
    cursor: str | None
    total: int | None
    estimate: int | None = None


class SessionReader:
    """Reads numbers of rows by a session."""

    def __init__(self, session: ReadSession) -> None:
        self.session, self.database_id = session, id(session.get_bind())
        self.may_estimate, self.sees_all = not session.info.get(RESTRICTED_READS), False

    async def rows(self, statement: Any, name: Hashable, complete: Callable[[Any], Any]) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = (await self.session.execute(complete(statement))).all()
        return rows

    async def explained(self, statement: Explain) -> Sequence[Sequence[Any]]:
        """Return the plan of a select, whose connection does not see the session's restriction."""
        rows: Sequence[Sequence[Any]] = await self.session.run_sync(
            lambda session: session.trusted_connection().execute(statement).all()  # type: ignore[attr-defined]
        )
        return rows


async def page(session: ReadSession, query: ListQuery, statement: SelectOfScalar[Any]) -> Page:
    """Return the page of a select that a query asks for: filtered, ordered and limited.

    Return it from a handler whose response model is a list of the read variant.
    """
    with counted(query):
        if query.runtime.fast_page is not None:
            fast: Page | None = await query.runtime.fast_page(session, query, statement)
            if fast is not None:
                return fast
        return await in_turn(query, partial(plain_page, session, query, statement))


async def plain_page(session: ReadSession, query: ListQuery, statement: SelectOfScalar[Any]) -> Page:
    """Read a page by the ORM: at most two selects, two more for counts, and one for each embedded relationship.

    It has fewer rows than the limit if they are large.
    """
    order = order_of(query.model, query.sort)
    position, choices = order.position_of(query), Choices(query, statement)
    plan = await planned(query, order, choices, SessionReader(session))
    limit = query.given.get("limit", MAX_LIMIT)
    rows = await _collect(session, query, order, position, plan, limit + 1) if plan.may_have_rows else []
    await load_lists(session, query, rows[:limit])
    reads = await in_turns(query.to_read, rows[:limit], WITH_LISTS if query.lists else limit)
    number = rows_that_fit(query, len(reads), lambda: (len(read.model_dump_json()) for read in reads))
    cursor = None
    if len(rows) > number:
        last = rows[number - 1]
        cursor = order.cursor_after(query.secret, {field: getattr(last, field) for field in order.fields})
    return Page(rows=reads[:number], cursor=cursor, total=plan.total, estimate=plan.estimate)


async def _collect(
    session: ReadSession, query: ListQuery, order: Order, position: Sequence[Any], plan: Plan, number: int
) -> list[Any]:
    """Return at most `number` rows, in order, from the keyset position or the offset on."""
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
            rows += (await session.exec(part.params(values))).all()
            offset = await rest_of_offset(query, offset, len(rows), plan, segment, reader)
    return rows
