"""Fast pages: the rows of a list, read without the ORM, and shared by identical concurrent requests.

`fast_page` returns the page that `plain_page` would return. It returns None for a statement that does more than select
rows of one entity (`plain_selects`), for a read variant with more than columns (`read_variants`), for another session
class, and if a listener would miss an event.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from hashlib import sha256
from typing import Any

from sqlalchemy import Integer, Select, Table, bindparam, select, util
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.auth.embedding import FOR_OWNERS
from kit.database.sessions import ReadSession
from kit.fast.embedding import Values, embed
from kit.fast.plain_selects import is_plain_select, unified, without_loader_options
from kit.fast.projection import Projection
from kit.fast.read_sessions import FastReadSession
from kit.fast.selects import MAX_STATEMENTS, cache_key, fetch
from kit.http.encoding import to_json
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.reads import Read
from kit.query.choices import Choices
from kit.query.estimates import Explain
from kit.query.list_query import ListQuery
from kit.query.offsets import offset_beyond, rest_of_offset
from kit.query.ordering import Order, Segment, order_of
from kit.query.page_selects import MAX_LIMIT, completed
from kit.query.page_sizes import rows_that_fit
from kit.query.pages import Page
from kit.query.plans import Plan, planned
from kit.query.repeated_rows import refuse_repeated_rows
from kit.query.slow_reads import in_turn

_found_once: util.LRUCache[Any, bool] = util.LRUCache(MAX_STATEMENTS)
"""The cache keys, without values, of statements that find each row once."""
NUMBER, OFFSET = bindparam("page_number", type_=Integer), bindparam("page_offset", type_=Integer)


@dataclass
class SharedRows:
    """The rows of a page, and their values that the principal may see. Requests share them: they are not changed."""

    rows: Sequence[Values]
    visible: Sequence[Values]
    cursor: str | None
    total: int | None
    estimate: int | None

    @cached_property
    def body(self) -> bytes:
        return to_json(self.visible)

    @cached_property
    def digest(self) -> bytes:
        return sha256(self.body).digest()  # faster than other digests: processors have instructions for it


class FastPage(Page):
    """A page whose JSON is rendered once for all requests that share it."""

    def __init__(self, projection: Projection, shared: SharedRows) -> None:
        self.projection, self.shared = projection, shared
        self.cursor, self.total, self.estimate = shared.cursor, shared.total, shared.estimate
        self.read = projection.query.read

    @cached_property
    def rows(self) -> Sequence[Read]:  # type: ignore[override]
        """The rows as instances of the read variant, created on first access."""
        return self.projection.reads(self.shared.rows)

    @property
    def body(self) -> bytes | None:
        """The rows as JSON; None if `rows` was accessed, so that the handler may have changed them."""
        return None if "rows" in vars(self) else self.shared.body

    @property
    def digest(self) -> bytes:
        """The SHA-256 of `body`, for the ETag."""
        return self.shared.digest


async def fast_page(session: ReadSession, query: ListQuery, statement: Select[Any]) -> FastPage | None:
    """Return the page of `statement` that the list query selects; None if `plain_page` has to read it.

    Concurrent requests for the same page share one read.
    """
    if not isinstance(session, FastReadSession) or not session.shortcuts.has_pages:
        return None
    kind: Any = type(query)
    projection = Projection.of(query) if is_plain_query(kind) and isinstance(statement, Select) else None
    if projection is None or not all(_may_read(session, entity) for entity in projection.entities):
        return None
    if not FOR_OWNERS.get().isdisjoint(projection.entities):  # requests of several callers share a page
        return None
    is_own = kind.narrowed is not ListQuery.narrowed  # its result is part of the key for sharing
    choices = Choices(query, statement)
    statements = _bare(choices.statements if is_own else (statement,), query)
    key = cache_key(statements[0]) if statements else None
    if key is None:
        return None
    choices = choices.with_statements(statements) if is_own else Choices(query, statements[0])
    if key.key not in _found_once:
        refuse_repeated_rows(statements[0], query.model)
        _found_once[key.key] = True
    sharing = _sharing_key(query, projection, key)
    read = partial(in_turn, query, partial(read_rows, session.shortcuts.engine, query, projection, choices))
    return FastPage(projection, await (read() if sharing is None else session.once(sharing, read)))


def _bare(statements: Sequence[Select[Any]], query: ListQuery) -> Sequence[Select[Any]]:
    """Return the statements without their loader options; nothing if one of them is not plain."""
    bare = {statement: _without_options(statement, query) for statement in dict.fromkeys(statements)}
    found = [plain for statement in statements if (plain := bare[statement]) is not None]
    return found if len(found) == len(statements) else ()


def _without_options(statement: Select[Any], query: ListQuery) -> Select[Any] | None:
    is_plain = is_plain_select(statement, query)
    return without_loader_options(unified(statement, query.model)) if is_plain else None


@cache
def is_plain_query(kind: type[ListQuery]) -> bool:
    """Return whether a query class overrides none of the methods that order a list or convert its rows."""
    return all(getattr(kind, name) is getattr(ListQuery, name) for name in ("sort", "to_read", "loading"))


def _may_read(session: FastReadSession, entity: type[Any]) -> bool:
    return session.may_read(entity)


def _sharing_key(query: ListQuery, projection: Projection, key: Any) -> Hashable | None:
    """Return the key by which requests share a page; None if a value in it is not hashable."""
    values = tuple(bind.effective_value for bind in key.bindparams)
    given = tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in query.given.items())
    fields = None if query.fields is None else tuple(query.fields)
    principal = CURRENT_PRINCIPAL.get() if projection.visible_fields.depends_on_principal or query.hidden else None
    origin = (query.secret, query.root_path)
    sharing = (type(query), given, fields, tuple(query.included), origin, principal, key.key, values)
    try:
        hash(sharing)
    except TypeError:
        return None
    return sharing


class FastReader:
    """The reader for `kit.query.plans`, which counts or estimates rows, without the ORM."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine, self.database_id = engine, id(engine.sync_engine)
        self.may_estimate = self.sees_all = True

    async def rows(self, statement: Any, name: Hashable, complete: Callable[[Any], Any]) -> Sequence[Sequence[Any]]:
        return await fetch(self.engine, statement, shape=name, complete=complete)

    async def explained(self, statement: Explain) -> Sequence[Sequence[Any]]:
        async with self.engine.connect() as connection:
            return (await connection.execute(statement)).all()


async def read_rows(
    engine: AsyncEngine,
    query: ListQuery,
    projection: Projection,
    choices: Choices,
) -> SharedRows:
    """Read the rows of a page by at most two SELECTs, two more for counts, and one or two per relationship."""
    order = order_of(query.model, query.sort)
    position = order.position_of(query)
    plan = await planned(query, order, choices, FastReader(engine))
    limit, names = query.given.get("limit", MAX_LIMIT), projection.columns(*order.fields)
    found = await _collect(engine, query, order, position, plan, names, limit + 1) if plan.may_have_rows else []
    rows = [dict(zip(names, row)) for row in found[:limit]]  # noqa: B905  equal lengths; the check takes time
    for relation in projection.relations:
        await embed(engine, query, relation, rows)
    visible = projection.visible_fields.of_rows(rows)
    number = rows_that_fit(query, len(rows), lambda: (len(to_json(values)) for values in visible))
    cursor = order.cursor_after(query.secret, rows[number - 1]) if len(found) > number else None
    return SharedRows(rows[:number], visible[:number], cursor, plan.total, plan.estimate)


async def _collect(
    engine: AsyncEngine,
    query: ListQuery,
    order: Order,
    position: Sequence[Any],
    plan: Plan,
    names: Sequence[str],
    number: int,
) -> list[Sequence[Any]]:
    """Return up to `number` rows in the order of the list. The first row is given by the keyset position or offset."""
    offset = query.given.get("offset") or None
    values = {f"position_{index}": value for index, value in enumerate(position)}
    columns = [getattr(query.model, name) for name in names]
    rows: list[Sequence[Any]] = []
    reader = FastReader(engine)
    for segment in order.parts(position, has_offset=offset is not None):
        if len(rows) < number:
            beyond = None if offset is None else await offset_beyond(query, offset, plan, segment, reader)
            if beyond is not None:
                offset = beyond or None
                continue
            complete = partial(
                select_segment, order=order, segment=segment, columns=columns, offset=offset, sorts=plan.sorts
            )
            left = values | {NUMBER.key: number - len(rows), OFFSET.key: offset}
            shape = (segment, plan.sorts, offset is None, *names)
            rows += await fetch(engine, plan.statement, left, shape=shape, complete=complete)
            if offset is not None:
                offset = await rest_of_offset(query, offset, len(rows), plan, segment, reader)
    return rows


def select_segment(
    statement: Select[Any],
    *,
    order: Order,
    segment: Segment,
    columns: Sequence[Any],
    offset: int | None,
    sorts: bool,
) -> Select[Any]:
    """Return a SELECT of these columns in a segment of the order. LIMIT and OFFSET are parameters without a value."""
    skipped = None if offset is None else OFFSET
    (table, *joined) = statement.get_final_froms()
    is_bare = sorts and isinstance(table, Table) and not joined  # its rows need no condition but that of their ids
    outer = select(order.model) if is_bare else None
    selected = completed(statement, order, segment, NUMBER, skipped, sorts=sorts, outer=outer)
    return selected.with_only_columns(*columns, maintain_column_froms=True)
