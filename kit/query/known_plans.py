"""Known plans: the methods by which lists were read lately, so that most pages are read without counting before."""

import time
from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery

KEPT_SECONDS = 10.0
"""Seconds after which a plan is chosen again. An old one makes a page slower, never wrong."""
MAX_KEPT = 1000


class Method(NamedTuple):
    """How the rows of a page are found."""

    sorts: bool
    """Whether all rows that fulfil the conditions are sorted."""
    compares: bool = False
    """Whether texts are compared, and the search index is not used."""


_known: dict[Hashable, tuple[Method, float]] = {}
"""The method of each list, and when it is chosen again."""
_walked: dict[Hashable, bool] = {}
"""Whether the last list with the same parameters, of whatever values, followed the index of its sort."""


def key_of(query: "ListQuery", database_id: Hashable) -> Hashable:
    """Return what the plan of a list depends on."""
    given = ((name, repr(value)) for name, value in query.given.items() if name in query.conditions or name == "q")
    return database_id, type(query), query.sort, tuple(given)


def known_method(query: "ListQuery", database_id: Hashable) -> Method | None:
    """Return how the rows of such a list were found last; None if that has to be chosen.

    When the time has come, one request chooses again. The others use the old method until then.
    """
    key, now = key_of(query, database_id), time.monotonic()
    method, until = _known.get(key, (None, 0.0))
    if method is not None and now >= until:
        _known[key] = method, now + KEPT_SECONDS
        return None
    return method


def remember(query: "ListQuery", database_id: Hashable, method: Method) -> None:
    """Remember how the rows of a list are found."""
    for known in (_known, _walked):
        if len(known) >= MAX_KEPT:
            known.clear()
    _known[key_of(query, database_id)] = method, time.monotonic() + KEPT_SECONDS
    _walked[_parameters(query, database_id)] = not method.sorts


def probably_walks(query: "ListQuery", database_id: Hashable) -> bool:
    """Return whether the last list with the same parameters, of whatever values, followed the index of its sort."""
    return _walked.get(_parameters(query, database_id), False)


def _parameters(query: "ListQuery", database_id: Hashable) -> Hashable:
    return database_id, type(query), query.sort, *(name for name in query.given if name in query.conditions)
