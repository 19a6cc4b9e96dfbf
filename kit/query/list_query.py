"""List queries: the query parameters of a list, to filter, search, sort, paginate, select fields, and embed rows."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic
from fastapi import Request
from sqlalchemy import inspect, true
from sqlalchemy.orm.interfaces import ORMOption

from kit.auth.privacy import NO_FIELDS, private_fields_of, refuse_private
from kit.database.search_sql import want_search
from kit.http.fairness import REQUESTS, FairSemaphore
from kit.http.principals import CURRENT_PRINCIPAL
from kit.http.problems import error, invalid
from kit.models.entities import Entity
from kit.models.json_forms import JSONForm
from kit.models.reads import Read
from kit.query import parameters as parameter
from kit.query.declarations import check, filtered, indexed, refuse_twice, sorted_fields
from kit.query.embedding import (
    MAX_RELATED,
    ListRelation,
    Related,
    embedded,
    embedding,
    list_relation,
    next_name,
    read_variant,
)
from kit.query.filters import OPERATORS, filters_of
from kit.query.page_selects import MAX_LIMIT, MAX_OFFSET, Statement
from kit.query.parameters import Parameter, comma_separated, declared_by
from kit.query.searching import found_in, prefilters
from kit.query.values import MAX_TEXT, YesNoEstimated, integer
from kit.runtime import MAX_PAGE_SIZE, Runtime, runtime_of

QUERY = "kit.query"
"""The key in the ASGI scope of the request's `ListQuery`."""
MAX_CURSOR = 2000
"""The maximum length of a cursor, in characters."""
CURSOR = Annotated[str, pydantic.Field(min_length=1, max_length=MAX_CURSOR), JSONForm("text")]
PART = Annotated[str, pydantic.Field(min_length=1, max_length=MAX_TEXT), JSONForm("text")]
"""The type of `q`."""


def names(allowed: Sequence[str]) -> Any:
    return comma_separated(Literal.__getitem__(tuple(allowed)), len(allowed))


class ListQuery:
    """The query parameters of a list. A resource declares a subclass with its fields for filters, sorts and search.

    By default, `filters` and `sorts` are the fields that are the first column of an index or unique constraint. An
    undeclared parameter is a 422, which lists the declared ones.
    """

    model: ClassVar[type[Entity]]
    read: ClassVar[type[Read]]
    filters: ClassVar[Sequence[str]]
    sorts: ClassVar[Sequence[str]]
    search: ClassVar[Sequence[str]] = ()
    """The text fields in which `q` searches."""
    search_index: ClassVar[bool] = True
    """Whether the table has an index for `search`. It slows down writes; without it, a search reads all rows."""
    includes: ClassVar[Mapping[str, str | type[Read]]] = MappingProxyType({})
    """The relationships that can be embedded, each with its read variant, or the class name of it."""
    default_sort: ClassVar[str] = "id"
    extras: ClassVar[Sequence[Parameter]] = ()
    """Further parameters, for a single row and for lists."""
    parameters: ClassVar[Mapping[str, Parameter]]
    shaping: ClassVar[Mapping[str, Parameter]]
    """The parameters that apply to a single row too: `fields`, `include`, `include_limit` and `extras`."""
    conditions: ClassVar[Mapping[str, tuple[str, str]]]
    """The field and operator by the name of a filter parameter."""
    max_page_size: int = MAX_PAGE_SIZE
    served: FairSemaphore | None = None
    """The semaphore of all requests, by which `slow_reads` knows whether other requests are served."""
    by_index: bool = True
    """Whether `narrowed` writes the filters so that the database may use their indexes."""
    by_search: bool | None = True
    """Whether `narrowed` writes the searches so that the database may use a search index; None omits them."""

    has_search_index: bool = True
    """Whether the search index of SQLite may be used. Not in a restricted session: the index has the rows of others."""

    def __init_subclass__(cls) -> None:
        missing = [name for name in ("model", "read") if not hasattr(cls, name)]
        if len(missing) == 1:
            raise TypeError(f"{cls.__name__} has no `{missing[0]}`: it needs the table and its read variant.")
        if missing:
            return  # a base class without a table
        cls._take_indexed()
        check(cls)
        if cls.search and cls.search_index:
            want_search(inspect(cls.model).local_table, cls.search)
        fields = ("id", *(name for name in cls.filters if name != "id"))
        filters = [(part, name, operator) for name in fields for part, operator in cls.filters_of(name)]
        cls.conditions = {part.name: (name, operator) for part, name, operator in filters}
        cls.shaping = {part.name: part for part in cls.shaping_parameters()}
        paging = {part.name: part for part in cls.paging_parameters()}
        refuse_twice(cls, [*paging, *cls.shaping, *(part.name for part, _, _ in filters)])
        cls.parameters = paging | cls.shaping | {part.name: part for part, _, _ in filters}

    @classmethod
    def _take_indexed(cls) -> None:
        names = indexed(cls.model, cls.read)
        if not hasattr(cls, "filters"):
            cls.filters = filtered(cls.model, names)
        if not hasattr(cls, "sorts"):
            cls.sorts = sorted_fields(cls.model, names)

    @classmethod
    def filters_of(cls, name: str) -> Iterator[tuple[Parameter, str]]:
        return filters_of(cls.model, name)

    @classmethod
    def paging_parameters(cls) -> Iterator[Parameter]:
        sorts = dict.fromkeys(["id", *cls.sorts])
        orders = [sign + name for name in sorts for sign in ("", "-")]
        yield Parameter(
            "limit", integer(1, MAX_LIMIT), f"The maximum number of rows: 1 to {MAX_LIMIT}; by default {MAX_LIMIT}."
        )
        yield Parameter("offset", integer(0, MAX_OFFSET), "The number of rows to skip. For long lists, follow `Link`.")
        yield Parameter(
            "cursor",
            CURSOR,
            "The start of the page, from the `Link` of the previous page with the same `sort`.",
        )
        described = "`-` for descending; null is last; rows with equal values are sorted by id."
        yield Parameter("sort", names(orders), described, True)
        described = "`true` adds `X-Total-Count`. `estimated` adds `X-Total-Count-Estimate` for more than 10,000 rows."
        yield Parameter("count", YesNoEstimated, described)
        if cls.search:
            yield Parameter("q", PART, f"A part of {' or '.join(f'`{name}`' for name in cls.search)}, ignoring case.")

    @classmethod
    def shaping_parameters(cls) -> Iterator[Parameter]:
        fields = (*cls.read.model_fields, *cls.read.model_computed_fields)
        yield Parameter("fields", names(fields), "The fields of the response; by default all.", True)
        yield from cls.extras
        if cls.includes:
            yield Parameter("include", names(tuple(cls.includes)), "The related rows to embed.", True)
        if any(is_list_of(cls.model, name) for name in cls.includes):
            described = f"The maximum number of rows in an embedded list: 1 to {MAX_RELATED}; by default {MAX_RELATED}."
            yield Parameter("include_limit", integer(1, MAX_RELATED), f"{described} `…_next` leads to the rest.")

    def __init__(self, request: Request) -> None:
        self.take(request, self.parameters)

    @classmethod
    async def of_one(cls, request: Request) -> Self:  # async, so that FastAPI does not call it in a thread
        """Return the query of a single row, with only the parameters in `shaping`. Raises a 422."""
        query = cls.__new__(cls)
        query.take(request, cls.shaping)
        return query

    def take(self, request: Request, parameters: Mapping[str, Parameter]) -> None:
        """Read the parameters of a request.

        Raises a 422 for unknown, repeated and invalid ones, and a 403 for a filter or sort by a private field.
        """
        self.runtime: Runtime = getattr(request.scope["app"], "runtime", None) or runtime_of(request)
        self.secrets: Sequence[bytes] = self.runtime.secrets
        self.secret: bytes = self.secrets[0]
        self.max_page_size = self.runtime.max_page_size
        self.text: bytes = request.scope["query_string"]
        self.given = read_texts(request, parameters) if self.text else {}
        self.served = request.scope.get(REQUESTS)
        self.fields: list[str] | None = self.given.get("fields")
        self.included = list(dict.fromkeys(self.given.get("include", ())))
        self.root_path: str = request.scope.get("root_path", "").rstrip("/")
        self.related: dict[str, Mapping[Any, Related]] = {}
        """The rows to embed of relationships to many rows, by relationship and the id of the parent row."""
        self.hidden = NO_FIELDS if CURRENT_PRINCIPAL.get().is_superuser else private_fields_of(self.model)
        if self.hidden:
            filtered = {self.conditions[name][0] for name in self.given if name in self.conditions}
            refuse_private(filtered.union(term.removeprefix("-") for term in self.given.get("sort", ())) & self.hidden)
        request.scope[QUERY] = self  # the rendering of the response reads it
        if "cursor" in self.given and "offset" in self.given:
            detail = "A cursor and an offset exclude each other"
            raise invalid([error("query", "offset", detail, "conflicting_parameter")])

    @property
    def sort(self) -> str:
        """The requested order, such as `-age,name`, or the default."""
        return ",".join(self.given.get("sort") or [self.default_sort])

    @property
    def include_limit(self) -> int:
        """The maximum number of related rows of a relationship that are embedded in a row."""
        return int(self.given.get("include_limit", MAX_RELATED))

    @property
    def lists(self) -> dict[str, tuple[ListRelation, type[Read]]]:
        """The relationships to many rows in `include`, each with its read variant."""
        found = {name: list_relation(self.model, name) for name in self.included}
        return {
            name: (relation, read_variant(self.includes[name], self.model, name))
            for name, relation in found.items()
            if relation is not None
        }

    @property
    def loading(self) -> list[ORMOption]:
        """The loader options for the relationships in `include`, for `session.get(…, options=query.loading)`.

        Relationships to many rows are not among them: these are loaded after the handler, with a limit.
        """
        single = [name for name in self.included if list_relation(self.model, name) is None]
        return [embedding(self.model, name, read_variant(self.includes[name], self.model, name)) for name in single]

    def to_read(self, row: Any) -> Read:
        """Return the read variant of a row, with the fields and relationships that the request selects."""
        if self.fields is None and not self.included:
            return self.read.of(row)
        related: dict[str, Any] = {}
        for name in self.included:
            read, part = read_variant(self.includes[name], self.model, name), self.related.get(name, {}).get(row.id)
            related |= {name: embedded(row, name, read)} if part is None else part.members(name, read)
            if part is None and hasattr(row, next_name(name)):
                related[next_name(name)] = getattr(row, next_name(name))
        return self.read.of(row).select(self.fields, related)

    @property
    def searched(self) -> list[str]:
        """The fields in which `q` searches: `search` without the private fields, unless a superuser asks."""
        return [name for name in self.search if name not in self.hidden]

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The fields and operators of the filters in the request, and for `q` the pair `("", "q")`."""
        given = [self.conditions[name] for name in self.given if name in self.conditions]
        return [*given, ("", "q")] if "q" in self.given else given

    @property
    def is_search(self) -> bool:
        """Whether the request searches for a substring, by `q` or `__contains`."""
        return any(operator in ("q", "contains") for _, operator in self.asked)

    def narrowed(self, statement: Statement) -> Statement:
        """Return the statement with the conditions of the filters and of the search, as WHERE clauses.

        `by_index` and `by_search` decide whether the database may use indexes for them.
        """
        by_index, by_search = self.by_index, self.by_search
        has_index = by_search and (self.has_search_index or not self.runtime.database.is_sqlite)
        has_conditions = not self.conditions.keys().isdisjoint(self.given)
        for name, (field, operator) in self.conditions.items() if has_conditions else ():
            if name in self.given and (by_search is not None or operator != "contains"):
                value = self.given[name]
                condition = OPERATORS[operator][0](getattr(self.model, field), value)
                statement = statement.where(condition if by_index else condition.is_(true()))
                if operator == "contains" and has_index:
                    statement = statement.where(*prefilters(self.runtime.database, self.model, field, value))
        if "q" in self.given and by_search is not None:
            database = self.runtime.database
            found = found_in(database, self.model, self.searched, self.given["q"], by_index=bool(has_index))
            statement = statement.where(found)
        return statement


def is_list_of(model: type[Any], name: str) -> bool:
    """Return whether a relationship is to many rows, by its annotation. Mappers are not configured yet."""
    kinds = [vars(part).get("__annotations__", {}).get(name) for part in model.__mro__]
    return any("list[" in str(kind).lower() for kind in kinds)


def read_texts(request: Request, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return the values of the parameters in a request, which may have others too, if the handler declares them."""
    declared = declared_by(request.scope.get("route"), request.scope["app"])
    return parameter.read_cached(parameters, request, declared)
