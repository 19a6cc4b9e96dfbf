"""Parts of types: fields of models, dataclasses, `TypedDict`s and named tuples, and the types within other types."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel


def is_of_fields(kind: Any) -> bool:
    """Return whether a type is a model, a dataclass, a `TypedDict` or a named tuple, also a generic one."""
    own = get_origin(kind) or kind
    return isinstance(own, type) and (
        issubclass(own, BaseModel) or is_dataclass(own) or hasattr(own, "__total__") or is_named_tuple(own)
    )


def is_named_tuple(kind: Any) -> bool:
    own = get_origin(kind) or kind
    return isinstance(own, type) and issubclass(own, tuple) and hasattr(own, "_fields")


@cache
def types_of_fields(kind: Any) -> Mapping[str, Any]:
    """Return the type of each field of a type with fields, such as `str` for `first` of `Pair[str]`.

    There are none if an annotation names a class that cannot be found, as one that is imported for type checkers only.
    """
    own = get_origin(kind) or kind
    arguments = dict(zip(getattr(own, "__parameters__", ()), get_args(kind), strict=False))
    return {name: with_arguments(each, arguments) for name, each in declared_types(own).items()}


def declared_types(own: Any) -> Mapping[str, Any]:
    if issubclass(own, BaseModel):
        own.model_rebuild(raise_errors=False)
    if hasattr(own, "__pydantic_fields__"):
        return {name: field.annotation for name, field in own.__pydantic_fields__.items()}
    hints = resolved_hints(own)
    names = [field.name for field in fields(own)] if is_dataclass(own) else hints
    return {name: hints[name] for name in names if name in hints}


def resolved_hints(own: Any) -> Mapping[str, Any]:
    try:
        return get_type_hints(own, localns={own.__name__: own})  # a class in a function may refer to itself
    except NameError:
        return {}


def with_arguments(kind: Any, arguments: Mapping[Any, Any]) -> Any:
    """Return a type with its type variables replaced by the arguments of the generic type that contains it."""
    if isinstance(kind, TypeVar):
        return arguments.get(kind, kind)
    variables = () if isinstance(kind, type) else getattr(kind, "__parameters__", ())
    return kind[tuple(arguments.get(each, each) for each in variables)] if variables else kind


def is_named(kind: Any) -> bool:
    """Return whether a type is a name for another one (`type Rows = list[Row]`), also a generic one."""
    own = get_origin(kind) or kind
    return hasattr(own, "__value__") and not isinstance(own, type)


def type_behind(kind: Any) -> Any:
    """Return the type that has a name, such as `list[Row]` for `Rows`, or for `Many[Row]`."""
    own = get_origin(kind) or kind
    return with_arguments(own.__value__, dict(zip(own.__type_params__, get_args(kind), strict=False)))


def types_within(kind: Any) -> Sequence[Any]:
    """Return the types of which another type consists, without those of its fields."""
    return (type_behind(kind),) if is_named(kind) else get_args(kind)


def without_names(kind: Any, inside: Sequence[Any] = ()) -> Any:
    """Return a type with the types behind all names in it. A name within its own type remains.

    `inside` are the names whose types contain it.
    """
    if is_named(kind):
        own = get_origin(kind) or kind
        return kind if own in inside else without_names(type_behind(kind), [*inside, own])
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return Annotated[without_names(parts[0], inside), *parts[1:]]
    plain = tuple(without_names(part, inside) for part in parts)
    if plain == parts:
        return kind
    return Union[plain] if origin is UnionType else origin[plain]  # noqa: UP007  the parts may be other than classes
