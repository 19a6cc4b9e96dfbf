"""Choices: a select with the conditions of a list, written for several plans, among which `kit.query.plans` chooses."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import CompoundSelect, Table

from kit.query.page_selects import Statement
from kit.query.searching import Search, search_of

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery


class Choices(NamedTuple):
    """A select with the conditions of a query, written for several plans. Its rows are the same."""

    indexed: Statement
    """For the indexes of the conditions."""
    walking: Statement
    """For a walk along the index of the sort."""
    compared: Statement
    """For the indexes of the filters, but not for that of the search, where that finds too many rows."""
    filtered: Statement
    """With the conditions of the filters alone, which more rows fulfil."""
    searches: Sequence[Search] = ()
    """The searches that an index of SQLite answers."""
    only: CompoundSelect[Any] | None = None
    """The select of exactly the rows of a search, if the request gives no other condition."""

    @property
    def has_filters(self) -> bool:
        """Whether the select has other conditions than that of the search."""
        (table, *joined) = self.filtered.get_final_froms()
        return self.filtered.whereclause is not None or bool(joined) or not isinstance(table, Table)

    @property
    def statements(self) -> Sequence[Statement]:
        return self.indexed, self.walking, self.compared, self.filtered

    def with_statements(self, statements: Sequence[Statement]) -> "Choices":
        """Return the same choices with other statements, in the order of `statements`."""
        indexed, walking, compared, filtered = statements
        return self._replace(indexed=indexed, walking=walking, compared=compared, filtered=filtered)

    @classmethod
    def of(cls, statement: Statement) -> "Choices":
        """Return the choices of a select without conditions that an index could answer."""
        return cls(statement, statement, statement, statement)


def choices_of(query: "ListQuery", statement: Statement) -> Choices:
    """Return the select with the conditions of a query, written for several plans."""
    indexed = query.narrowed(statement)
    if not query.asked:
        return Choices.of(indexed)
    walking = written(query, statement, by_index=False, by_search=False)
    found = [search_of(query.runtime.database, query.model, *text) for text in texts_of(query)]
    searches = [search for search in found if search is not None]
    if not searches:
        return Choices(indexed, walking, indexed, indexed)
    compared = written(query, statement, by_index=True, by_search=False)
    filtered = written(query, statement, by_index=True, by_search=None)
    only = searches[0].exact if query.asked == [("", "q")] else None
    return Choices(indexed, walking, compared, filtered, searches, only)


def written(query: "ListQuery", statement: Statement, *, by_index: bool, by_search: bool | None) -> Statement:
    """Return the narrowed select with its conditions written in another way."""
    query.by_index, query.by_search = by_index, by_search
    narrowed = query.narrowed(statement)
    query.by_index = query.by_search = True
    return narrowed


def texts_of(query: "ListQuery") -> list[tuple[Sequence[str], str]]:
    """Return the fields and texts of the searches that the request has given."""
    given = [(*query.conditions[name], text) for name, text in query.given.items() if name in query.conditions]
    found: list[tuple[Sequence[str], str]] = [([field], text) for field, kind, text in given if kind == "contains"]
    return [*found, (query.searched, query.given["q"])] if "q" in query.given else found
