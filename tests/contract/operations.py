"""Operations: which verb of a resource each route of an application is, or why the checks do not test it.

A route that is none of the contract's operations is tested as far as its declaration says: its permission, its place
in the document, and a read without parameters as `show`. `test_declarations` skips it visibly, with the reason.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_origin

from fastapi.datastructures import DefaultPlaceholder
from fastapi.params import Form
from fastapi.routing import RouteContext, iter_route_contexts
from pydantic import BaseModel

from kit import ListQuery, Read, Service, Who
from kit.openapi.operation_kinds import has_precondition, is_bulk
from kit.operations.dependants import allows_others, dependencies_of, may_read_others, model_of, query_variant
from kit.operations.results import variant_of
from kit.operations.route import Operation

METHODS = {"create": "POST", "replace": "PUT", "update": "PATCH", "delete": "DELETE"}
WRITING = ("create", "replace", "update")
ITEM_VERBS = ("read", "replace", "update", "delete")
STATUS = {"create": 201, "delete": 204}
"""The status of a success by verb; 200 for the others."""
Verbs = dict[str, RouteContext]


def operations_of(app: Service) -> list[RouteContext]:
    return [route for route in iter_route_contexts(app.routes) if isinstance(route.original_route, Operation)]


def paths_of(routes: Sequence[RouteContext]) -> list[str]:
    """Return the paths of collections (`/things/`) and of single things (`/thing`)."""
    paths = dict.fromkeys(str(route.path_format) for route in routes)
    return [path for path in paths if "{" not in path and path.strip("/") and (path[-1] == "/" or path.count("/") == 1)]


def verbs_at(path: str, routes: Sequence[RouteContext]) -> Verbs:
    """Return the operations of the resource with this path that the checks test, by verb."""
    query = next((query_of(route) for route in routes if is_list(path, route)), None)
    verbs: Verbs = {}
    for route in routes:
        verb = verb_of(path, route)
        if verb is not None and reason_against(verb, route, query) is None:
            verbs.setdefault(verb, route)
    return verbs if query is not None or shows_alike(verbs) else {"show": verbs["show"]} if "show" in verbs else {}


def shows_alike(verbs: Verbs) -> bool:
    """Return whether all operations show a row by one read variant."""
    return len({variant_of(route.response_model) for verb, route in verbs.items() if verb != "delete"}) <= 1


def verb_of(path: str, route: RouteContext) -> str | None:
    """Return the verb that a route is by its place and its method; None for other places and methods."""
    whole, method = str(route.path_format), method_of(route)
    if whole == path:
        return {"GET": "list" if is_list(path, route) else "show", "POST": "create"}.get(method)
    rest = whole.removeprefix(path.rstrip("/")) if whole.startswith(f"{path.rstrip('/')}/") else ""
    verbs = {"GET": "read", **{method: verb for verb, method in METHODS.items() if verb != "create"}}
    return verbs.get(method) if re.fullmatch(r"/\{[^/{}]+\}", rest) else None


def is_list(path: str, route: RouteContext) -> bool:
    """Return whether a route is the list at this path: a GET whose response is a list, with a list query."""
    is_there = route.path_format == path and method_of(route) == "GET"
    return is_there and get_origin(route.response_model) is list and query_of(route) is not None


def reason_against(verb: str, route: RouteContext, query: type[ListQuery] | None) -> str | None:
    """Return why the checks do not test an operation, which might be this verb; None if they do."""
    return next((reason for check in REASONS for reason in check(verb, route, query)), None)


def many_methods(_: str, route: RouteContext, __: Any) -> Iterator[str]:
    if len((route.methods or set()) - {"HEAD"}) > 1:
        yield "it answers several methods"


def undocumented(_: str, route: RouteContext, __: Any) -> Iterator[str]:
    if not route.include_in_schema:
        yield "it is not in the document"


def required_parameters(_: str, route: RouteContext, __: Any) -> Iterator[str]:
    for field in parameters_of(route):
        model = model_of(field.field_info)
        members = {field.alias: field.field_info} if model is None else model.model_fields
        for name in (name for name, member in members.items() if member.is_required()):
            yield f"it needs the parameter {name}"


def other_response(verb: str, route: RouteContext, query: type[ListQuery] | None) -> Iterator[str]:
    """Yield why the response is not that of the verb.

    With a list, a response of the right status is left to the checks of declarations, unless it is another variant.
    """
    operation = route.original_route
    is_json = isinstance(route.response_class, DefaultPlaceholder)
    if not is_json or (isinstance(operation, Operation) and operation.is_generator):
        yield "its response is no single document of JSON"
    if verb in ("list", "show"):
        return
    status = route.status_code or 200
    if status != STATUS.get(verb, 200):
        yield f"a success is a {status}"
    shown = variant_of(route.response_model)
    if verb == "delete":
        return
    if route.response_model is None or (shown is None and query is None):
        yield "its response is no read variant"
    elif query is not None and shown is not None and issubclass(shown, Read) and not issubclass(shown, query.read):
        yield f"it shows {shown.__name__}, not {query.read.__name__}"


def undeclared_response(verb: str, route: RouteContext, _: Any) -> Iterator[str]:
    if verb == "show" and route.response_model in (None, Any):
        yield "it declares no response model"


def other_body(verb: str, route: RouteContext, _: Any) -> Iterator[str]:
    if verb in WRITING and body_of(route) is None:
        yield "its body is no JSON object of one model"
    elif verb == "update" and any(field.is_required() for field in body_of(route).model_fields.values()):
        yield "its body has required fields"


REASONS: Sequence[Callable[[str, RouteContext, Any], Iterator[str]]] = (
    many_methods, undocumented, required_parameters, other_response, undeclared_response, other_body
)  # fmt: skip


def tested_operations(app: Service) -> list[RouteContext]:
    """Return the operations that are verbs of a resource, without those that show a single thing."""
    routes = operations_of(app)
    verbs = [(verb, route) for path in paths_of(routes) for verb, route in verbs_at(path, routes).items()]
    bulks = [bulk_at(path, routes) for path in paths_of(routes)]
    return [*(route for verb, route in verbs if verb != "show"), *(bulk for bulk in bulks if bulk is not None)]


def untested(app: Service) -> dict[str, str]:
    """Return the operations that are no verb of a resource, by name, each with the reason."""
    routes = operations_of(app)
    tested = {id(route.original_route) for path in paths_of(routes) for route in verbs_at(path, routes).values()}
    tested |= {id(bulk.original_route) for path in paths_of(routes) if (bulk := bulk_at(path, routes))}
    return {name_of(route): why_untested(route, routes) for route in routes if id(route.original_route) not in tested}


def why_untested(route: RouteContext, routes: Sequence[RouteContext]) -> str:
    for path in paths_of(routes):
        verb = verb_of(path, route)
        query = next((query_of(other) for other in routes if is_list(path, other)), None)
        if verb is not None:
            return reason_against(verb, route, query) or "its resource shows rows by several read variants"
    return "its path is not that of a collection or of an item"


def bulk_at(path: str, routes: Sequence[RouteContext]) -> RouteContext | None:
    """Return the operation that creates many rows of the resource with this path, if there is one."""
    whole = f"{path.rstrip('/')}/bulk"
    found: Any = [route for route in routes if route.path_format == whole and method_of(route) == "POST"]
    return next((route for route in found if is_bulk(route.original_route) and route.status_code == 201), None)


def takes_preconditions(route: RouteContext) -> bool:
    assert isinstance(route.original_route, Operation)
    return has_precondition(route.original_route)


def own_parameters(route: RouteContext) -> set[str]:
    """Return the names of the parameters of the query, headers and cookies that the handler declares itself."""
    return {field.alias for field in parameters_of(route)}


def parameters_of(route: RouteContext) -> list[Any]:
    parts = dependencies_of(route.dependant)
    return [field for part in parts for field in (*part.query_params, *part.header_params, *part.cookie_params)]


def refuses_unknown_parameters(route: RouteContext) -> bool:
    """Return whether the handler reads no parameters beside those that it declares."""
    parts = list(dependencies_of(route.dependant))
    takes_request = any(may_read_others(part) and query_variant(part) is None for part in parts)
    return not takes_request and not any(map(allows_others, parts))


def query_of(route: RouteContext) -> type[ListQuery] | None:
    return next(filter(None, map(query_variant, dependencies_of(route.dependant))), None)


def method_of(route: RouteContext) -> str:
    return min(route.methods or {"GET"})


def name_of(route: RouteContext) -> str:
    return f"{method_of(route)} {route.path_format}"


def body_of(route: RouteContext) -> Any:
    """Return the model of the request body; None if the body is not the JSON object of one model."""
    fields = [field for part in dependencies_of(route.dependant) for field in part.body_params]
    info = fields[0].field_info if len(fields) == 1 else None
    if info is None or isinstance(info, Form) or getattr(info, "embed", False):
        return None
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def has_rules_of_its_own(body: Any) -> bool:
    """Return whether a body has validators beside the declarations of its fields, which refuse some valid values."""
    own = body.__pydantic_decorators__
    known = {"ignore_read_only"}
    return bool({*own.field_validators, *own.validators, *own.model_validators, *own.root_validators} - known)


def who_may_use(app: Service, route: RouteContext) -> Who:
    """Return the permission of an operation of the application."""
    if not app.runtime.permissions:
        app.check_routes()
    return app.runtime.permissions[id(route.original_route), method_of(route)]
