"""Shown rows: finds the rows in the result of a handler, at any depth, each with what the response model shows of it.

The result and the response model are walked side by side, as pydantic validates one by the other: models, dataclasses
and the like by their fields, dictionaries and sequences by their elements.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, RootModel

from kit.models.type_parts import is_named, is_named_tuple, is_of_fields, type_behind, types_of_fields
from kit.query.shown_values import Shown, paths_of, shown_by

SEQUENCES = (Sequence, Set, deque)


def rows_by_shown(result: Any, model: Any) -> Mapping[Shown, Sequence[Any]]:
    """Return the rows in a result that the response model shows, grouped by what it shows of them."""
    groups: defaultdict[Shown, list[Any]] = defaultdict(list)
    for row, shown in shown_rows(result, model):
        groups[shown].append(row)
    return groups


def shown_rows(value: Any, model: Any) -> Iterator[tuple[Any, Shown]]:
    """Yield the rows in a value of the type `model`, each with what is shown of it."""
    if value is None or not has_fields(model):
        return
    is_row = hasattr(type(value), "__mapper__")
    if is_row and isinstance(model, type) and issubclass(model, BaseModel):
        yield value, shown_by(model)
    for part, kind in () if is_row and is_of_fields(model) else parts_within(value, model):
        yield from shown_rows(part, kind)


def parts_within(value: Any, model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the parts of a value with their types, or the value itself with the types that a type stands for."""
    if choices := choices_of(model):
        yield from ((value, choice) for choice in choices)
    elif is_named_tuple(model) and isinstance(value, SEQUENCES):
        yield from zip(value, types_of_fields(model).values(), strict=False)
    elif is_of_fields(model):
        yield from ((part_of(value, names), kind) for names, kind in fields_of(model))
    elif isinstance(value, Mapping):
        yield from ((part, get_args(model)[-1]) for part in value.values())
    elif isinstance(value, SEQUENCES) and not isinstance(value, str | bytes):
        yield from zip(value, kinds_of(model, len(value)), strict=False)


def choices_of(model: Any) -> Sequence[Any]:
    """Return the types of a union, or the one that has a name or annotations."""
    if is_named(model):
        return (type_behind(model),)
    if get_origin(model) is Annotated:
        return (model.__origin__,)
    return get_args(model) if get_origin(model) in (Union, UnionType) else ()


def has_fields(model: Any) -> bool:
    """Return whether a type is a type with fields, or contains one."""
    return is_of_fields(model) or is_named(model) or any(map(has_fields, get_args(model)))


@cache
def fields_of(model: Any) -> Sequence[tuple[Sequence[str], Any]]:
    """Return the fields whose types have fields themselves, each with the names under which its value is read."""
    types = {name: kind for name, kind in types_of_fields(model).items() if has_fields(kind)}
    if isinstance(model, type) and issubclass(model, RootModel):
        return [((), kind) for kind in types.values()]
    known = getattr(get_origin(model) or model, "__pydantic_fields__", {})
    aliases = {name: known[name].validation_alias if name in known else None for name in types}
    return [
        ((*(path[0] for path in paths_of(aliases[name]) if len(path) == 1), name), kind) for name, kind in types.items()
    ]


def part_of(value: Any, names: Sequence[str]) -> Any:
    """Return the value of a field, under one of its names; without names, the value itself."""
    if not names:
        return value
    is_mapping = isinstance(value, Mapping)
    found = (value.get(name) if is_mapping else getattr(value, name, None) for name in names)
    return next((part for part in found if part is not None), None)


def kinds_of(model: Any, number: int) -> Sequence[Any]:
    """Return the types of the elements of a sequence."""
    kinds = get_args(model)
    is_tuple = get_origin(model) is tuple and Ellipsis not in kinds
    return kinds if is_tuple else kinds[:1] * number
