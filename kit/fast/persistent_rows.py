"""Persistent rows: adds rows to an open session in the state that they have after a load or a flush."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state


def add_loaded(session: Session, row: Any) -> Any:
    """Add a detached row in the state of a row that the session has loaded.

    Returns the row, or the row with the same identity key that is already in the session.
    """
    state: Any = instance_state(row)
    present = session.identity_map.get(state.key)
    if present is not None:
        return present
    state.session_id = session.hash_key
    session.identity_map.add(state)
    return row


class _Untracked:
    """Takes the place of an identity map for a row whose changes are not noted in the session.

    Without it, SQLAlchemy would look the session up at the first change of the row.
    """

    def __init__(self) -> None:
        self._modified = self

    def add(self, state: Any) -> None: ...
    def _fast_discard(self, state: Any) -> None: ...


_untracked = _Untracked()


def leave_untracked(state: Any) -> None:
    """Let the attributes of an attached row be changed without a lookup of its session."""
    state._instance_dict = lambda: _untracked


def add_flushed(session: Session, row: Any) -> None:
    """Give a pending row of this session, whose id is set, the state of a flushed row."""
    session._register_persistent({instance_state(row)})


def add_many_flushed(session: Any, rows: Sequence[Any]) -> None:
    """Add transient rows of one entity, whose ids are set, in the state of flushed rows."""
    states = list(map(instance_state, rows))
    for state in states:
        state.session_id = session.hash_key
    session._register_persistent(set(states))
    session.requirements.proved.update((type(row), row.id) for row in rows)
