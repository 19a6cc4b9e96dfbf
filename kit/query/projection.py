"""What is shown of each row of a list: the fields of the read variant, or those asked for, and what is embedded."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlmodel import SQLModel

from kit.auth.permissions import CALLER
from kit.auth.privacy import hidden
from kit.database.reading import ReadSession
from kit.query.embedding import embed, joined, shape, variant
from kit.query.list_query import ListQuery

Row = dict[str, Any]


class View:
    """How one query wants its rows to be shown."""

    def __init__(self, query: ListQuery) -> None:
        fields = [part for part in shape(query.read) if query.fields is None or part[0] in query.fields]
        self.model, self.hidden = query.model, query.hidden
        self.embedded: dict[str, type[SQLModel]] = {name: inner for name, inner in fields if inner}
        self.embedded |= {name: variant(query.includes[name]) for name in query.included}
        self.names = list(dict.fromkeys([*(name for name, _ in fields), *query.included]))

    @property
    def is_personal(self) -> bool:
        """Does it depend on who asks?"""
        targets = [joined(self.model, name)[0] for name in self.embedded]
        return any(hidden(model) for model in (self.model, *targets))

    def columns(self, others: Iterable[str]) -> list[str]:
        """The fields to read: those shown, those of others that are needed, and those that lead to what is embedded."""
        own = [name for name in self.names if name not in self.embedded]
        ways = [joined(self.model, name)[1] for name in self.embedded]
        owner = [self.model.belongs_to] if self.hidden and self.model.belongs_to else []
        return list(dict.fromkeys([*own, *others, *ways, *owner]))

    async def shown(self, session: ReadSession, rows: Sequence[Row]) -> Sequence[Row]:
        for name, read in self.embedded.items():
            await embed(session, self.model, name, read, rows)
        if not self.hidden and (not rows or list(rows[0]) == self.names):
            return rows
        return [{name: row[name] for name in self.names if self.may_see(row, name)} for row in rows]

    def may_see(self, row: Row, name: str) -> bool:
        return name not in self.hidden or row.get(str(self.model.belongs_to)) == CALLER.get().id
