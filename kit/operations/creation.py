"""Creation of many elements: either all or none, or each that does not fail, by few statements.

All elements are tried at once, in a savepoint. If they fail, then for all or none the first failing element is found by
bisection. For each that does not fail, they are tried in chunks, of half the size after a failure, and of twice the
size after a success. After `MAX_FAILED_CHUNKS` failures the remaining elements are tried one by one.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from starlette.exceptions import HTTPException

from kit.database.error_responses import problem_of
from kit.database.errors import FAILURES, meaning_of
from kit.database.sessions import WriteSession
from kit.http.problems import Problem, problem_from
from kit.models.entities import Entity

T = TypeVar("T")
MAX_FAILED_CHUNKS = 50
"""The number of failed chunks after which elements are tried one by one: so many failures mean that most fail."""
Make = Callable[[WriteSession, Sequence[T]], Awaitable[Sequence[Entity]]]
"""A function that stores valid elements, and returns their rows in the same order."""


class UndoneError(Exception):
    """Raised to roll a savepoint back."""


def refuse_unless(*, is_kept: bool) -> None:
    if not is_kept:
        raise UndoneError


def problem_of_element(failure: Exception) -> Problem:
    """Return the problem for a failure that an element has caused. Raises other failures again, such as a 503."""
    problem = problem_from(failure) if isinstance(failure, HTTPException) else problem_of(failure)
    if problem is None or problem.status_code >= 500 or meaning_of(failure) == "again":
        raise failure
    problem.__cause__, problem.origin = failure, getattr(failure, "origin", failure)
    return problem


def within(problem: Problem, part: int | str) -> Problem:
    """Prefix the pointers of a problem by the part of the body to which they are relative. Returns the problem.

    `#/age` becomes `#/17/age` for the part 17.
    """
    for error in problem.extra.get("errors", ()):
        error["pointer"] = f"#/{part}{error['pointer'].removeprefix('#')}"
    return problem


class Creation(ABC, Generic[T]):
    """Creates the elements of a request. They are identified by their indexes in it."""

    def __init__(self, session: WriteSession, elements: Mapping[int, T]) -> None:
        self.session, self.elements = session, elements
        self.created: dict[int, Sequence[Entity]] = {}
        """The created rows of each chunk, by the index of its first element."""
        self.failed: dict[int, Problem] = {}

    @property
    def rows(self) -> list[Entity]:
        """The created rows, in the order of the request."""
        return [row for index in sorted(self.created) for row in self.created[index]]

    async def create_all(self) -> None:
        """Create all elements. Raises the problem of the first one that fails."""
        indexes = list(self.elements)
        while indexes and await self.attempt(indexes):
            passing = await self._longest_passing(indexes)
            if passing and await self.attempt(indexes[:passing]):
                continue  # another transaction has stored an equal value in between
            if problem := await self.attempt(indexes[passing : passing + 1]):
                raise within(problem, indexes[passing])
            indexes = indexes[passing + 1 :]

    async def _longest_passing(self, indexes: Sequence[int]) -> int:
        """Return the number of elements before the first one that fails. Stores none of them.

        Each savepoint is rolled back, so that no locks remain by which failing requests could deadlock.
        """
        passing, failing = 0, len(indexes)
        while failing - passing > 1:
            middle = (passing + failing) // 2
            if await self.attempt(indexes[:middle], is_kept=False):
                failing = middle
            else:
                passing = middle
        return passing

    async def create_each(self) -> None:
        """Create the elements that do not fail, and store the problems of the others in `failed`."""
        await self.try_chunks(list(self.elements))

    async def try_chunks(self, indexes: Sequence[int]) -> None:
        start, size, failed_chunks = 0, len(indexes), 0
        while start < len(indexes):
            chunk = indexes[start : start + (size if failed_chunks < MAX_FAILED_CHUNKS else 1)]
            problem = await self.attempt(chunk)
            if problem is None:
                start, size = start + len(chunk), 2 * size
            elif len(chunk) > 1:
                size, failed_chunks = len(chunk) // 2, failed_chunks + 1
            else:
                self.failed[chunk[0]] = problem
                start += 1

    async def attempt(self, indexes: Sequence[int], *, is_kept: bool = True) -> Problem | None:
        """Create these elements in a savepoint, rolled back unless `is_kept`. Returns the problem if they fail."""
        try:
            async with self.session.begin_nested():
                rows = await self.store(indexes)
                refuse_unless(is_kept=is_kept)
        except UndoneError:
            return None
        except (HTTPException, *FAILURES) as failure:
            return problem_of_element(failure)
        self.keep(indexes, rows)
        return None

    @abstractmethod
    async def store(self, indexes: Sequence[int]) -> Sequence[Entity]:
        """Store these elements, and return their rows in the same order."""

    def keep(self, indexes: Sequence[int], rows: Sequence[Entity]) -> None:
        self.created[indexes[0]] = rows


class MadeCreation(Creation[T]):
    """Creates elements by a function `make` of the resource."""

    def __init__(self, session: WriteSession, elements: Mapping[int, T], make: Make[T]) -> None:
        super().__init__(session, elements)
        self.make = make

    async def store(self, indexes: Sequence[int]) -> Sequence[Entity]:
        return await self.make(self.session, [self.elements[index] for index in indexes])
