"""Embedded bodies: FastAPI reads each body parameter from a member of the JSON object. Other members are errors."""

from itertools import islice

from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from starlette.requests import Request

from kit.models.entities import MAX_UNKNOWN
from kit.operations.dependants import dependencies_of, is_of_the_kit, parameters_of

Members = frozenset[str]
EXTRA = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted"}
"""The error of pydantic for an unknown member."""


def embedded_members(dependant: Dependant) -> Members:
    """Return the names of the members that FastAPI reads; none if the body is a single value, or a form.

    Also none if a handler or dependency takes the request, because it may read other members.
    """
    parts = list(dependencies_of(dependant))
    fields = {field.name: field for part in parts for field in part.body_params}
    is_embedded = len(fields) > 1 or any(getattr(field.field_info, "embed", None) for field in fields.values())
    has_form = any(isinstance(field.field_info, Form) for field in fields.values())
    if not is_embedded or has_form or any(part.request_param_name and not is_of_the_kit(part) for part in parts):
        return frozenset()
    return frozenset(name for field in fields.values() for name, _ in parameters_of(field.alias, field.field_info))


async def refuse_unknown_members(members: Members, request: Request) -> None:
    """Raise a RequestValidationError that names the members of a body that FastAPI would ignore."""
    body = await request.json() if await request.body() else None
    if not isinstance(body, dict):
        return
    unknown = islice((name for name in body if name not in members), MAX_UNKNOWN)
    errors = [{**EXTRA, "loc": ("body", name), "input": body[name]} for name in unknown]
    if errors:
        raise RequestValidationError(errors, body=body)
