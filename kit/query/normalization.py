"""Normalization of filter values: the validators of a field change them as they change the values that are stored.

`EmailStr` stores `A@Example.COM` as `A@example.com`, so a filter by the former has to find the latter.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, TypeAdapter, ValidationError

from kit.models.annotations import annotated, calls_function, rules_of
from kit.models.bounds import flattened
from kit.models.kinds import shape_of_field

SETTINGS = ("str_to_lower", "str_to_upper", "str_strip_whitespace")
"""The settings of a model that change text."""
FLAGS = ("to_lower", "to_upper", "strip_whitespace")
"""The options of `StringConstraints` that change text."""
VALIDATORS: dict[str, Callable[[Any], Any]] = {
    "before": pydantic.BeforeValidator, "after": pydantic.AfterValidator,
    "plain": pydantic.PlainValidator, "wrap": pydantic.WrapValidator,
}  # fmt: skip


def normalized(kind: Any, model: type[BaseModel], name: str) -> Any:
    """Return a type of filter values, extended by the validators of the field `name`; `kind` itself if it has none.

    A field is left out if a validator takes the `info` of its model, because a filter has no other fields.
    """
    field, settings = model.model_fields[name], model.model_config
    plain, rules = rules_of(field)
    functions = list(validators_of(model, name))
    shape, config = shape_of_field(field), {key: settings[key] for key in SETTINGS if key in settings}  # type: ignore[literal-required]
    parts = [*flattened(shape.metadata), *functions]
    may_change = bool(config) or shape.kind == "email" or any(map(changes, parts))
    if not may_change or any(map(takes_info, parts)):
        return kind
    adapter = TypeAdapter[Any](annotated(plain, [*rules, *functions]), config=config)  # type: ignore[arg-type]
    return Annotated[kind, pydantic.AfterValidator(partial(as_stored, adapter))]


def validators_of(model: type[BaseModel], name: str) -> Iterator[Any]:
    """Yield the methods with `@field_validator` for a field, as annotations."""
    for decorator in model.__pydantic_decorators__.field_validators.values():
        if not {name, "*"}.isdisjoint(decorator.info.fields):
            yield VALIDATORS[decorator.info.mode](decorator.func)


def changes(part: object) -> bool:
    """Return whether an annotation may change a value of the type of its field."""
    return calls_function(part) or any(getattr(part, flag, None) for flag in FLAGS)


def takes_info(part: Any) -> bool:
    """Return whether the function of a validator has a parameter for the `info` of pydantic."""
    if not hasattr(part, "func"):
        return False
    try:
        parameters = inspect.signature(part.func).parameters.values()
    except ValueError:  # a type such as `int`
        return False
    required = [each for each in parameters if each.default is each.empty and each.kind is not each.VAR_KEYWORD]
    return len(required) > (2 if isinstance(part, pydantic.WrapValidator) else 1)


def as_stored(adapter: TypeAdapter[Any], value: Any) -> Any:
    """Return a value as the validators of its field change it.

    A value that they refuse, or that they would change at each validation, is returned as it is.
    """
    try:
        changed = adapter.validate_python(value)
        return changed if adapter.validate_python(changed) == changed else value
    except ValidationError:
        return value
