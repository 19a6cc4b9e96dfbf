"""Choices: a select with the conditions of a list, written for several plans, among which `kit.query.plans` chooses."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import CompoundSelect, Table

from kit.query.page_selects import Statement
from kit.query.searching import Search, search_of

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery


class Choices:
    """A select with the conditions of a query, written for several plans, each at its first use. Its rows are the same.

    A search index of SQLite is the only reason for `compared` and `filtered` to differ from `indexed`.
    """

    def __init__(self, query: "ListQuery", statement: Statement) -> None:
        self.query, self.statement = query, statement

    @cached_property
    def indexed(self) -> Statement:
        """For the indexes of the conditions."""
        return self.query.narrowed(self.statement)

    @cached_property
    def walking(self) -> Statement:
        """For a walk along the index of the sort."""
        return self._written(by_index=False, by_search=False) if self.query.asked else self.indexed

    @cached_property
    def compared(self) -> Statement:
        """For the indexes of the filters, but not for that of the search, where that finds too many rows."""
        return self._written(by_index=True, by_search=False) if self.searches else self.indexed

    @cached_property
    def filtered(self) -> Statement:
        """With the conditions of the filters alone, which more rows fulfil."""
        return self._written(by_index=True, by_search=None) if self.searches else self.indexed

    @cached_property
    def searches(self) -> Sequence[Search]:
        """The searches that an index of SQLite answers."""
        found = [search_of(self.query.runtime.database, self.query.model, *text) for text in texts_of(self.query)]
        return [search for search in found if search is not None]

    @property
    def only(self) -> CompoundSelect[Any] | None:
        """The select of exactly the rows of a search, if the request gives no other condition."""
        return self.searches[0].exact if self.searches and self.query.asked == [("", "q")] else None

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
        changed = Choices(self.query, self.statement)
        changed.indexed, changed.walking, changed.compared, changed.filtered = statements
        return changed

    def _written(self, *, by_index: bool, by_search: bool | None) -> Statement:
        """Return the narrowed select with its conditions written in another way."""
        query = self.query
        query.by_index, query.by_search = by_index, by_search
        narrowed = query.narrowed(self.statement)
        query.by_index = query.by_search = True
        return narrowed


def texts_of(query: "ListQuery") -> list[tuple[Sequence[str], str]]:
    """Return the fields and texts of the searches that the request has given."""
    given = [(*query.conditions[name], text) for name, text in query.given.items() if name in query.conditions]
    found: list[tuple[Sequence[str], str]] = [([field], text) for field, kind, text in given if kind == "contains"]
    return [*found, (query.searched, query.given["q"])] if "q" in query.given else found
