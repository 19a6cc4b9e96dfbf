"""Fast pages: the rows of a list, read without the ORM and shared by identical requests that run at the same time.

`fast_page` returns exactly the page that `plain_page` would, or None where it cannot be sure: for a statement that does
more than select rows of one entity (`plain_selects`), for a read variant that shows more than columns
(`read_variants`), for another session class, and while a listener would miss an event.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from hashlib import sha256
from typing import Any

from sqlalchemy import Integer, Select, bindparam
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import func
from sqlmodel.sql.expression import SelectOfScalar

from kit.database.sessions import ReadSession
from kit.fast.embedding import Values, embed
from kit.fast.plain_selects import is_plain_select, without_loader_options
from kit.fast.projection import Projection
from kit.fast.read_sessions import FastReadSession
from kit.fast.read_variants import nested_variants
from kit.fast.selects import cache_key, fetch
from kit.http.encoding import to_json
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.reads import Read
from kit.query.list_query import MAX_LIMIT, ListQuery
from kit.query.ordering import Order, Segment, order_of
from kit.query.page_sizes import rows_that_fit
from kit.query.pages import ShownPage

NUMBER, OFFSET = bindparam("page_number", type_=Integer), bindparam("page_offset", type_=Integer)


@dataclass
class SharedRows:
    """The rows of a page and their visible values. Several requests share them, so they must not be changed."""

    rows: Sequence[Values]
    shown: Sequence[Values]
    cursor: str | None
    total: int | None

    @cached_property
    def body(self) -> bytes:
        return to_json(self.shown)

    @cached_property
    def digest(self) -> bytes:
        return sha256(self.body).digest()  # faster than other digests: processors have instructions for it


class FastPage(ShownPage):
    """A page whose JSON is made once for all requests that share it."""

    def __init__(self, projection: Projection, shared: SharedRows) -> None:
        self.projection, self.shared = projection, shared
        self.cursor, self.total = shared.cursor, shared.total
        self.read = projection.query.read

    @cached_property
    def rows(self) -> Sequence[Read]:  # type: ignore[override]
        """The rows as instances of the read variant, made on first access."""
        return self.projection.reads(self.shared.rows)

    @property
    def body(self) -> bytes | None:
        """The rows as JSON; None if `rows` was accessed, so that the handler may have changed them."""
        return None if "rows" in vars(self) else self.shared.body

    @property
    def digest(self) -> bytes:
        """A digest of the rows as JSON."""
        return self.shared.digest


async def fast_page(session: ReadSession, query: ListQuery, statement: SelectOfScalar[Any]) -> FastPage | None:
    """Return the page of a select that a query asks for; None if `plain_page` has to make it.

    Requests for the same page that arrive at the same time share one read.
    """
    if not isinstance(session, FastReadSession) or not session.shortcuts.has_pages:
        return None
    kind: Any = type(query)
    projection = Projection.of(query) if is_plain_query(kind) and is_plain_select(statement, query) else None
    if projection is None or not all(_may_read(session, entity) for entity in projection.entities):
        return None
    selected = statement
    if kind.narrowed is not ListQuery.narrowed:  # an own method: requests are compared by the statement it returns
        selected = query.narrowed(statement)
        if not is_plain_select(selected, query):
            return None
    bare = without_loader_options(selected, nested_variants(query.read))
    key = None if bare is None else cache_key(bare)
    if bare is None or key is None:
        return None
    sharing = _sharing_key(query, projection, key)
    read = partial(read_rows, session.shortcuts.engine, query, projection, bare, selected is not statement)
    return FastPage(projection, await (read() if sharing is None else session.once(sharing, read)))


@cache
def is_plain_query(kind: type[ListQuery]) -> bool:
    """Return whether a query class overrides no method that orders or shows a list."""
    return all(getattr(kind, name) is getattr(ListQuery, name) for name in ("sort", "shown", "loading"))


def _may_read(session: FastReadSession, entity: type[Any]) -> bool:
    return session.may_read(entity)


def _sharing_key(query: ListQuery, projection: Projection, key: Any) -> Hashable | None:
    """Return the key under which requests share a page; None if a value in it is not hashable."""
    values = tuple(bind.effective_value for bind in key.bindparams)
    given = tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in query.given.items())
    fields = None if query.fields is None else tuple(query.fields)
    principal = CURRENT_PRINCIPAL.get() if projection.viewer.depends_on_principal or query.hidden else None
    place = (query.secret, query.root_path)
    sharing = (type(query), given, fields, tuple(query.included), place, principal, key.key, values)
    try:
        hash(sharing)
    except TypeError:
        return None
    return sharing


async def read_rows(
    engine: AsyncEngine,
    query: ListQuery,
    projection: Projection,
    statement: SelectOfScalar[Any],
    is_narrowed: bool,
) -> SharedRows:
    """Read the rows of a page: at most two selects, one more for a count, one or two per embedded relationship.

    `is_narrowed`: the statement already has the query's conditions.
    """
    order = order_of(query.model, query.sort)
    position, narrowed = order.position_of(query), statement if is_narrowed else query.narrowed(statement)
    total = await _count(engine, narrowed) if query.given.get("count") else None
    limit, names = query.given.get("limit", MAX_LIMIT), projection.columns(*order.fields)
    found = await _collect(engine, query, order, position, narrowed, names, limit + 1)
    rows = [dict(zip(names, row)) for row in found[:limit]]  # noqa: B905  equal lengths; the check takes time
    for relation in projection.relations:
        await embed(engine, query, relation, rows)
    shown = projection.viewer.show_all(rows)
    number = rows_that_fit(query, len(rows), lambda: (len(to_json(values)) for values in shown))
    cursor = order.cursor_after(query.secret, rows[number - 1]) if len(found) > number else None
    return SharedRows(rows[:number], shown[:number], cursor, total)


async def _collect(
    engine: AsyncEngine,
    query: ListQuery,
    order: Order,
    position: Sequence[Any],
    statement: SelectOfScalar[Any],
    names: Sequence[str],
    number: int,
) -> list[Sequence[Any]]:
    """Return at most `number` rows, in order, from the keyset position or the offset on."""
    offset = query.given.get("offset")
    values = {f"position_{index}": value for index, value in enumerate(position)} | {OFFSET.key: offset}
    columns = [getattr(query.model, name) for name in names]
    rows: list[Sequence[Any]] = []
    for segment in [order.everything] if offset else order.segments(position):
        if len(rows) < number:
            rows += await fetch(
                engine,
                statement,
                values | {NUMBER.key: number - len(rows)},
                shape=(segment, *names),
                complete=partial(select_segment, segment=segment, columns=columns, has_offset=bool(offset)),
            )
    return rows


def select_segment(
    statement: Select[Any], *, segment: Segment, columns: Sequence[Any], has_offset: bool
) -> Select[Any]:
    """Return a select of these columns. The limit and the offset are parameters without a value."""
    chosen: Select[Any] = statement.with_only_columns(*columns, maintain_column_froms=True)
    ordered = chosen.where(segment.condition).order_by(*segment.ordering).limit(NUMBER)
    return ordered.offset(OFFSET) if has_offset else ordered


async def _count(engine: AsyncEngine, statement: SelectOfScalar[Any]) -> int:
    ((total,),) = await fetch(engine, statement, shape="count", complete=select_count)
    return int(total)


def select_count(statement: Select[Any]) -> Select[Any]:
    return statement.with_only_columns(func.count(), maintain_column_froms=True)
