"""Locked reads: SELECT … FOR UPDATE of one row by its id, for a session that writes."""

from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, select

from kit.fast.mappings import EntityMapping
from kit.fast.persistent_rows import add_loaded
from kit.fast.read_sessions import detached


def locked(session: Any, mapping: EntityMapping, ident: Any) -> Any:
    """The row with this id, locked until the transaction ends; None if it does not exist."""
    found = session.trusted_connection().execute(select_locked(mapping), {"id": ident}).first()
    if found is None:
        return None
    key, values = mapping.identity_key((ident,)), dict(zip(mapping.columns, found, strict=True))
    return add_loaded(session, detached(mapping, key, values))


@cache
def select_locked(mapping: EntityMapping) -> Select[Any]:
    """A select FOR UPDATE of all columns of the row whose id is the parameter `id`."""
    key = mapping.columns["id"]
    return select(*mapping.columns.values()).where(key == bindparam("id", type_=key.type)).with_for_update()
