"""Bulk creation: stores many elements of one request, either all or none, or each that does not fail (`skip`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Body, Query
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import ErrorDetails

from kit.database.sessions import WriteSession, insert_all
from kit.http.fairness import in_turns
from kit.http.problems import MAX_ERRORS, Problem, describe, invalid
from kit.models.entities import Entity
from kit.operations.creation import Creation, MadeCreation, Make, within
from kit.operations.entity_creation import EntityCreation, rows_of

T = TypeVar("T")
E = TypeVar("E", bound=Entity)
MAX_ELEMENTS = 1000
MAX_ERRORS_OF_ALL = 1000
"""The maximum number of errors in a 207, of all elements together. Each failed element has at least one."""


@dataclass(frozen=True)
class InvalidElement:
    """The value of an invalid element in a `Batch`, so that valid elements can be stored with `on_error=skip`."""

    failure: ValidationError
    given: object = None
    """The element as it was sent, in which the pointers of the errors are found."""

    @property
    def errors(self) -> list[ErrorDetails]:
        return self.failure.errors(include_url=False, include_context=False, include_input=False)

    @property
    def problem(self) -> Problem:
        errors = self.failure.errors(include_url=False)
        return invalid(describe({**error, "loc": ("body", *error["loc"])}, self.given) for error in errors)


def _keep_invalid(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(value)
    except ValidationError as failure:
        return InvalidElement(failure, value)


Batch = Annotated[
    list[Annotated[T, WrapValidator(_keep_invalid)]], Field(min_length=1, max_length=MAX_ELEMENTS), Body()
]
"""A body of 1 to 1,000 elements. An invalid element is an `InvalidElement`, which `create_many` reports."""
OnError = Annotated[
    Literal["abort", "skip"],
    Query(
        description="`abort`: create all elements or none. `skip`: skip the elements that fail, and respond with a 207."
    ),
]


@dataclass(frozen=True)
class Outcome:
    """The result of `on_error=skip`: the created rows, and the index and problem of each failed element."""

    created: list[Entity]
    failed: list[dict[str, Any]]


Many = Sequence[Entity] | Outcome


async def insert_many(session: WriteSession, entity: type[E], elements: Sequence[Any]) -> list[E]:
    """Validate elements (objects or mappings) as rows of an entity, store them, and return them in the same order.

    The event loop serves other requests between the validations.
    """
    rows: list[E] = await rows_of(entity, elements)
    await insert_all(session, rows)
    return rows


async def create_many(
    session: WriteSession, elements: Sequence[T], on_error: str, make: type[Entity] | Make[T]
) -> Many:
    """Store the elements of a `Batch`. Returns their rows in order, for the response model `list[ReadVariant]`.

    `make` is the entity, or a function that stores elements in another way. If an element fails, nothing is stored, and
    the 422 or 409 points at it: `#/17/age`. With `on_error="skip"`, the others are stored, and an `Outcome` is
    returned, which becomes a 207.
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
    if isinstance(make, type):
        return EntityCreation(session, elements, make)
    return MadeCreation(session, elements, make)


def _all_errors(refused: Mapping[int, InvalidElement]) -> Problem:
    """Return the 422 for invalid elements, with a bounded number of their errors."""
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
    """Remove errors from problems, so that they have at most `MAX_ERRORS_OF_ALL` together, but one each."""
    most = max(1, MAX_ERRORS_OF_ALL // max(1, len(problems)))
    for problem in problems:
        errors = problem.extra.get("errors", ())
        if len(errors) > most:
            problem.extra["more_errors"] = problem.extra.get("more_errors", 0) + len(errors) - most
            problem.extra["errors"] = errors[:most]
