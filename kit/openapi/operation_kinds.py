"""Kinds of operations: the properties that parameters, responses and headers in the OpenAPI document depend on."""

from typing import get_args, get_origin

from kit.models.reads import Read
from kit.operations.preconditions import precondition_of
from kit.operations.route import Operation, dependencies_of, query_variant
from kit.query.list_query import ListQuery


def is_read(route: Operation) -> bool:
    return route.methods <= {"GET", "HEAD"}


def query_of(route: Operation) -> type[ListQuery] | None:
    """Return the `ListQuery` class that an operation takes; None if it takes none."""
    return next(filter(None, map(query_variant, dependencies_of(route.dependant))), None)


def has_precondition(route: Operation) -> bool:
    return any(part.call is precondition_of for part in dependencies_of(route.dependant))


def is_bulk(route: Operation) -> bool:
    """Return whether an operation creates many rows and takes `on_error`."""
    names = {field.alias for part in dependencies_of(route.dependant) for field in part.query_params}
    return "POST" in route.methods and "on_error" in names and get_origin(route.response_model) is list


def has_etag(route: Operation) -> bool:
    """Return whether a success has an ETag: one row and a list of rows have one, other responses do not."""
    model = route.response_model
    item = get_args(model)[0] if is_read(route) and get_origin(model) is list else model
    return isinstance(item, type) and issubclass(item, Read)
