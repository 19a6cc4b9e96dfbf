"""Bulk creation: many rows in one request, all or none of them, or each that does not fail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Body, Query
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import ErrorDetails

from kit.database.sessions import WriteSession
from kit.http.fairness import in_turns
from kit.http.problems import MAX_ERRORS, Problem, describe, invalid
from kit.models.entities import Entity
from kit.operations.creation import Creation, MadeCreation, Make, within
from kit.operations.entity_creation import EntityCreation, rows_of

T = TypeVar("T")
E = TypeVar("E", bound=Entity)
MAX_ELEMENTS = 1000
MAX_ERRORS_OF_ALL = 1000
"""The largest number of errors of all elements that are left out with `on_error=skip`; at least one of each."""


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


@dataclass(frozen=True)
class Outcome:
    """The result of `on_error=skip`: the rows created, and a problem with its index for each element that failed."""

    created: list[Entity]
    failed: list[dict[str, Any]]


Many = Sequence[Entity] | Outcome


async def insert_many(session: WriteSession, entity: type[E], elements: Sequence[Any]) -> list[E]:
    """Store elements, objects or mappings, by one INSERT. Returns their rows in the same order.

    Other requests have their turns while the rows are validated.
    """
    rows: list[E] = await rows_of(entity, elements)
    await session.insert_all(rows)
    return rows


async def create_many(
    session: WriteSession, elements: Sequence[T], on_error: str, make: type[Entity] | Make[T]
) -> Many:
    """Store elements. Returns their rows in order, for a response model that is a list of the read variant.

    `make` is the entity, or a function that stores elements in another way. A 422 or 409 points at the failing element:
    `#/17/age`. With `on_error="skip"` the response is a 207 with the created rows and the failures.
    """
    refused = {index: element for index, element in enumerate(elements) if isinstance(element, InvalidElement)}
    valid = {index: element for index, element in enumerate(elements) if index not in refused}
    if refused and on_error != "skip":
        raise _all_errors(refused)
    creation = _creation(session, valid, make)
    if isinstance(creation, EntityCreation):
        await creation.prepare(list(valid))
    if on_error != "skip":
        await creation.create_all()
        return creation.rows
    await creation.create_each()
    return await _outcome(creation, refused)


def _creation(session: WriteSession, elements: Mapping[int, T], make: type[Entity] | Make[T]) -> Creation[T]:
    is_entity = isinstance(make, type)
    return EntityCreation(session, elements, make) if is_entity else MadeCreation(session, elements, make)  # type: ignore[arg-type]  # by its type


def _all_errors(refused: Mapping[int, InvalidElement]) -> Problem:
    """Return the problem of invalid elements, with a bounded number of their errors."""
    problems = [within(part.problem, index) for index, part in islice(refused.items(), MAX_ERRORS)]
    errors = [error for problem in problems for error in problem.extra["errors"]]
    return invalid(errors, more=sum(part.failure.error_count() for part in refused.values()) - len(errors))


async def _outcome(creation: Creation[Any], refused: Mapping[int, InvalidElement]) -> Outcome:
    """Return the result of `on_error=skip`."""
    found = await in_turns(attrgetter("problem"), list(refused.values()))
    problems = creation.failed | dict(zip(refused, found, strict=True))
    failed = [{"index": index, "problem": within(problem, index)} for index, problem in sorted(problems.items())]
    shorten(list(problems.values()))
    return Outcome(creation.rows, failed)


def shorten(problems: Sequence[Problem]) -> None:
    """Leave out errors of several problems, so that they have at most `MAX_ERRORS_OF_ALL`, or one each."""
    most = max(1, MAX_ERRORS_OF_ALL // max(1, len(problems)))
    for problem in problems:
        errors = problem.extra.get("errors", ())
        if len(errors) > most:
            problem.extra["more_errors"] = problem.extra.get("more_errors", 0) + len(errors) - most
            problem.extra["errors"] = errors[:most]
