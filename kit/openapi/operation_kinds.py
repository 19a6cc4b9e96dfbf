"""Kinds of operations: the properties of a route by which its parameters, responses and headers are documented."""

from typing import get_origin

from kit.models.entities import Changes
from kit.operations.dependants import dependencies_of, query_variant
from kit.operations.dependencies import get_session
from kit.operations.preconditions import precondition_of
from kit.operations.results import item_variant_of, variant_of
from kit.operations.route import Operation
from kit.query.list_query import ListQuery


def is_read(route: Operation) -> bool:
    return route.methods <= {"GET", "HEAD"}


def query_of(route: Operation) -> type[ListQuery] | None:
    """Return the `ListQuery` class among the dependencies of an operation; None if there is none."""
    return next(filter(None, map(query_variant, dependencies_of(route.dependant))), None)


def has_precondition(route: Operation) -> bool:
    return any(part.call is precondition_of for part in dependencies_of(route.dependant))


def is_merge(route: Operation) -> bool:
    """Return whether the body of an operation has the changes of one row, as in JSON Merge Patch (RFC 7396)."""
    kind = None if route.body_field is None else route.body_field.field_info.annotation
    return "PATCH" in route.methods and isinstance(kind, type) and issubclass(kind, Changes)


def takes_session(route: Operation) -> bool:
    return any(part.call is get_session for part in dependencies_of(route.dependant))


def takes_key(route: Operation) -> bool:
    """Return whether an operation takes an `Idempotency-Key`: a POST, unless it documents `Cache-Control: no-store`."""
    documented = route.responses.get(route.status_code or 200, {}).get("headers", {}).get("Cache-Control", {})
    return "POST" in route.methods and documented.get("schema", {}).get("const") != "no-store"


def is_conditional_creation(route: Operation) -> bool:
    """Return whether an operation is a POST on which `If-None-Match` may have an effect."""
    return "POST" in route.methods and (takes_key(route) or takes_session(route))


def is_bulk(route: Operation) -> bool:
    """Return whether an operation is a bulk creation with the parameter `on_error`."""
    names = {field.alias for part in dependencies_of(route.dependant) for field in part.query_params}
    return "POST" in route.methods and "on_error" in names and get_origin(route.response_model) is list


def has_etag(route: Operation) -> bool:
    """Return whether successful responses have an ETag: those with a row, or for a read a list of rows."""
    model = route.response_model
    return variant_of(model) is not None or (is_read(route) and item_variant_of(model) is not None)
