"""Strict dataclasses, `TypedDict`s and named tuples in bodies: their JSON is checked as that of a body is.

Pydantic alone would convert the values of their fields, as `"5"` to 5, and ignore unknown ones. Classes with aliases or
validators of pydantic read their input themselves, and stay as they are.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, InitVar, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, NotRequired, Required, get_args, get_origin, get_type_hints

from pydantic import (
    ConfigDict,
    GetCoreSchemaHandler,
    TypeAdapter,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    with_config,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema
from typing_extensions import ReadOnly, TypedDict

from kit.models.annotations import Movable
from kit.models.type_parts import is_named_tuple, with_arguments

Strict = Callable[[Any], Any]
"""A function that returns the strict form of a type."""
QUALIFIERS = (Required, NotRequired, ReadOnly)


@dataclass(frozen=True)
class StrictFields(Movable):
    """The annotation of a class with fields that is no model, by which its fields are as strict as those of a body."""

    kind: Any
    strict: Strict

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_wrap_validator_function(self.read, handler(source))

    def read(self, value: object, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
        if not isinstance(value, dict | list):
            return validate(value)  # an instance, or an error of the class
        return validate(strict_adapter(self.kind, self.strict).validate_python(value, context=info.context))


@cache
def strict_adapter(kind: Any, strict: Strict) -> TypeAdapter[Any]:
    """Return the adapter of a `TypedDict`, or named tuple, with the same fields, which are strict."""
    own = get_origin(kind) or kind
    if has_own_rules(own):
        return TypeAdapter(Any)
    types = {name: strict(each) for name, each in annotations_of(kind).items()}
    return TypeAdapter(tuple_of(own, types) if is_named_tuple(own) else dictionary_of(own, types))


def tuple_of(own: Any, types: Mapping[str, Any]) -> Any:
    """Return a named tuple with the names and defaults of another one, and with these types."""
    alike: Any = namedtuple(own.__name__, own._fields, defaults=own._field_defaults.values())  # type: ignore[misc]
    alike.__annotations__ = dict(types)
    return alike


def dictionary_of(own: Any, types: Mapping[str, Any]) -> Any:
    """Return a `TypedDict` with the names of the fields of a class, and with these types. Other names are errors."""
    required = own.__required_keys__ if hasattr(own, "__required_keys__") else set(required_of(own, types))
    keys = {name: each if name in required else NotRequired[each] for name, each in types.items()}
    alike = TypedDict(own.__name__, keys)  # type: ignore[misc]  # its fields are not known to type checkers
    given = getattr(own, "__pydantic_config__", {})
    return with_config(ConfigDict(extra=given.get("extra") or "forbid"))(alike)


def has_own_rules(own: Any) -> bool:
    """Return whether a class has aliases or validators of pydantic."""
    if not is_dataclass(own):
        return False
    decorators: Any = getattr(own, "__pydantic_decorators__", None)
    validators = decorators and (*decorators.field_validators, *decorators.model_validators)
    known = getattr(own, "__pydantic_fields__", {}).values()
    defaults = [*known, *(field.default for field in fields(own))]
    return bool(validators) or any(isinstance(each, FieldInfo) and each.validation_alias for each in defaults)


def annotations_of(kind: Any) -> Mapping[str, Any]:
    """Return the annotation of each field that the JSON of a class may have."""
    own = get_origin(kind) or kind
    hints = get_type_hints(own, localns={own.__name__: own}, include_extras=True)
    if is_dataclass(own):
        given = {field.name for field in fields(own) if field.init}
        hints = {name: each for name, each in hints.items() if name in given or isinstance(each, InitVar)}
    arguments = dict(zip(getattr(own, "__parameters__", ()), get_args(kind), strict=False))
    return {name: with_arguments(unqualified(each), arguments) for name, each in hints.items()}


def unqualified(annotation: Any) -> Any:
    """Return the type in `NotRequired[…]`, `InitVar[…]` and the like."""
    if isinstance(annotation, InitVar):
        return annotation.type
    return unqualified(get_args(annotation)[0]) if get_origin(annotation) in QUALIFIERS else annotation


def required_of(own: Any, names: Iterable[str]) -> Iterator[str]:
    """Yield those of the fields of a dataclass that have no default."""
    made = {each.name for each in fields(own) if each.default_factory is not MISSING}
    defaults = {each.name: each.default for each in fields(own)}
    yield from (
        name for name in names if name not in made and defaults.get(name, getattr(own, name, MISSING)) is MISSING
    )
