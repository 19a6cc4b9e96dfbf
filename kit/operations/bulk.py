"""Bulk creation: many rows in one request, all or nothing, or each on a savepoint of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Body, Query
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from kit.database.errors import FAILURES, meaning_of, problem_of
from kit.database.sessions import WriteSession
from kit.http.problems import MAX_ERRORS, Problem, describe, invalid, problem_from
from kit.models.entities import Entity

T = TypeVar("T")
E = TypeVar("E", bound=Entity)
MAX_ELEMENTS = 1000
MAX_ERRORS_OF_ALL = 1000
"""The largest number of errors of all elements that are left out with `on_error=skip`; at least one of each."""
BREAK_AFTER = 50
"""The number of elements after which other requests have their turn."""


@dataclass(frozen=True)
class InvalidElement:
    """Stands for an invalid element of a batch."""

    failure: ValidationError

    @property
    def errors(self) -> list[ErrorDetails]:
        return self.failure.errors(include_url=False, include_context=False, include_input=False)

    @property
    def problem(self) -> Problem:
        return invalid(describe({**error, "loc": ("body", *error["loc"])}) for error in self.errors)


def _keep_invalid(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(value)
    except ValidationError as failure:
        return InvalidElement(failure)


Batch = Annotated[
    list[Annotated[T, WrapValidator(_keep_invalid)]], Field(min_length=1, max_length=MAX_ELEMENTS), Body()
]
"""A body of 1 to 1,000 elements. An invalid element is an `InvalidElement`, which `create_many` reports."""
OnError = Annotated[
    Literal["abort", "skip"],
    Query(description="`abort`: all or nothing. `skip`: leave out what fails, and answer 207 with both."),
]
Make = Callable[[WriteSession, Sequence[T]], Awaitable[Sequence[Entity]]]
"""Stores valid elements, and returns their rows in the same order."""


@dataclass(frozen=True)
class Outcome:
    """The result of `on_error=skip`: the rows created, and a problem with its index for each element that failed."""

    created: list[Entity]
    failed: list[dict[str, Any]]


Many = Sequence[Entity] | Outcome


async def insert_many(session: WriteSession, entity: type[E], elements: Sequence[Any]) -> list[E]:
    """Store elements by one INSERT. Returns their rows in the same order."""
    rows = []
    for number, element in enumerate(elements, 1):
        rows.append(entity.model_validate(element))
        if number % BREAK_AFTER == 0:
            await asyncio.sleep(0)
    await session.insert_all(rows)
    return rows


async def create_many(
    session: WriteSession, elements: Sequence[T], on_error: str, make: type[Entity] | Make[T]
) -> Many:
    """Store elements. Returns their rows in order, for a response model that is a list of the read variant.

    `make` is the entity, or a function that stores elements in another way. A 422 or 409 points at the failing element:
    `#/17/age`. With `on_error="skip"` the response is a 207 with the created rows and the failures.
    """
    store: Make[T] = partial(_insert, make) if isinstance(make, type) else make
    if on_error == "skip":
        return await _create_each(session, elements, store)
    invalid_elements = [(index, part) for index, part in enumerate(elements) if isinstance(part, InvalidElement)]
    if invalid_elements:
        problems = [within(part.problem, index) for index, part in invalid_elements[:MAX_ERRORS]]
        errors = [error for problem in problems for error in problem.extra["errors"]]
        raise invalid(errors, more=sum(part.failure.error_count() for _, part in invalid_elements) - len(errors))
    try:
        async with session.begin_nested():
            return await store(session, elements)
    except (HTTPException, *FAILURES) as failure:
        problem_of_element(failure)
        return await _create_one_by_one(session, elements, store)


async def _insert(entity: type[E], session: WriteSession, elements: Sequence[Any]) -> list[E]:
    return await insert_many(session, entity, elements)


async def _create_each(session: WriteSession, elements: Sequence[T], store: Make[T]) -> Outcome:
    """Create each element on a savepoint, and collect the created rows and the problems of the others."""
    outcome = Outcome([], [])
    for index, element in enumerate(elements):
        try:
            if isinstance(element, InvalidElement):
                raise element.problem
            async with session.begin_nested():
                created = await store(session, [element])
            outcome.created.extend(created)
        except (HTTPException, *FAILURES) as failure:
            outcome.failed.append({"index": index, "problem": within(problem_of_element(failure), index)})
            if len(outcome.failed) % BREAK_AFTER == 0:
                await asyncio.sleep(0)
    shorten([part["problem"] for part in outcome.failed])
    return outcome


def shorten(problems: Sequence[Problem]) -> None:
    """Leave out errors of several problems, so that they have at most `MAX_ERRORS_OF_ALL`, or one each."""
    most = max(1, MAX_ERRORS_OF_ALL // max(1, len(problems)))
    for problem in problems:
        errors = problem.extra.get("errors", ())
        if len(errors) > most:
            problem.extra["more_errors"] = problem.extra.get("more_errors", 0) + len(errors) - most
            problem.extra["errors"] = errors[:most]


async def _create_one_by_one(session: WriteSession, elements: Sequence[T], store: Make[T]) -> Sequence[Entity]:
    """Store elements one by one to find the failing element. Returns the rows if none fails any more."""
    rows: list[Entity] = []
    for index, element in enumerate(elements):
        try:
            rows += await store(session, [element])
            await session.flush()
        except (HTTPException, *FAILURES) as failure:
            raise within(problem_of_element(failure), index) from failure
    return rows


def problem_of_element(failure: Exception) -> Problem:
    """Return the problem of a single element. A failure that concerns all elements is raised again."""
    problem = problem_from(failure) if isinstance(failure, HTTPException) else problem_of(failure)
    if problem is None or problem.status_code >= 500 or meaning_of(failure) == "again":
        raise failure
    return problem


def within(problem: Problem, place: int | str) -> Problem:
    """Return the problem with pointers relative to the whole body: `#/17/age` for `#/age` of element 17."""
    for error in problem.extra.get("errors", ()):
        error["pointer"] = f"#/{place}{error['pointer'].removeprefix('#')}"
    return problem
