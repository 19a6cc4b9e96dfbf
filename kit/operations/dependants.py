"""Dependants: walks the dependencies of a handler, and finds the query parameters that FastAPI reads for them."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import APIKeyQuery
from pydantic import AliasChoices, AliasPath, BaseModel, Json
from pydantic.fields import FieldInfo

from kit.query.list_query import ListQuery
from kit.query.parameters import DeclaredParameters

Overrides = Mapping[Callable[..., Any], Callable[..., Any]]
SEQUENCES: tuple[type, ...] = (Sequence, set, frozenset, deque)
NO_OVERRIDES: Overrides = {}


def dependencies_of(dependant: Dependant, overrides: Overrides = NO_OVERRIDES) -> Iterator[Dependant]:
    """Yield the `Dependant`s of a handler and of all its dependencies, each replaced by its override."""
    yield dependant
    for part in dependant.dependencies:
        override = overrides.get(part.call) if part.call is not None else None
        used = part if override is None else APIRoute(part.path or "/", override, response_model=None).dependant
        yield from dependencies_of(used, overrides)


def query_variant(dependant: Dependant) -> type[ListQuery] | None:
    """Return the `ListQuery` class of a dependency; None for other dependencies."""
    maker = getattr(dependant.call, "__self__", dependant.call)
    return maker if isinstance(maker, type) and issubclass(maker, ListQuery) else None


def is_list_query(call: Any) -> bool:
    """Return whether a dependency is a `ListQuery` class, or its `of_one`, as the kit defines them.

    Others may be generators, or block the event loop.
    """
    if isinstance(call, type):
        return issubclass(call, ListQuery) and call.__init__ is ListQuery.__init__
    return getattr(call, "__func__", None) is vars(ListQuery)["of_one"].__func__


def declared_parameters(dependant: Dependant, overrides: Overrides = NO_OVERRIDES) -> DeclaredParameters:
    """Return the query parameters that FastAPI reads for a handler and its dependencies.

    One that is read as a list somewhere may be repeated.
    """
    parts = list(dependencies_of(dependant, overrides))
    found = [parameter for part in parts for parameter in query_parameters(part)]
    repeatable = {name for name, is_single in found if not is_single}
    return DeclaredParameters(
        names=tuple(dict.fromkeys(name for name, _ in found)),
        single=tuple(dict.fromkeys(name for name, _ in found if name not in repeatable)),
        allows_others=any(map(allows_others, parts)),
        is_complete=not any(map(may_read_others, parts)),
    )


def query_parameters(part: Dependant) -> Iterator[tuple[str, bool]]:
    """Yield the query parameters of a dependency, each with whether it may be given only once."""
    if isinstance(part.call, APIKeyQuery):
        yield part.call.model.name, True
    for field in part.query_params:
        info = field.field_info
        if model := model_of(info):
            for name, member in model.model_fields.items():
                yield from parameters_of(name, member, model)
        elif has_path(info):  # FastAPI ignores the path of a parameter that is not in a model
            yield field.alias, not is_list(info)
        else:
            yield from parameters_of(field.alias, info)


def parameters_of(name: str, info: FieldInfo, model: type[BaseModel] | None = None) -> Iterator[tuple[str, bool]]:
    """Yield the names under which a field may be given, each with whether it may be given only once."""
    alias, config = info.validation_alias or info.alias or name, model.model_config if model else {}
    is_by_name = config.get("validate_by_name", config.get("populate_by_name", False))
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    if config.get("validate_by_alias") is False:
        choices = [name]
    for choice in [*choices, name] if is_by_name else choices:
        is_path = isinstance(choice, AliasPath)  # a part of a repeated parameter
        yield str(choice.path[0] if isinstance(choice, AliasPath) else choice), not (is_path or is_list(info))


def has_path(info: FieldInfo) -> bool:
    alias = info.validation_alias
    return any(isinstance(part, AliasPath) for part in (alias.choices if isinstance(alias, AliasChoices) else [alias]))


def model_of(info: FieldInfo) -> type[BaseModel] | None:
    """Return the model whose fields are the query parameters, also if it is optional; None for a single parameter."""
    kind: Any = info.annotation
    if get_origin(kind) in (Union, UnionType):
        kind, *others = [part for part in get_args(kind) if part is not NoneType]
        kind = None if others else kind
    is_model = isinstance(kind, type) and issubclass(kind, BaseModel) and not is_json(info)
    return kind if is_model else None


def is_list(info: FieldInfo) -> bool:
    """Return whether FastAPI reads a parameter as a list."""
    return is_sequence(info.annotation) and not is_json(info)


def is_json(info: FieldInfo) -> bool:
    return any(type(part) is Json for part in info.metadata)


def is_sequence(kind: Any) -> bool:
    """Return whether FastAPI takes a type for a sequence; a union if it takes one of its types so."""
    origin = get_origin(kind)
    if origin is Annotated:
        return is_sequence(kind.__origin__)
    if origin in (Union, UnionType):
        return any(map(is_sequence, get_args(kind)))
    made: Any = origin or kind
    return isinstance(made, type) and issubclass(made, SEQUENCES) and not issubclass(made, str | bytes)


def allows_others(part: Dependant) -> bool:
    """Return whether a dependency has a model of parameters that takes others too (`extra="allow"`)."""
    models = [model_of(field.field_info) for field in part.query_params]
    return any(model is not None and model.model_config.get("extra") == "allow" for model in models)


def may_read_others(part: Dependant) -> bool:
    """Return whether a dependency may read parameters that it does not declare: by `ListQuery` or by the request."""
    takes_request = bool(part.request_param_name or part.http_connection_param_name)
    return query_variant(part) is not None or (takes_request and not (is_of_the_kit(part) or is_security_scheme(part)))


def is_of_the_kit(dependant: Dependant) -> bool:
    return str(getattr(dependant.call, "__module__", "")).startswith("kit.")


def is_security_scheme(dependant: Dependant) -> bool:
    """Return whether a dependency is a scheme of FastAPI, such as `HTTPBearer()`, which reads only what it declares."""
    method = getattr(type(dependant.call), "__call__", None)  # noqa: B004  the method, also of a subclass
    return str(getattr(method, "__module__", "")).startswith("fastapi.security.")
