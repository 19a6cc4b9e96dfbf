"""Whose is it: what belongs to somebody is made and changed by them, or by a superuser."""

from collections.abc import Iterable
from typing import Annotated, Any

import pydantic
from pydantic import BeforeValidator, Strict
from pydantic_core import PydanticCustomError
from sqlalchemy import event, inspect
from sqlalchemy.orm.attributes import get_history
from sqlmodel import Session

from kit.auth.permissions import CALLER, forbidden
from kit.models.types import MAX_ID

ONLY_THEIRS = "only_theirs"
"""Set in a session's `info`: it may write nothing but what belongs to the caller."""


class Absent:
    """What stands for an owner who was not named."""


def caller_if_absent(value: object) -> object:
    if not isinstance(value, Absent):
        return value
    caller = CALLER.get()
    if caller.id is None:
        raise PydanticCustomError("missing", "Field required")
    return caller.id


Owner = Annotated[
    int,
    Strict(),
    pydantic.Field(ge=1, le=MAX_ID, validate_default=True),
    BeforeValidator(caller_if_absent),
]
"""The id of the user to whom a thing belongs; the caller, if it is left out: give it `default_factory=Absent`."""


class OwnedSession(Session):
    """A session that writes nothing that its caller may not write."""


@event.listens_for(OwnedSession, "before_flush")
def look_at_what_is_written(session: Session, *_: object) -> None:
    rows = (*session.new, *session.dirty, *session.deleted)
    look_at(rows, only_theirs=bool(session.info.get(ONLY_THEIRS)))


def look_at(rows: Iterable[object], *, only_theirs: bool) -> None:
    """Before these are written: a 403 if they are not for the caller to write."""
    if CALLER.get().is_superuser:
        return
    for row in rows:
        keep_reserved(row)
        if only_theirs:
            insist(row)


def insist(row: object) -> None:
    """A 403, if the row does not belong to the caller, who is no superuser."""
    caller = CALLER.get()
    if not caller.is_superuser and owners_of(row) != {caller.id}:
        raise forbidden("This belongs to somebody else.")


def keep_reserved(row: Any) -> None:
    """What only superusers may set stays as it is, or as it is at first."""
    for name, first in getattr(row, "reserved", {}).items():
        before = get_history(row, name).deleted
        if inspect(row).key is None:
            setattr(row, name, first)
        elif before:
            setattr(row, name, before[0])


def owners_of(row: Any) -> set[Any]:
    """To whom it belongs, and to whom it would belong; nobody, if it is a thing without an owner."""
    name = getattr(row, "belongs_to", None)
    if name is None:
        return set()
    history = get_history(row, name)
    return {*(history.added or ()), *(history.unchanged or ()), *(history.deleted or ())}
