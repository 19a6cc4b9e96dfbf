"""Instances: rows that a session knows as if it had loaded or stored them itself."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state, set_committed_value

from kit.fast.mappings import EntityMapping


def loaded(session: Session, mapping: EntityMapping, values: Mapping[str, Any]) -> Any:
    """The row with these values, as this session would have loaded it; the one it has, if it has one already."""
    key = mapping.identity_key((values["id"],))
    present = session.identity_map.get(key)
    if present is not None:
        return present
    row = mapping.new_instance()
    row.__dict__.update(values)
    state = instance_state(row)
    state.key, state.session_id = key, session.hash_key
    session.identity_map.add(state)
    return row


def detached(mapping: EntityMapping, key: Any, values: Mapping[str, Any]) -> Any:
    """The row with these values, as a session that has been closed would have left it."""
    row = mapping.new_instance()
    row.__dict__.update(values)
    instance_state(row).key = key
    return row


def identify(row: Any) -> None:
    """Treat a row that was just stored as one that a session has stored."""
    state = instance_state(row)
    state.key = state.mapper._identity_key_from_state(state)
    state._commit_all(state.dict)


def flushed(session: Session, row: Any) -> None:
    """Treat a new row of this session, which has its id by now, as one that the session has flushed."""
    session._register_persistent({instance_state(row)})


def set_id(row: Any, ident: Any) -> None:
    """Set the id that the database gave."""
    set_committed_value(row, "id", ident)
