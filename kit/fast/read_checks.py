"""Read checks of the self-test: they compare the shortcuts for reads with the ORM, and their JSON with pydantic's."""

from sqlalchemy import Integer, bindparam, inspect, select
from sqlalchemy.orm import Session
from sqlmodel import col
from sqlmodel import select as sqlmodel_select

from kit.fast.persistent_rows import add_loaded
from kit.fast.plain_selects import has_only_known_parts
from kit.fast.probes import ASYNCPG, Probe, ProbeDatabase, ProbeRead, probe, values_of
from kit.fast.read_sessions import detached, select_by_id
from kit.fast.selects import CompiledSelect, cache_key
from kit.http.encoding import to_json


def check_loaded_rows(database: ProbeDatabase) -> None:
    """Check that a row made of the driver's values equals the row that the ORM loads, and is persistent."""
    ident = database.stored().id
    compiled = select_by_id(database.mapping, 1, database.engine.dialect)
    with database.cursor() as cursor:
        found = cursor.execute(compiled.sql, [ident]).fetchall()
    values = dict(zip(database.mapping.columns, compiled.converted(found)[0], strict=True))
    with Session(database.engine) as session, Session(database.engine) as plain:
        key = database.mapping.identity_key((ident,))
        row, expected = add_loaded(session, detached(database.mapping, key, values)), plain.get(Probe, ident)
        assert row in session, "the session has the row"
        assert session.get(Probe, ident) is row, "the session finds the row by its id"
        assert values_of(row) == values_of(expected), "the values are those that the ORM loads"
        assert inspect(row).persistent, "the row is persistent"
        assert not session.dirty, "the row is unchanged"
    assert inspect(row).detached, "the row is detached when the session is closed"


def check_statement_keys(_: ProbeDatabase) -> None:
    """Check that statements which differ only in values have the same cache key, and share a compiled statement."""
    first, second = (select(col(Probe.id)).where(col(Probe.name) == name) for name in ("a", "b"))
    first_key, second_key = cache_key(first), cache_key(second)
    assert first_key is not None, "a select has a cache key"
    assert second_key is not None, "a select has a cache key"
    assert first_key.key == second_key.key, "the key does not depend on values"
    assert "b" in CompiledSelect(first, first_key, ASYNCPG).arguments(second_key, {}), "values are exchanged"
    opened = select(col(Probe.id)).limit(bindparam("number", type_=Integer))
    key = cache_key(opened)
    assert key is not None, "a select has a cache key"
    assert CompiledSelect(opened, key, ASYNCPG).arguments(key, {"number": 3}) == [3], "values may be open"


def check_select_parts(_: ProbeDatabase) -> None:
    """Check that a SELECT with conditions and joins is recognised as plain, and one with other parts is not."""
    plain = sqlmodel_select(Probe)
    for statement in (plain, plain.where(col(Probe.name) == "a"), plain.join(Probe, col(Probe.id) == 1)):
        assert has_only_known_parts(statement), "conditions and joins are known"
    for statement in (plain.limit(1), plain.order_by(col(Probe.id)), plain.distinct(), plain.with_for_update()):
        assert not has_only_known_parts(statement), "other parts are noticed"


def check_json(_: ProbeDatabase) -> None:
    """Check that `to_json` returns the same JSON as pydantic."""
    shown = {name: getattr(probe(), name) for name in ProbeRead.model_fields}
    assert to_json(shown) == ProbeRead(**shown).model_dump_json().encode(), "the JSON is that of pydantic"
