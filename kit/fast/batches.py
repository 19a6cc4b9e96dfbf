"""Which rows are stored together: of those that come at the same time, each alone in its request (a group commit).

While a transaction stores rows of a kind, those that come collect for the next. The first waits for nobody.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial

from sqlalchemy.engine import Engine

from kit.database.errors import Undone
from kit.fast.group_commit import Group, Member
from kit.fast.single_insert import Lone
from kit.models.entities import Entity

MOST = 100
"""Rows that one transaction stores."""
PATIENCE = 0.05
"""Seconds to wait for the transaction under way; a slow one does not hold up the next for longer."""
APART = 1.0
"""Seconds for which rows of a kind are stored each by itself, after the COMMIT of several was refused."""

Kind = tuple[type[Entity], bool]


class First(Lone):
    """The row that finds none of its kind under way."""

    def __init__(self, engine: Engine, over: Callable[[], None]) -> None:
        super().__init__(engine)
        self.over = over

    async def leave(self, failure: BaseException | None) -> None:
        try:
            await super().leave(failure)
        finally:
            self.over()


class Grouping:
    """Of each kind of row of one database, how many transactions are under way, and the group that collects."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.under_way: Counter[Kind] = Counter()
        self.collecting: dict[Kind, Group] = {}
        self.apart_until: defaultdict[Kind, float] = defaultdict(float)

    def place(self, row: Entity) -> Lone | Member:
        """Where this row is stored."""
        kind = type(row), row.id is None
        if self.apart_until[kind] > asyncio.get_running_loop().time():
            return Lone(self.engine)
        if self.under_way[kind] == 0:
            self.under_way[kind] = 1
            return First(self.engine, partial(self.over, kind))
        return self.join(kind, row)

    def join(self, kind: Kind, row: Entity) -> Member:
        group = self.collecting.get(kind)
        if group is None:
            group = self.collecting[kind] = Group(self.engine)
            asyncio.get_running_loop().call_later(PATIENCE, self.start, kind, group)
        member = group.join(row)
        if len(group.members) == MOST:
            self.start(kind, group)
        return member

    def start(self, kind: Kind, group: Group) -> None:
        if self.collecting.get(kind) is group:
            del self.collecting[kind]
            self.under_way[kind] += 1
            group.task = asyncio.create_task(self.run(kind, group))

    async def run(self, kind: Kind, group: Group) -> None:
        try:
            failure = await group.run() if group.members else None
            if isinstance(failure, Undone) and failure.refused:
                self.apart_until[kind] = asyncio.get_running_loop().time() + APART
        finally:
            self.over(kind)

    def over(self, kind: Kind) -> None:
        self.under_way[kind] -= 1
        if kind in self.collecting:
            self.start(kind, self.collecting[kind])
