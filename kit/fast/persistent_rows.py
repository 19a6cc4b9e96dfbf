"""Persistent rows: rows that enter an open session as if the session had loaded or flushed them itself."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state


def add_loaded(session: Session, row: Any) -> Any:
    """Add a detached row as one that this session has loaded.

    Returns the row that the session has under the same identity key, if it has one already.
    """
    state: Any = instance_state(row)
    present = session.identity_map.get(state.key)
    if present is not None:
        return present
    state.session_id = session.hash_key
    session.identity_map.add(state)
    return row


def add_flushed(session: Session, row: Any) -> None:
    """Make a new row of this session, whose id is set, one that the session has flushed."""
    session._register_persistent({instance_state(row)})


def add_many_flushed(session: Any, rows: Sequence[Any]) -> None:
    """Add transient rows of one entity, whose ids are set, as rows that this session has flushed."""
    states = list(map(instance_state, rows))
    for state in states:
        state.session_id = session.hash_key
    session._register_persistent(set(states))
    session.requirements.proved.update((type(row), row.id) for row in rows)
