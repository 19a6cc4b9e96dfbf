"""The route class of resources: with `route_class=allowing(…)`, each handler runs in a unit of work."""

import functools
import inspect
import re
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from fastapi.datastructures import Default, DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.params import Depends, Form
from fastapi.routing import APIRoute
from fastapi.utils import generate_unique_id
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from kit.auth.permissions import Permissions, Who
from kit.http.problems import Problem
from kit.models.entities import Entity
from kit.operations.commits import SessionResponse
from kit.operations.dependants import declared_parameters, dependencies_of, is_of_the_kit
from kit.operations.embedded_bodies import Members, embedded_members
from kit.operations.failures import exception_for_handlers
from kit.operations.handlers import is_generator
from kit.operations.results import with_converted_result
from kit.operations.unit_of_work import Handle, perform
from kit.query.parameters import DeclaredParameters
from kit.runtime import runtime_of

VERBS = frozenset({"list", "bulk", "create", "read", "replace", "update", "delete"})
"""The first words of the names of handlers, which names of resources may contain too."""


def operation_id(route: Any) -> str:
    """Return a short and stable operation id: `invoices-create` for `create_invoice` with the tag `invoices`.

    Under the prefix `/v2` it is `v2-invoices-create`. Without a tag it is FastAPI's own operation id.
    """
    if not route.tags:
        return generate_unique_id(route)
    own = getattr(route, "original_route", route)
    own_path = own.path_format
    prefix = _words(route.path_format.removesuffix(own_path))
    tag = _words(str(getattr(route.tags[0], "value", route.tags[0])))
    return "-".join([*prefix, *tag, *_without_noun(_words(route.name), tag, _noun_of(own, tag))])


def _words(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower())


def _noun_of(route: Any, tag: list[str]) -> list[str]:
    """Return the words of the resource's name in singular, such as `person`; none for other paths."""
    returned = getattr(getattr(route, "handler", None), "__annotations__", {}).get("return")
    is_own = re.fullmatch(rf"/{'-'.join(tag)}(/|/bulk|/{{\w+}})?", route.path_format)
    if not is_own or not isinstance(returned, type) or not issubclass(returned, Entity):
        ids = re.findall(r"/{(\w+)_id}$", route.path_format) if is_own else []
        return _words(ids[0].replace("_", " ")) if ids else []
    return _words(re.sub("([a-z0-9])([A-Z])", r"\1 \2", returned.__name__))


def _without_noun(name: list[str], tag: list[str], noun: list[str]) -> list[str]:
    """Return the words of a handler's name without the name of the resource in singular or plural.

    A verb that the name of the resource contains is removed with the resource only: `read_message_read` is `read`.
    """
    nouns = {form for word in tag for form in _forms(word)} | {*noun}
    for phrase in filter(None, (noun, tag)):
        places = [place for place in range(len(name)) if _is_phrase(name[place : place + len(phrase)], phrase)]
        if places:
            rest = name[: places[-1]] + name[places[-1] + len(phrase) :]
            return [word for word in rest if word in VERBS or word not in nouns]
    return [word for word in name if word not in nouns]


def _is_phrase(words: list[str], phrase: list[str]) -> bool:
    return len(words) == len(phrase) and all(word in _forms(other) for word, other in zip(words, phrase, strict=True))


def _forms(word: str) -> set[str]:
    """Return a word, and what may be its singular."""
    return {word, word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word)}


class Operation(APIRoute):
    """A route whose handler runs in a unit of work. `handler` is the function that the resource defines."""

    permissions: ClassVar[Permissions] = Permissions()
    methods: set[str]
    open_response_class: ClassVar[type[SessionResponse]] = SessionResponse
    """The class of responses that use the session after the handler has returned: streams, background tasks."""
    is_described = False
    """Whether `kit.openapi` has completed its OpenAPI."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        refuse_other_sessions(endpoint)
        self.handler = endpoint
        self.body_limit: int | None = options.pop("max_body_size", None)
        if isinstance(options.get("generate_unique_id_function", Default(None)), DefaultPlaceholder):
            options["generate_unique_id_function"] = Default(operation_id)
        super().__init__(path, with_converted_result(endpoint), **options)
        self.permission_by_method = {method: self.permissions.of(method, path) for method in sorted(self.methods)}
        self.permission, self.read_permission = next(iter(self.permission_by_method.values())), self.permissions.read
        self.is_generator = is_generator(endpoint)
        self.takes_form = self.body_field is not None and isinstance(self.body_field.field_info, Form)
        self.ends_dependencies = False
        """Whether a dependency ends after the handler and before the response."""
        self.declared = DeclaredParameters()
        """The query parameters of the handler and its dependencies, those of routers included."""
        self.members: Members = frozenset()
        """The members of the body, if there are several parameters for it, those of routers included."""
        self.inspect_dependencies(self.dependant)

    def __eq__(self, other: object) -> bool:
        """Compare by identity. Starlette compares path, endpoint and methods, but operations have further options."""
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def inspect_dependencies(self, dependant: Dependant) -> None:
        """Store facts about the handler and its dependencies, those of routers included."""
        self.declared = self.declared.joined(declared_parameters(dependant))
        self.members = embedded_members(dependant)  # the last call is for the route as it is included
        self.ends_dependencies |= any(map(ends_before_response, dependencies_of(dependant)))

    def declared_in(self, app: Any) -> DeclaredParameters:
        """Return the query parameters while dependencies are overridden in this application."""
        declared = [
            declared_parameters(context.dependant, app.dependency_overrides) for context in app.contexts[id(self)]
        ]
        return functools.reduce(DeclaredParameters.joined, declared)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return functools.partial(serve, self, super().get_route_handler())


def refuse_other_sessions(handler: Callable[..., Any]) -> None:
    """Raise a TypeError for a parameter annotated with a session of a library, which FastAPI would take for a field.

    The dependencies of the handler are checked too.
    """
    for name, parameter in inspect.signature(handler).parameters.items():
        kind = parameter.annotation
        is_session = isinstance(kind, type) and issubclass(kind, orm.Session | AsyncSession)
        if is_session and parameter.default is parameter.empty:
            raise TypeError(
                f"{getattr(handler, '__name__', handler)} takes `{name}: {kind.__name__}` of {kind.__module__}: import "
                "`Session`, or `ReadSession` for GET, from `kit`."
            )
        for part in (*getattr(kind, "__metadata__", ()), parameter.default):
            if isinstance(part, Depends):
                refuse_other_sessions(part.dependency or getattr(kind, "__origin__", kind))


async def serve(route: Operation, handle: Handle, request: Request) -> Response:
    """Serve a request to an operation; without FastAPI's dependency resolution if `kit.operations.arguments` can."""
    app = request.scope["app"]
    direct = None if app.dependency_overrides else runtime_of(request).direct_handles.get(id(route))
    ends_dependencies = route.ends_dependencies and not direct
    try:
        return await perform(route, direct or handle, request, ends_dependencies=ends_dependencies)
    except Problem as problem:
        raise exception_for_handlers(app, problem) from problem.__cause__


def allowing(**who: Who) -> type[Operation]:
    """Return the route class of a resource, with the permissions `read`, `create`, `bulk` and `change`.

    `read` is for GET, `create` for POST, `bulk` for POST to a path that ends in `/bulk`, `change` for other methods.
    The default of each is `Who.SUPERUSERS`.
    """
    return type("Operation", (Operation,), {"permissions": Permissions(**who)})


def ends_before_response(dependant: Dependant) -> bool:
    """Return whether a dependency has `yield` and `scope="function"`, and is not part of the kit."""
    call = dependant.call
    return call is not None and dependant.scope == "function" and is_generator(call) and not is_of_the_kit(dependant)
