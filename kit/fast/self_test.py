"""Self-test: at start each shortcut is tried against what it stands for. One that fails is left out.

All checks run without a server: on SQLite in memory, with SQLAlchemy's synchronous ORM as the plain counterpart.
"""

import inspect as signatures
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import aiosqlite
import asyncpg
from pydantic import BaseModel
from sqlalchemy import Integer, MetaData, bindparam, create_engine, event, inspect, select
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.orm import Session, registry
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.pool import StaticPool
from sqlmodel import Field, col
from sqlmodel import select as sqlmodel_select

from kit.auth.ownership import ReadOnlySession
from kit.fast.bulk_insert import are_alike
from kit.fast.listeners import Listeners
from kit.fast.mappings import EntityMapping, mapping_of
from kit.fast.pages import has_only_known_parts
from kit.fast.read_sessions import loaded, select_by_id
from kit.fast.selects import CompiledSelect, cache_key
from kit.fast.single_insert import NewRow, is_insertable
from kit.fast.write_sessions import RevocableSession, flushed
from kit.http.encoding import to_json
from kit.models.entities import Entity
from kit.models.types import MoneyColumn

log = logging.getLogger("kit")
ASYNCPG: Dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]


class Colour(Enum):
    RED = "red"


class _Base(Entity, registry=registry(metadata=MetaData())):
    """With tables of its own, which no migration knows."""


class Probe(_Base, table=True):
    """A row with a value of each type that shortcuts convert themselves."""

    __tablename__ = "fast_probe"

    name: str
    is_open: bool
    price: Decimal = Field(sa_type=MoneyColumn)
    ratio: float
    colour: Colour
    token: UUID
    note: str | None = None


class Shown(BaseModel):
    """Values as pydantic shows them."""

    name: str
    is_open: bool
    price: Decimal
    ratio: float
    token: UUID
    created_at: datetime
    note: str | None


def probe() -> Probe:
    values: dict[str, Any] = {
        "name": 'é\u2028"\\',
        "is_open": True,
        "price": Decimal("9.90"),
        "ratio": 0.1,
        "colour": Colour.RED,
    }
    return Probe(**values, token=UUID(int=7), created_at=datetime(2026, 1, 2, 3, 4, 5, 6, UTC))


class Bench:
    """An empty database in memory, and the mapping of its table."""

    def __init__(self) -> None:
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        _Base.metadata.create_all(self.engine)
        mapping = mapping_of(Probe)
        assert mapping is not None, "a plain entity has a mapping"
        self.mapping: EntityMapping = mapping

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        connection = self.engine.raw_connection()
        yield connection.cursor()
        connection.close()

    def stored(self) -> Probe:
        """A row that the ORM has stored, detached."""
        with Session(self.engine, expire_on_commit=False) as session:
            session.add(row := probe())
            session.commit()
            return row


def check_loaded_rows(bench: Bench) -> None:
    """A row made of a driver's values is the row that the ORM loads, and the session knows it."""
    ident = bench.stored().id
    compiled = select_by_id(bench.mapping, 1, bench.engine.dialect)
    with bench.cursor() as cursor:
        found = cursor.execute(compiled.sql, [ident]).fetchall()
    values = dict(zip(bench.mapping.columns, compiled.converted(found)[0], strict=True))
    with Session(bench.engine) as session, Session(bench.engine) as plain:
        row, expected = loaded(session, bench.mapping, values), plain.get(Probe, ident)
        assert row in session, "the session has the row"
        assert session.get(Probe, ident) is row, "the session finds the row by its id"
        assert _values(row) == _values(expected), "the values are those that the ORM loads"
        assert inspect(row).persistent, "the row is persistent"
        assert not session.dirty, "the row is unchanged"
    assert inspect(row).detached, "the row is detached when the session is closed"


def check_statement_keys(_: Bench) -> None:
    """Statements that differ in values alone have one key, and a compiled one takes the values of another."""
    first, second = (select(col(Probe.id)).where(col(Probe.name) == name) for name in ("a", "b"))
    one, other = cache_key(first), cache_key(second)
    assert one is not None, "a select has a cache key"
    assert other is not None, "a select has a cache key"
    assert one.key == other.key, "the key does not depend on values"
    assert "b" in CompiledSelect(first, one, ASYNCPG).arguments(other, {}), "values are exchanged"
    opened = select(col(Probe.id)).limit(bindparam("number", type_=Integer))
    key = cache_key(opened)
    assert key is not None, "a select has a cache key"
    assert CompiledSelect(opened, key, ASYNCPG).arguments(key, {"number": 3}) == [3], "values may be open"


def check_single_insert(bench: Bench) -> None:
    """A row that the driver stores is the row that the ORM would store, and the session takes it for flushed."""
    row = probe()
    assert is_insertable(row, bench.mapping), "a complete row needs no ORM"
    new = NewRow.of(row, bench.mapping, bench.engine.dialect)
    with RevocableSession(bench.engine, expire_on_commit=False) as session:
        session.add(row)
        assert len(session._new) == 1, "the session has one new row"
        assert session._transaction is not None, "the session has begun"
        assert not session._transaction._connections, "the session has no connection"
        with bench.cursor() as cursor:
            set_committed_value(row, "id", cursor.execute(new.statement.sql, new.arguments).fetchone()[0])
            cursor.connection.commit()
        flushed(session, row)
        assert inspect(row).persistent, "the row is persistent"
        assert session._is_clean(), "the session has nothing to write"
        session.commit()
    with Session(bench.engine) as plain:
        assert _values(plain.get(Probe, row.id)) == _values(row), "the values are those of the row"


def check_insert_for_postgresql(bench: Bench) -> None:
    """The INSERT for asyncpg has a parameter for each argument."""
    new = NewRow.of(probe(), bench.mapping, ASYNCPG)
    assert f"${len(new.arguments)}" in new.statement.sql, "each argument has its parameter"
    assert "RETURNING" in new.statement.sql, "the id is returned"


def check_bulk_insert(bench: Bench) -> None:
    """Rows that are alike are recognised, and others are not."""
    assert are_alike([probe(), probe()], bench.mapping), "rows of one entity are alike"
    assert not are_alike([probe(), bench.stored()], bench.mapping), "a row that is stored is not alike"


def check_listeners(bench: Bench) -> None:
    """Who listens is noticed, from the beginning to the end."""
    listeners = Listeners(bench.engine)
    session = ReadOnlySession(bench.engine)
    targets = [(Session, "do_orm_execute"), (session, "after_begin"), (Entity, "load"), (bench.engine, "commit")]
    for target, name in (*targets, (Engine, "before_cursor_execute"), (bench.engine, "handle_error")):
        assert not listeners.hear_read(session, Probe), "nobody listens"
        options = {"propagate": True} if target is Entity else {}
        event.listen(target, name, _ignore, **options)
        is_heard = listeners.hear_read(session, Probe)
        event.remove(target, name, _ignore)
        assert is_heard, f"a listener to {name} is noticed"
    event.listen(Probe, "before_insert", _ignore)
    is_heard = listeners.hear_insert(session, Probe)
    event.remove(Probe, "before_insert", _ignore)
    assert is_heard, "a listener to before_insert is noticed"
    assert not listeners.hear_insert(session, Probe), "nobody listens"


def _ignore(*_: object, **__: object) -> None: ...


def check_select_parts(_: Bench) -> None:
    """A select with conditions is recognised, and one with anything else is not."""
    plain = sqlmodel_select(Probe)
    for statement in (plain, plain.where(col(Probe.name) == "a"), plain.join(Probe, col(Probe.id) == 1)):
        assert has_only_known_parts(statement), "conditions and joins are known"
    for statement in (plain.limit(1), plain.order_by(col(Probe.id)), plain.distinct(), plain.with_for_update()):
        assert not has_only_known_parts(statement), "other parts are noticed"


def check_json(_: Bench) -> None:
    """`to_json` writes values as pydantic does."""
    shown = {name: getattr(probe(), name) for name in Shown.model_fields}
    assert to_json(shown) == Shown(**shown).model_dump_json().encode(), "the JSON is that of pydantic"


def check_drivers(_: Bench) -> None:
    """The drivers have the methods that statements are executed by."""
    for method in (asyncpg.Connection.fetch, asyncpg.Connection.fetchmany, aiosqlite.Connection.execute_fetchall):
        assert signatures.iscoroutinefunction(method) or callable(method), "the method is there"
    assert callable(asyncpg.Connection.is_closed), "a connection knows that it is closed"


def _values(row: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name != "_sa_instance_state"}


CHECKS: list[tuple[Callable[[Bench], None], frozenset[str]]] = [
    (check_drivers, frozenset({"get", "pages", "single insert", "bulk insert"})),
    (check_listeners, frozenset({"get", "pages", "single insert", "bulk insert"})),
    (check_statement_keys, frozenset({"get", "pages"})),
    (check_loaded_rows, frozenset({"get", "pages"})),
    (check_select_parts, frozenset({"pages"})),
    (check_json, frozenset({"pages"})),
    (check_single_insert, frozenset({"single insert"})),
    (check_insert_for_postgresql, frozenset({"single insert"})),
    (check_bulk_insert, frozenset({"bulk insert"})),
]
"""Each check with the shortcuts that are left out if it fails. Other modules may add theirs."""


def failing_shortcuts(checks: Iterable[tuple[Callable[[Bench], None], frozenset[str]]] = CHECKS) -> frozenset[str]:
    """The shortcuts that do not do what they stand for. The log says which and why."""
    failing: set[str] = set()
    bench = Bench()
    for check, shortcuts in checks:
        try:
            check(bench)
        except Exception as failure:
            names = ", ".join(sorted(shortcuts))
            log.warning("Shortcuts left out (%s): %s failed: %r", names, check.__name__, failure)
            failing |= shortcuts
    bench.engine.dispose()
    return frozenset(failing)
