"""Creation of rows of an entity: finds failing elements by one SELECT for each key, instead of one by one.

After a failure, a SELECT for each foreign key finds the values whose target row is missing, and a SELECT for each
unique key finds the values that are taken. Of the elements with the same fault, one is tried, and all get its problem.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from pydantic import ValidationError
from sqlalchemy import inspect, select, tuple_

from kit.auth.owners import table_of
from kit.database.key_order import assign_ids, sort_key, unique_keys
from kit.database.sessions import WriteSession, insert_all, trusted_connection
from kit.http.fairness import in_turns
from kit.http.problems import Problem
from kit.models.entities import Entity
from kit.operations.creation import Creation, within
from kit.operations.failures import refused_body

SHARED = ("taken", "missing-reference", "forbidden")
"""The kinds of problems that apply to all elements with the same fault."""
Fault = Hashable
"""Identifies a key whose value is taken, or whose target row is missing."""


async def rows_of(entity: type[Entity], elements: Sequence[Any]) -> list[Any]:
    """Return new rows with the values of these elements, validated by the entity."""
    return await in_turns(entity.model_validate, elements)


class EntityCreation(Creation[Any]):
    """Creates rows of an entity. They are validated before the transaction begins, which locks a SQLite database."""

    def __init__(self, session: WriteSession, elements: Mapping[int, Any], entity: type[Entity]) -> None:
        super().__init__(session, elements)
        self.entity = entity
        self.prepared: dict[int, Any] = {}
        """The new rows, by index, that were not tried yet."""
        self.ids: dict[int, Any] = {}
        """The ids of rows, by index, that were assigned before they are tried in another order."""

    async def prepare(self, indexes: Sequence[int]) -> None:
        """Make the rows of those elements that have none in `prepared`. Elements that the table refuses have failed."""
        missing = [index for index in indexes if index not in self.prepared]
        rows = await in_turns(self._row_of, [self.elements[index] for index in missing])
        for index, row in zip(missing, rows, strict=True):
            if isinstance(row, Problem):
                self.failed[index] = row
                self.elements = {other: element for other, element in self.elements.items() if other != index}
            else:
                self.prepared[index] = row
                if index in self.ids:
                    row.id = self.ids[index]

    def _row_of(self, element: Any) -> Entity | Problem:
        try:
            return self.entity.model_validate(element)
        except ValidationError as failure:
            if problem := refused_body(failure):
                return problem
            raise

    async def create_all(self) -> None:
        """Create all elements. Raises the problem of the first one that fails."""
        for index, problem in sorted(self.failed.items()):
            raise within(problem, index)
        await super().create_all()

    async def store(self, indexes: Sequence[int]) -> Sequence[Entity]:
        """Store these elements, and return their rows in the same order. Their ids have the order of the request."""
        await self.prepare(indexes)
        rows = {index: self.prepared.pop(index) for index in sorted(indexes)}
        await insert_all(self.session, list(rows.values()))
        return [rows[index] for index in indexes]

    def keep(self, indexes: Sequence[int], rows: Sequence[Entity]) -> None:
        self.created.update((index, [row]) for index, row in zip(indexes, rows, strict=True))

    async def create_each(self) -> None:
        rest = list(self.elements)
        await self.prepare(rest)
        await self.assign_ids()
        while rest:
            await self.prepare(rest)
            first, later = self._first_of_equal(rest)
            problem = await self.attempt(first)
            rest = rest if problem else later
            faults = await self._faults(rest) if rest else {}
            await self._try_faulty(faults)
            if problem and not faults:
                await self.try_chunks(first)
                rest = later
            rest = [index for index in rest if index not in faults]

    async def assign_ids(self) -> None:
        """Assign ids in the order of the request to rows that will be tried in the order of their keys, in chunks."""
        rows = list(self.prepared.values())
        if len(rows) > 1 and self.is_in_key_order and all(row.id is None for row in rows):
            await self.session.run_sync(lambda session: assign_ids(trusted_connection(session), self.entity, rows))
            self.ids = {index: row.id for index, row in self.prepared.items()}

    @property
    def is_in_key_order(self) -> bool:
        """Whether elements are tried in the order of their unique keys: on PostgreSQL."""
        return self.session.get_bind().dialect.name == "postgresql" and bool(unique_keys(self.entity))

    def _first_of_equal(self, indexes: Sequence[int]) -> tuple[list[int], list[int]]:
        """Split elements: into the first ones with each unique value, and those that repeat a value of these.

        On PostgreSQL the first ones are sorted by their keys, so that concurrent requests cannot deadlock.
        """
        first: list[int] = []
        later: list[int] = []
        seen: set[Fault] = set()
        for index in indexes:
            keys = {(key, values) for key in unique_keys(self.entity) if (values := key.of(self.prepared[index]))}
            (later if keys & seen else first).append(index)
            seen |= keys
        if self.is_in_key_order:
            first.sort(key=lambda index: sort_key(self.entity, self.prepared[index]))
        return first, later

    async def _faults(self, indexes: Sequence[int]) -> dict[int, frozenset[Fault]]:
        """Return the faults by element, for those of the elements that have any."""
        await self.prepare(indexes)
        rows = {index: self.prepared[index] for index in indexes}
        found: defaultdict[int, set[Fault]] = defaultdict(set)
        for finder in (self._missing_references, self._taken_values):
            for index, fault in await self.session.run_sync(lambda session, find=finder: list(find(session, rows))):  # type: ignore[misc]
                found[index].add(fault)
        return {index: frozenset(faults) for index, faults in found.items()}

    def _missing_references(self, session: Any, rows: Mapping[int, Any]) -> Iterator[tuple[int, Fault]]:
        mapper = inspect(self.entity)
        constraints = table_of(self.entity).foreign_key_constraints
        for reference in (each.elements[0] for each in constraints if len(each.elements) == 1):
            field = mapper.get_property_by_column(reference.parent).key
            values = {value for row in rows.values() if (value := getattr(row, field)) is not None}
            existing = select(reference.column).where(reference.column.in_(values))
            missing = values.difference(trusted_connection(session).scalars(existing))
            yield from ((index, field) for index, row in rows.items() if getattr(row, field) in missing)

    def _taken_values(self, session: Any, rows: Mapping[int, Any]) -> Iterator[tuple[int, Fault]]:
        connection = trusted_connection(session)
        for key in unique_keys(self.entity):
            condition = key.condition(connection.dialect.name)
            values = {index: given for index, row in rows.items() if (given := key.of(row)) is not None}
            existing = select(*key.columns).where(tuple_(*key.columns).in_(set(values.values())))
            existing = existing if condition is None else existing.where(condition)
            taken = set(map(tuple, connection.execute(existing)))
            for index, given in values.items():
                if given in taken:  # in a partial index, the columns of the condition are part of the fault
                    yield index, (key.fields, *key.values_of_condition(rows[index], condition))

    async def _try_faulty(self, faults: Mapping[int, frozenset[Fault]]) -> None:
        """Try one of the elements with the same faults. If the kind of its problem is in `SHARED`, all get it."""
        groups: defaultdict[frozenset[Fault], list[int]] = defaultdict(list)
        for index, fault in faults.items():
            groups[fault].append(index)
        for indexes in groups.values():
            shared: Problem | None = None
            for index in indexes:
                problem = copied(shared) if shared else await self.attempt([index])
                if problem is not None:
                    self.failed[index] = problem
                    shared = shared or (copied(problem) if problem.kind in SHARED else None)


def copied(problem: Problem) -> Problem:
    extra = deepcopy(problem.extra)
    return Problem(problem.status_code, problem.detail, kind=problem.kind, headers=problem.headers, **extra)
