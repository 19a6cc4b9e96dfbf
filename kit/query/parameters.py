"""Query parameters: their names, types and documentation, and their validation. Only lists may be repeated."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection

from kit.http.encoding import TooManyMarksError, composed
from kit.http.problems import describe, error, invalid

MAX_REMEMBERED, MAX_KNOWN = 200, 1000
"""The maximum length, in bytes, of a query string whose values are cached, and the maximum number of cached ones."""
MAX_UNKNOWN = 10
"""The maximum number of unknown parameters that a 422 names, because each error lists all known ones."""


@dataclass(frozen=True)
class ParameterType:
    """The validator and schema of a type of parameters. Resources share it, because creating it takes a millisecond."""

    adapter: TypeAdapter[Any]

    @cached_property
    def schema(self) -> dict[str, Any]:
        return self.adapter.json_schema()


@dataclass(frozen=True)
class DeclaredParameters:
    """The query parameters that FastAPI reads for an operation."""

    names: tuple[str, ...] = ()
    single: tuple[str, ...] = ()
    """The parameters that may be given only once."""
    allows_others: bool = False
    """Whether all others are accepted, by a model with `extra="allow"`."""
    is_complete: bool = True
    """Whether there are no others. A `ListQuery` has others; a handler or dependency that takes the request may."""

    def joined(self, other: "DeclaredParameters") -> "DeclaredParameters":
        """Return the parameters of an operation whose router is included by two others, with their dependencies."""
        repeatable = {name for part in (self, other) for name in part.names if name not in part.single}
        names = tuple(dict.fromkeys([*self.names, *other.names]))
        return DeclaredParameters(
            names,
            tuple(name for name in names if name not in repeatable),
            allows_others=self.allows_others or other.allows_others,
            is_complete=self.is_complete and other.is_complete,
        )

    def check(self, request: HTTPConnection) -> None:
        """Raise a 422 if a parameter of a request is unknown, or is repeated although it is not a list."""
        if self.is_complete and not self.allows_others:
            refuse_unknown(self.names, request.query_params)
        if self.single:
            refuse_repeated(self.single, request.query_params)


NOTHING_DECLARED = DeclaredParameters()


def declared_by(route: Any, app: Any) -> DeclaredParameters:
    """Return the query parameters that FastAPI reads for a route; those of overrides while there are any."""
    if not hasattr(route, "declared"):
        return NOTHING_DECLARED
    declared: DeclaredParameters = route.declared_in(app) if app.dependency_overrides else route.declared
    return declared


_types: dict[int, tuple[Any, ParameterType]] = {}
_lists: dict[tuple[int, int], tuple[Any, Any]] = {}
"""Caches by the `id()` of a type, because not all types are hashable. The type is stored too, to keep its id unique."""


def comma_separated(kind: Any, longest: int) -> Any:
    """Return the type of a comma-separated list with 1 to `longest` elements."""
    key = id(kind), longest
    if key not in _lists:
        _lists[key] = kind, Annotated[list[kind], Field(min_length=1, max_length=longest)]
    return _lists[key][1]


def parameter_type(kind: Any) -> ParameterType:
    """Return the `ParameterType` of an annotation, from the cache if possible."""
    if id(kind) not in _types:
        _types[id(kind)] = kind, ParameterType(TypeAdapter(kind))
    return _types[id(kind)][1]


@dataclass(frozen=True)
class Parameter:
    """A query parameter. `kind` is its type for pydantic. A `listed` one may be comma-separated, or repeated."""

    name: str
    kind: Any
    description: str
    listed: bool = False

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        return parameter_type(self.kind).adapter

    def read(self, texts: Sequence[str]) -> Any:
        """Return the validated value of the parameter, given by these texts; of one that is not listed, the first."""
        if self.listed:
            return self.adapter.validate_python([part for text in texts for part in split(text)])
        return self.adapter.validate_python(texts[0])

    def openapi(self) -> dict[str, Any]:
        described: dict[str, Any] = {
            "name": self.name,
            "in": "query",
            "required": False,
            "description": self.description,
            "schema": deepcopy(parameter_type(self.kind).schema),
        }
        return described | ({"explode": False} if self.listed else {})  # the style is `form`, the default


def split(text: str) -> list[str]:
    r"""Return the parts of a comma-separated list; `\,` is a comma within a part."""
    if "\\" not in text:
        return text.split(",")
    return [part.replace("\\,", ",") for part in SEPARATOR.split(text)]


SEPARATOR = re.compile(r"(?<!\\),")


_read: dict[tuple[int, bytes], tuple[Mapping[str, Parameter], dict[str, Any]]] = {}
"""A cache of the values of short query strings, by the `id()` of the known parameters, which are stored too."""


def read_cached(
    known: Mapping[str, Parameter], request: HTTPConnection, others: DeclaredParameters = NOTHING_DECLARED
) -> dict[str, Any]:
    """Return `read` for the query string of a request. The values of a short query string are cached."""
    text: bytes = request.scope["query_string"]
    if others.names or others.allows_others or len(text) > MAX_REMEMBERED:
        return read(known, request.query_params, others)
    key = id(known), text
    if key not in _read:
        values = read(known, request.query_params)
        if len(_read) >= MAX_KNOWN:
            _read.clear()
        _read[key] = known, values
    return {name: list(value) if isinstance(value, list) else value for name, value in _read[key][1].items()}


def read(
    known: Mapping[str, Parameter], given: QueryParams, others: DeclaredParameters = NOTHING_DECLARED
) -> dict[str, Any]:
    """Return the values of the given parameters. Raises a 422 for unknown, repeated and invalid parameters.

    `others` are further parameters, which FastAPI reads.
    """
    if not others.allows_others:
        refuse_unknown([*known, *others.names] if others.names else known, given)
    refuse_repeated([name for name in given if name in known and not known[name].listed], given)
    values, errors = {}, []
    for name in given:
        if name not in known:
            continue
        try:
            values[name] = known[name].read([composed(text) for text in given.getlist(name)])
        except ValidationError as failure:
            errors += [describe({**part, "loc": ("query", name)}) for part in failure.errors()]
        except TooManyMarksError as failure:
            errors.append(error("query", name, str(failure), "combining_marks"))
    if errors:
        raise invalid(errors)
    return values


def refuse_unknown(known: Collection[str], given: QueryParams) -> None:
    """Raise a 422 that names the unknown parameters and lists the known ones."""
    unknown = [name for name in given if name not in known]
    if unknown:
        listing = f"Unknown parameter; known are: {', '.join(known) or 'none'}"
        errors = [error("query", name, listing, "unknown_parameter") for name in unknown[:MAX_UNKNOWN]]
        raise invalid(errors, more=len(unknown) - len(errors))


def refuse_repeated(single: Collection[str], given: QueryParams) -> None:
    """Raise a 422 if one of these parameters is given more than once."""
    if len(given) == len(given.multi_items()):
        return
    counts = Counter(name for name, _ in given.multi_items())
    repeated = [name for name in single if counts[name] > 1]
    if repeated:
        detail = "The parameter is given more than once"
        raise invalid(error("query", name, detail, "repeated_parameter") for name in repeated)
