"""Locations: finds the value of a validation error in the body, which the pointer of the error names.

The locations of pydantic also have the names of the members of unions, such as `("body", 0, "cat", "meows")`, which are
not in the body.
"""

from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from starlette.datastructures import ImmutableMultiDict

Path = list[int | str]
KEY = "[key]"
"""The last part of the location of a key of a dictionary, after the key itself."""
MAX_BRANCHING = 30
"""The maximum length of a location for which all ways are tried, because a name may be that of a field too."""


class Way(NamedTuple):
    """A value in the body, and the indexes of the parts of a location that lead to it."""

    kept: tuple[int, ...]
    value: Any

    @property
    def rank(self) -> tuple[int, tuple[int, ...]]:
        """The order in which ways are preferred: long ones, then those with the last parts."""
        return len(self.kept), self.kept


def path_in(body: Any, failure: Mapping[str, Any]) -> Path:
    """Return the path in the body to the value of an error, or to the member that is missing.

    It is the longest path that the body has, if a validator has made the value. It is the location without a body.
    """
    path: Path = list(failure["loc"][1:])
    if body is None or "input" not in failure or not path:
        return path
    is_missing, last = failure["type"].startswith("missing"), len(path) - 1
    is_of_key = path[last] == KEY and failure["input"] == path[last - 1]
    ways = ways_in(body, path[:last] if is_missing else path)
    found = ways.get(id(failure["input"]))
    kept, value = found or max(ways.values(), key=attrgetter("rank"))
    if isinstance(value, dict) and (is_missing or (found is None and last not in kept and not is_of_key)):
        kept = (*kept, last)
    return [path[index] for index in kept]


def ways_in(body: Any, path: Path) -> dict[int, Way]:
    """Return the values in the body to which parts of a location lead, by their `id()`."""
    form = {name: body.getlist(name) for name in body} if isinstance(body, ImmutableMultiDict) else None
    first = Way((), body if form is None else form)
    ways = {id(first.value): first}
    for index, part in enumerate(path):
        further = [Way((*kept, index), child) for kept, value in ways.values() for child in members(value, part)]
        if further and len(path) > MAX_BRANCHING:
            ways = {}
        for way in further:
            ways[id(way.value)] = max(way, ways.get(id(way.value), way), key=attrgetter("rank"))
    return ways


def members(value: Any, part: int | str) -> Iterator[Any]:
    """Yield the member of an object, or the element of an array, with this name or index."""
    is_element = isinstance(value, list) and isinstance(part, int) and part < len(value)
    if is_element or (isinstance(value, dict) and part in value):
        yield value[part]
