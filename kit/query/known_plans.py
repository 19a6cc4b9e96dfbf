"""Known plans: a cache of the methods by which lists were read, so that most pages need no counting before."""

import time
from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery

KEPT_SECONDS = 10.0
"""The number of seconds after which a method is chosen again. An outdated one makes a page slower, never wrong."""
MAX_KEPT = 1000


class Method(NamedTuple):
    """The method by which the rows of a page are found."""

    sorts: bool
    """Whether all rows that satisfy the conditions are read and sorted, instead of a scan in the order of the sort."""
    compares: bool = False
    """Whether a search compares the texts of rows, instead of using the search index."""


_known: dict[Hashable, tuple[Method, float]] = {}
"""The method by `key_of` a list, and when it is to be chosen again (`time.monotonic`)."""
_scanned: dict[Hashable, bool] = {}
"""By the names of its parameters, whether the last such list was read by a scan of the index of the sort."""


def key_of(query: "ListQuery", database_id: Hashable) -> Hashable:
    """Return the cache key of a list: everything on which its plan depends."""
    given = ((name, repr(value)) for name, value in query.given.items() if name in query.conditions or name == "q")
    return database_id, type(query), query.sort, tuple(given)


def known_method(query: "ListQuery", database_id: Hashable) -> Method | None:
    """Return the cached method for a list; None if it has to be chosen.

    After `KEPT_SECONDS`, one request gets None and chooses again. The others use the old method meanwhile.
    """
    key, now = key_of(query, database_id), time.monotonic()
    method, until = _known.get(key, (None, 0.0))
    if method is not None and now >= until:
        _known[key] = method, now + KEPT_SECONDS
        return None
    return method


def remember(query: "ListQuery", database_id: Hashable, method: Method) -> None:
    """Store the method for a list."""
    for known in (_known, _scanned):
        if len(known) >= MAX_KEPT:
            known.clear()
    _known[key_of(query, database_id)] = method, time.monotonic() + KEPT_SECONDS
    _scanned[_parameters(query, database_id)] = not method.sorts


def probably_scans(query: "ListQuery", database_id: Hashable) -> bool:
    """Return whether the last list with the same parameters, with any values, was read by the index of the sort."""
    return _scanned.get(_parameters(query, database_id), False)


def _parameters(query: "ListQuery", database_id: Hashable) -> Hashable:
    return database_id, type(query), query.sort, *(name for name in query.given if name in query.conditions)
