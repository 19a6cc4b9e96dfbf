"""Fast pages: rows read past the ORM, shared by requests that ask for the same at the same time, and their JSON.

`fast_page` gives exactly what `plain_page` would show, or None where it cannot know: for a session or a statement that
does more than select rows of one entity, for a read variant that shows more than columns (see `projection`), and if
somebody listens.
"""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from hashlib import sha256
from operator import attrgetter, is_
from typing import Any

from sqlalchemy import Integer, Select, bindparam, inspect, literal
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Load
from sqlmodel import func
from sqlmodel.sql.expression import SelectOfScalar

from kit.database.sessions import ReadSession
from kit.fast.embedding import Values, embed
from kit.fast.projection import Projection, nested_variants
from kit.fast.read_sessions import FastReadSession
from kit.fast.selects import cache_key, fetch
from kit.http.encoding import to_json
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.reads import Read
from kit.query.list_query import MAX_LIMIT, ListQuery
from kit.query.ordering import Order, Segment, order_of
from kit.query.pages import ShownPage

NUMBER, OFFSET = bindparam("page_number", type_=Integer), bindparam("page_offset", type_=Integer)
KNOWN_PARTS = frozenset(
    {
        "_raw_columns",
        "_from_obj",
        "_where_criteria",
        "_setup_joins",
        "_annotations",
        "_propagate_attrs",
        "_with_options",
        "dialect_options",
    }
)
"""Parts of a select that may be filled."""
OTHER_PARTS = [name for name, _ in SelectOfScalar._traverse_internals if name not in KNOWN_PARTS]
_other_parts = attrgetter(*OTHER_PARTS, "_execution_options")
EMPTY = _other_parts(SelectOfScalar(literal(1)))


@dataclass
class SharedRows:
    """The rows of a page, and what is shown of them, for all requests that share it. Nobody may change them."""

    rows: Sequence[Values]
    shown: Sequence[Values]
    cursor: str | None
    total: int | None

    @cached_property
    def body(self) -> bytes:
        return to_json(self.shown)

    @cached_property
    def digest(self) -> bytes:
        return sha256(self.body).digest()  # processors have instructions for it


class FastPage(ShownPage):
    """A page whose JSON is made once for all requests that share it."""

    def __init__(self, projection: Projection, shared: SharedRows) -> None:
        self.projection, self.shared = projection, shared
        self.cursor, self.total = shared.cursor, shared.total
        self.read = projection.query.read

    @cached_property
    def rows(self) -> Sequence[Read]:  # type: ignore[override]
        """What is shown of each row, made when somebody looks at it."""
        return self.projection.reads(self.shared.rows)

    @property
    def body(self) -> bytes | None:
        """The rows as JSON; None if somebody has looked at `rows`, and may have changed them."""
        return None if "rows" in vars(self) else self.shared.body

    @property
    def digest(self) -> bytes:
        """A digest of the rows as JSON."""
        return self.shared.digest


async def fast_page(session: ReadSession, query: ListQuery, statement: SelectOfScalar[Any]) -> FastPage | None:
    """The page of this select that the query asks for; one read for all who ask for it at the same time.

    None if a plain page has to be made.
    """
    if not isinstance(session, FastReadSession) or not session.shortcuts.has_pages:
        return None
    kind: Any = type(query)
    projection, selected = Projection.of(query) if is_plain_query(kind) else None, statement
    if projection is None or not is_simple(statement, query):
        return None
    if kind.narrowed is not ListQuery.narrowed:  # requests are compared by what it makes of the statement
        selected = query.narrowed(statement)
    loaded = without_loading(selected, nested_variants(query.read)) if is_simple(selected, query) else None
    key = None if loaded is None else cache_key(loaded)
    if loaded is None or key is None or not all(_may_read(session, entity) for entity in projection.entities):
        return None
    sharing = _sharing_key(query, projection, key)
    read = partial(read_rows, session.shortcuts.engine, query, projection, loaded, selected is not statement)
    return FastPage(projection, await (read() if sharing is None else session.once(sharing, read)))


@cache
def is_plain_query(kind: type[ListQuery]) -> bool:
    """Whether a query variant changes nothing in how a list is ordered and shown."""
    return all(getattr(kind, name) is getattr(ListQuery, name) for name in ("sort", "shown", "loading"))


def is_simple(statement: Any, query: ListQuery) -> bool:
    """Whether it selects rows of the query's model, with conditions, joins and loader options and nothing else."""
    if type(statement) is not SelectOfScalar or len(statement._raw_columns) != 1:
        return False
    is_of_model = statement._raw_columns[0]._annotations.get("parententity") is inspect(query.model)
    return is_of_model and has_only_known_parts(statement)


def has_only_known_parts(statement: Select[Any]) -> bool:
    return all(map(is_, _other_parts(statement), EMPTY))


def without_loading(statement: SelectOfScalar[Any], nested: Collection[str]) -> SelectOfScalar[Any] | None:
    """The select without loader options; None if it has other options, or does not load all that is nested."""
    options: Any = statement._with_options
    if not options:
        return None if nested else statement
    parts: list[Any] = [part for option in options if isinstance(option, Load) for part in option.context]
    is_loading = all(type(option) is Load for option in options) and all(map(_only_loads, parts))
    if not is_loading or not {part.path[1].key for part in parts}.issuperset(nested):
        return None
    stripped: Any = statement._generate()
    stripped._with_options = ()
    return stripped  # type: ignore[no-any-return]


def _only_loads(part: Any) -> bool:
    """Whether a loader option loads rows by a select of their own, or chooses columns."""
    names = dict(part.strategy)
    return not part._extra_criteria and (names.get("lazy") == "selectin" or "deferred" in names)


def _may_read(session: FastReadSession, entity: type[Any]) -> bool:
    return session.may_read(entity)


def _sharing_key(query: ListQuery, projection: Projection, key: Any) -> Hashable | None:
    """What requests have in common that get the same page; None if it cannot be compared."""
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
    """At most two selects, one more for a count, and one or two for each relationship that is embedded."""
    order = order_of(query.model, query.sort)
    position, narrowed = order.position_of(query), statement if is_narrowed else query.narrowed(statement)
    total = await _count(engine, narrowed) if query.given.get("count") else None
    limit, names = query.given.get("limit", MAX_LIMIT), projection.columns(order.fields)
    found = await _collect(engine, query, order, position, narrowed, names, limit + 1)
    rows = [dict(zip(names, row)) for row in found[:limit]]  # noqa: B905  they are as many; to check takes time
    cursor = order.cursor_behind(query.secret, rows[-1]) if len(found) > limit else None
    for relation in projection.relations:
        await embed(engine, query, relation, rows)
    return SharedRows(rows, projection.viewer.show_all(rows), cursor, total)


async def _collect(
    engine: AsyncEngine,
    query: ListQuery,
    order: Order,
    position: Sequence[Any],
    statement: SelectOfScalar[Any],
    names: Sequence[str],
    number: int,
) -> list[Sequence[Any]]:
    """At most so many rows, in order, from this position or offset on."""
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
    """A select of these columns; how many rows, and from which offset on, are open parameters."""
    chosen: Select[Any] = statement.with_only_columns(*columns, maintain_column_froms=True)
    ordered = chosen.where(segment.condition).order_by(*segment.ordering).limit(NUMBER)
    return ordered.offset(OFFSET) if has_offset else ordered


async def _count(engine: AsyncEngine, statement: SelectOfScalar[Any]) -> int:
    ((total,),) = await fetch(engine, statement, shape="count", complete=select_count)
    return int(total)


def select_count(statement: Select[Any]) -> Select[Any]:
    return statement.with_only_columns(func.count(), maintain_column_froms=True)
