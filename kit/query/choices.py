"""Choices: several forms of the SELECT of a list, each for another query plan. `kit.query.plans` chooses one."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import CompoundSelect, Table

from kit.query.page_selects import Statement
from kit.query.searching import Search, search_of

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery


class Choices:
    """The forms of a statement with the conditions of a list query, each made on first use.

    All but `filtered` select the same rows. `compared` and `filtered` differ from `indexed` only if SQLite has a search
    index for the query.
    """

    def __init__(self, query: "ListQuery", statement: Statement) -> None:
        self.query, self.statement = query, statement

    @cached_property
    def indexed(self) -> Statement:
        """The form whose rows are found by the indexes of the filters and of the search."""
        return self.query.narrowed(self.statement)

    @cached_property
    def scanned(self) -> Statement:
        """The form whose rows are found by a scan of the index of the sort."""
        return self._written(by_index=False, by_search=False) if self.query.asked else self.indexed

    @cached_property
    def compared(self) -> Statement:
        """The form whose rows are found by the indexes of the filters only, for a search that finds too many rows."""
        return self._written(by_index=True, by_search=False) if self.searches else self.indexed

    @cached_property
    def filtered(self) -> Statement:
        """The form with the filters, but without the search, so that it selects more rows."""
        return self._written(by_index=True, by_search=None) if self.searches else self.indexed

    @cached_property
    def searches(self) -> Sequence[Search]:
        """The searches of the request that a search index of SQLite can answer."""
        texts = texts_of(self.query) if self.query.has_search_index else ()
        found = [search_of(self.query.runtime.database, self.query.model, *text) for text in texts]
        return [search for search in found if search is not None]

    @property
    def only(self) -> CompoundSelect[Any] | None:
        """The SELECT of the search index alone, if `q` is the only condition and the index is exact; else None."""
        return self.searches[0].exact if self.searches and self.query.asked == [("", "q")] else None

    @property
    def has_filters(self) -> bool:
        """Whether the statement has other conditions or joins than the search."""
        (table, *joined) = self.filtered.get_final_froms()
        return self.filtered.whereclause is not None or bool(joined) or not isinstance(table, Table)

    @property
    def statements(self) -> Sequence[Statement]:
        return self.indexed, self.scanned, self.compared, self.filtered

    def with_statements(self, statements: Sequence[Statement]) -> "Choices":
        """Return choices with these four statements, in the order of the property `statements`."""
        changed = Choices(self.query, self.statement)
        changed.indexed, changed.scanned, changed.compared, changed.filtered = statements
        return changed

    def _written(self, *, by_index: bool, by_search: bool | None) -> Statement:
        """Return the statement with the conditions of the query in the form that these options select."""
        query = self.query
        query.by_index, query.by_search = by_index, by_search
        narrowed = query.narrowed(self.statement)
        query.by_index = query.by_search = True
        return narrowed


def texts_of(query: "ListQuery") -> list[tuple[Sequence[str], str]]:
    """Return the fields and the text of each search in the request: `q`, and filters with `__contains`."""
    given = [(*query.conditions[name], text) for name, text in query.given.items() if name in query.conditions]
    found: list[tuple[Sequence[str], str]] = [([field], text) for field, kind, text in given if kind == "contains"]
    return [*found, (query.searched, query.given["q"])] if "q" in query.given and query.searched else found
