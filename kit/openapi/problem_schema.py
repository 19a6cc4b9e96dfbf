"""Pydantic models of error responses, for the OpenAPI document: problem details (RFC 9457) and bulk outcomes."""

from enum import StrEnum
from functools import cache
from typing import Any

from pydantic import BaseModel, Field, create_model


class ProblemPlace(StrEnum):
    """The part of a request."""

    body = "body"
    query = "query"
    path = "path"
    header = "header"


class ProblemOutcome(StrEnum):
    """Whether a write took effect."""

    not_applied = "not_applied"
    unknown = "unknown"


class ProblemError(BaseModel):
    """An error in one place of a request."""

    place: ProblemPlace = Field(alias="in")
    pointer: str = Field(description="An RFC 6901 fragment in a body, the name of the parameter elsewhere.")
    detail: str
    type: str


class Problem(BaseModel):
    """Problem details, RFC 9457."""

    type: str = Field(description="The kind of problem, which never changes.", json_schema_extra={"format": "uri"})
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str = Field(description="The path.")
    request_id: str = Field(description="The id of the request, as in the log.")
    outcome: ProblemOutcome = Field(default_factory=lambda: ProblemOutcome.unknown, description="In a 503 for a write.")
    errors: list[ProblemError] = Field(default_factory=list, description="In a 422, and in some 404 and 409.")
    more_errors: int = Field(
        default_factory=int, ge=0, description="How many errors of a 422 were left out of `errors`."
    )
    trace_id: str = Field(default_factory=str, description="The id of the trace, if the request has a `traceparent`.")
    checks: dict[str, str] = Field(
        default_factory=dict, description="In a 503 of `/health/ready`: the state of each part."
    )
    missing: list[str] = Field(
        default_factory=list, description="In a 503 of `/health/ready`: migrations, or what a table lacks."
    )


class FailedElement(BaseModel):
    """An element of a bulk that was not stored."""

    index: int = Field(ge=0, lt=1000, description="Its place in the request, counted from 0.")
    problem: Problem


@cache
def bulk_outcome(read_variant: Any) -> type[BaseModel]:
    """Return the model of the 207 for a bulk creation with `on_error=skip`, by the read variant of the resource."""
    name = str(getattr(read_variant, "__name__", "")).removesuffix("Read")
    fields: dict[str, Any] = {
        "created": (list[read_variant], Field()),
        "failed": (list[FailedElement], Field()),
    }
    return create_model(f"{name}BulkOutcome", **fields)
