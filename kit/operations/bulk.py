"""How are many made at once: all or nothing, or, if the caller asks for it, each on its own savepoint."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Body, Query
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import ErrorDetails

from kit.database.errors import FAILURES, meaning_of, problem_of
from kit.database.writing import WriteSession
from kit.http.problems import Problem, describe, invalid
from kit.models.entities import Entity

T = TypeVar("T")
E = TypeVar("E", bound=Entity)
MAX_ELEMENTS = 1000


@dataclass(frozen=True)
class Refused:
    """An element that is not valid, on its way to the answer."""

    errors: list[ErrorDetails]

    @property
    def problem(self) -> Problem:
        return invalid(describe({**error, "loc": ("body", *error["loc"])}) for error in self.errors)


def keep_refused(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(value)
    except ValidationError as failure:
        return Refused(failure.errors(include_url=False, include_context=False, include_input=False))


Batch = Annotated[list[Annotated[T, WrapValidator(keep_refused)]], Field(min_length=1, max_length=MAX_ELEMENTS), Body()]
"""A body of 1 to 1,000 elements. `create_many` looks which of them are valid."""
OnError = Annotated[
    Literal["abort", "skip"],
    Query(description="`abort`: all or nothing. `skip`: leave out what fails, and answer 200 with both."),
]
Make = Callable[[WriteSession, Sequence[T]], Awaitable[Sequence[Entity]]]
"""Makes rows of valid elements."""


@dataclass(frozen=True)
class Outcome:
    """What `on_error=skip` answers: what was made, and what failed, by its place in the request."""

    created: list[Entity]
    failed: list[dict[str, Any]]


Many = Sequence[Entity] | Outcome


def adding(entity: type[E]) -> Callable[[WriteSession, Sequence[Any]], Awaitable[Sequence[E]]]:
    """The plain way to make rows: in one INSERT, in the order of the elements."""

    async def add(session: WriteSession, elements: Sequence[Any]) -> Sequence[E]:
        rows = [entity.model_validate(element) for element in elements]
        await session.insert_all(rows)
        return rows

    return add


async def create_many(session: WriteSession, elements: Sequence[T], on_error: str, make: Make[T]) -> Many:
    """The rows of these elements, in order. A 422 or 409 points at the element that is to blame: `#/17/age`."""
    if on_error == "skip":
        return await create_each(session, elements, make)
    refused = [(index, element) for index, element in enumerate(elements) if isinstance(element, Refused)]
    if refused:
        raise invalid(error for index, element in refused for error in at(element.problem, index).extra["errors"])
    try:
        async with session.begin_nested():
            return await make(session, elements)
    except (Problem, *FAILURES) as failure:
        fault_of_element(failure)
        return await one_by_one(session, elements, make)


async def create_each(session: WriteSession, elements: Sequence[T], make: Make[T]) -> Outcome:
    outcome = Outcome([], [])
    for index, element in enumerate(elements):
        try:
            if isinstance(element, Refused):
                raise element.problem
            async with session.begin_nested():
                made = await make(session, [element])
            outcome.created.extend(made)
        except (Problem, *FAILURES) as failure:
            outcome.failed.append({"index": index, "problem": at(fault_of_element(failure), index)})
    return outcome


async def one_by_one(session: WriteSession, elements: Sequence[T], make: Make[T]) -> Sequence[Entity]:
    """Find the element that fails; or the rows, if what was in their way has gone meanwhile."""
    rows: list[Entity] = []
    for index, element in enumerate(elements):
        try:
            rows += await make(session, [element])
            await session.flush()
        except (Problem, *FAILURES) as failure:
            raise at(fault_of_element(failure), index) from failure
    return rows


def fault_of_element(failure: Exception) -> Problem:
    """The problem of one element; a failure that concerns them all goes on its way."""
    problem = failure if isinstance(failure, Problem) else problem_of(failure)
    if problem is None or problem.status_code >= 500 or meaning_of(failure) == "again":
        raise failure
    return problem


def at(problem: Problem, place: int | str) -> Problem:
    """The same problem, pointing at this place in the body: an element, or what is under a name."""
    for error in problem.extra.get("errors", ()):
        error["pointer"] = f"#/{place}{error['pointer'].removeprefix('#')}"
    return problem
