"""Strict and bounded fields: replaces the field types of a body or a table, once for each class.

A field's type gets the JSON form of its kind (`kit.models.json_forms`), and the bounds without which a column could not
store all values. All other annotations of the field stay, in their order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticUndefined, core_schema

from kit.models.annotations import (
    Movable,
    annotated,
    is_column_option,
    is_movable,
    rules_of,
    split,
    unpacked,
    with_replaced_types,
)
from kit.models.bound_checks import refuse_unsuitable
from kit.models.bounds import combined, digits_of, missing_bounds, patterns_to_check, without_bounds
from kit.models.json_forms import WRITTEN, DecimalForm, JSONForm, ResponseForm
from kit.models.kinds import Shape, shape_of

RESPONSE_FORMS = frozenset({*WRITTEN, "time"})
"""The kinds that a response serializes differently from pydantic."""

ReplaceInField = Callable[[Any, Sequence[Any], FieldInfo | None], Any]
"""Returns the replacement of a type, given its annotations and its field; the field is None inside another type."""
_strict_models: set[type[BaseModel]] = set()


@dataclass(frozen=True)
class StrictModel(Movable):
    """Annotates a model that is not a `Body`, so that its fields are as strict as those of a body."""

    model: type[BaseModel]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def read(self, value: object) -> object:
        if not isinstance(value, dict):
            return value  # an instance, or an error of the model
        checked = strict_variant(self.model).model_validate(value)
        given = {name: getattr(checked, name) for name in checked.model_fields_set}
        return self.model.model_validate(given, by_name=True, by_alias=False)


@cache
def strict_variant(model: type[BaseModel]) -> type[BaseModel]:
    """Return a subclass with strict fields. Unknown fields are errors, unless the model's `extra` is set."""
    variant = create_model(model.__name__, __base__=model, __module__=model.__module__)
    variant.model_config["extra"] = model.model_config.get("extra") or "forbid"
    build(variant, is_changed=make_strict(variant))
    return variant


def make_strict(model: type[BaseModel]) -> bool:
    """Make the fields of a class strict, and add bounds where a column could not store all values.

    Returns whether a field was changed. The class has to be built after it: see `build`.
    """
    _strict_models.add(model)
    types_changed = replace_types(model, strict_type)
    return validate_defaults(model) or types_changed


def build(model: type[BaseModel], *, is_changed: bool) -> None:
    """Build the validator and the serializer of a class whose config defers it until its fields are changed.

    An unchanged class may name a class that does not exist yet; pydantic builds it when it is first used.
    """
    model.model_config["defer_build"] = False  # otherwise FastAPI's parameters of this class are built by a request
    model.model_rebuild(force=True, raise_errors=is_changed)


def validate_defaults(model: type[BaseModel]) -> bool:
    """Convert the defaults once, as values are converted: 0 of an amount to 0.00. Raise a TypeError for an invalid one.

    Returns whether a default was changed.

    A default next to a function of the resource is left alone, because the function may need the other fields.
    """
    is_changed = False
    for name, field in model.model_fields.items():
        others = [part for part in field.metadata if not is_column_option(part) and not is_movable(part)]
        if field.default is None or field.default is PydanticUndefined or others:
            continue
        adapter: TypeAdapter[Any] = TypeAdapter(annotated(*rules_of(field)))
        try:
            default = adapter.validate_python(field.default)
        except ValidationError as failure:
            problem = failure.errors()[0]["msg"]
            raise TypeError(f"{model.__name__}.{name} has a default that it refuses: {problem}.") from None
        is_changed |= repr(default) != repr(field.default)
        field.default = default
    return is_changed


def use_response_forms(model: type[BaseModel]) -> bool:
    """Make the fields of a response serialize values in the form that bodies accept. Returns as `make_strict` does."""
    return replace_types(model, response_type)


def replace_types(model: type[BaseModel], replace: ReplaceInField) -> bool:
    refuse_unsuitable(model)
    is_changed = False
    for field in model.model_fields.values():
        movable, fixed = split(field.metadata)
        annotation, remaining = with_replaced_types(field.annotation, movable, partial(replace_in, field, replace))
        plain, own = unpacked(annotation)
        metadata = [*own, *remaining, *fixed]
        if (plain, metadata) != (field.annotation, field.metadata):
            field.annotation, field.metadata, is_changed = plain, metadata, True
    return is_changed


def replace_in(field: FieldInfo, replace: ReplaceInField, plain: Any, metadata: Sequence[Any], is_whole: bool) -> Any:
    """Replace a type of a field; its options belong to the whole type, not to the types inside it."""
    return replace(plain, metadata, field if is_whole else None)


FORMS = (JSONForm, ResponseForm, StrictModel)


def strict_type(plain: Any, metadata: Sequence[Any], field: FieldInfo | None) -> Any:
    """Return the type with its bounds combined, the missing ones added, and its form."""
    shape = shape_of(plain, metadata)
    given = next((part for part in metadata if isinstance(part, FORMS)), None)
    if shape.kind is None and given is None:
        return annotated(plain, metadata)
    others = list(without_bounds(part for part in metadata if not isinstance(part, FORMS)))
    functions = [part for part in others if hasattr(part, "func")]
    options = [part for part in others if not hasattr(part, "func")]
    first, more = patterns_to_check(shape)
    form = form_of(shape, given, more)
    bounds = [*combined(shape, first), *missing_bounds(shape, field), *([] if form is None else [form])]
    return annotated(plain, [*options, *bounds, *functions])


def form_of(shape: Shape, given: Any, patterns: tuple[Any, ...]) -> Any:
    """Return the form of a type, of which `given` is an earlier one; None if it is strict already."""
    kind, plain = shape.kind, shape.plain
    if kind == "decimal":
        return DecimalForm("decimal", (), *digits_of(shape))
    if kind in ("text", "email"):
        return JSONForm(getattr(given, "name", kind), patterns)
    if kind != "json":
        return given or JSONForm(str(kind))
    if not isinstance(plain, type) or not issubclass(plain, BaseModel):
        return given or JSONForm("json")
    return given or (None if _strict_models.intersection(plain.__mro__) else StrictModel(plain))


def response_type(plain: Any, metadata: Sequence[Any], _: FieldInfo | None) -> Any:
    shape = shape_of(plain, metadata)
    if shape.kind not in RESPONSE_FORMS or any(isinstance(part, FORMS) for part in metadata):
        return annotated(plain, metadata)
    return annotated(plain, [*metadata, ResponseForm(shape.kind)])
