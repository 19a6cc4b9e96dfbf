"""Strict and bounded fields: replaces the field types of a body or table when the class is defined.

Each type gets the JSON form of its kind (`kit.models.json_forms`), and the bounds that its column needs
(`kit.models.bounds`). All other annotations of the field remain, in their order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    RootModel,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    create_model,
)
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
from kit.models.columns import StoredContext
from kit.models.json_forms import WRITTEN, DecimalForm, JSONForm, ResponseForm
from kit.models.kinds import Shape, shape_of, shape_of_field
from kit.models.strict_fields import StrictFields
from kit.models.type_parts import is_of_fields, without_names

RESPONSE_FORMS = frozenset({*WRITTEN, "time"})
"""The kinds of types whose form in responses differs from pydantic's."""

ReplaceInField = Callable[[Any, Sequence[Any], FieldInfo | None], Any]
"""A function that returns the replacement of a type, by its annotations and field (None within another type)."""
_strict_models: set[type[BaseModel]] = set()


@dataclass(frozen=True)
class StrictModel(Movable):
    """The annotation of a model that is not a `Body`, by which its fields are as strict as those of a body."""

    model: type[BaseModel]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_wrap_validator_function(self.read, handler(source))

    def read(self, value: object, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
        is_root = issubclass(self.model, RootModel) and not isinstance(value, BaseModel)
        if not isinstance(value, dict) and not is_root:
            return validate(value)  # an instance, or an error of the model
        variant, context = strict_variant(self.model), info.context
        if isinstance(context, StoredContext) and isinstance(value, dict):
            given = {name: part for name, part in value.items() if name not in self.model.model_computed_fields}
            read = variant.model_validate(given, by_name=True, by_alias=True, context=context)
        else:
            read = variant.model_validate(value, context=context)
        made = self.model.__new__(self.model)  # to validate it again would call its validators again
        made.__setstate__(read.__getstate__())
        return made if validates_instances(self.model) else validate(made)  # a union looks at how it was validated


@cache
def validates_instances(model: type[BaseModel]) -> bool:
    """Return whether pydantic validates instances of a model too.

    It does by model validators with `mode="after"` or "wrap", and by `revalidate_instances`.
    """
    validators: Any = model.__pydantic_decorators__.model_validators
    is_set = model.model_config.get("revalidate_instances", "never") != "never"
    return is_set or any(validator.info.mode != "before" for validator in validators.values())


@cache
def strict_variant(model: type[BaseModel]) -> type[BaseModel]:
    """Return a subclass of a model with strict fields. Unknown fields are errors, unless the model sets `extra`."""
    variant = create_model(model.__name__, __base__=model, __module__=model.__module__)
    if not issubclass(model, RootModel):
        variant.model_config["extra"] = model.model_config.get("extra") or "forbid"
    build(variant, is_changed=make_strict(variant))
    return variant


def make_strict(model: type[BaseModel]) -> bool:
    """Make the fields of a class strict, and add the bounds that their columns need.

    Returns whether a field was changed. `build` has to be called afterwards. Raises a TypeError for an unsuitable bound
    or default.
    """
    refuse_settings(model)
    _strict_models.add(model)
    types_changed = replace_types(model, strict_type)
    return validate_defaults(model) or types_changed


def build(model: type[BaseModel], *, is_changed: bool) -> None:
    """Build the validator and the serializer of a class with `defer_build`, after its fields were changed.

    A class without changes (`is_changed`) may refer to a class that is not defined yet. If so, pydantic builds it on
    first use.
    """
    model.model_config["defer_build"] = False  # otherwise FastAPI's parameters of this class are built by a request
    model.model_rebuild(force=True, raise_errors=is_changed)


REFUSED_SETTINGS: Mapping[str, str] = {
    "allow_inf_nan": "JSON has neither NaN nor Infinity, and the databases sort them differently",
    "val_temporal_unit": "a number is neither a time nor a duration",
    "val_json_bytes": "bytes are Base64",
    "coerce_numbers_to_str": "a number is not text: annotate a field that may be both with `int | str`",
}
"""The settings of pydantic that change which JSON is accepted, and would have no effect, each with the reason."""


def refuse_settings(model: type[BaseModel]) -> None:
    """Raise a TypeError for a setting of a strict model that would have no effect."""
    for name, reason in REFUSED_SETTINGS.items():
        if model.model_config.get(name):
            raise TypeError(f"{model.__name__} sets {name} in `model_config`, but {reason}. Leave it out.")


def validate_defaults(model: type[BaseModel]) -> bool:
    """Validate the defaults of a class, and replace them by the results, such as 0 of an amount by 0.00.

    Returns whether a default was changed. Raises a TypeError for an invalid default. A field with a validator of the
    application is skipped, because the validator may need the other fields.
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
        show_default(field)
    return is_changed


def show_default(field: FieldInfo) -> None:
    """Let the JSON Schema of a field show its default as JSON has it, where pydantic would show another form."""
    write, extra = WRITTEN.get(shape_of_field(field).kind or ""), field.json_schema_extra
    if write is not None and not callable(extra):
        field.json_schema_extra = partial(set_default, write(field.default), extra or {})


def set_default(default: str, extra: Mapping[str, Any], schema: dict[str, Any]) -> None:
    """Replace the default in a JSON Schema, unless it has none, as in a body of `Changes`. Adds the members `extra`."""
    if "default" in schema:
        schema["default"] = default
    schema.update(extra)


def use_response_forms(model: type[BaseModel]) -> bool:
    """Let the fields of a response model serialize values in the form that bodies accept. Returns as `make_strict`.

    Settings of the model that choose another form take precedence.
    """
    return replace_types(model, partial(response_type, model.model_config))


def replace_types(model: type[BaseModel], replace: ReplaceInField) -> bool:
    is_changed = replace_names(model)
    refuse_unsuitable(model)
    for field in model.model_fields.values():
        movable, fixed = split(field.metadata)
        annotation, remaining = with_replaced_types(field.annotation, movable, partial(replace_in, field, replace))
        plain, own = unpacked(annotation)
        metadata = [*own, *remaining, *fixed]
        if (plain, metadata) != (field.annotation, field.metadata):
            field.annotation, field.metadata, is_changed = plain, metadata, True
    return is_changed


def replace_names(model: type[BaseModel]) -> bool:
    """Replace the names of types (`type Short = Annotated[str, …]`) in fields by these types. Returns as above."""
    is_changed = False
    for field in model.model_fields.values():
        plain, own = unpacked(without_names(field.annotation))
        if plain is not field.annotation:
            field.annotation, field.metadata, is_changed = plain, [*own, *field.metadata], True
    return is_changed


def replace_in(field: FieldInfo, replace: ReplaceInField, plain: Any, metadata: Sequence[Any], is_whole: bool) -> Any:
    """Call `replace` for a type of a field. Within another type it gets no field, whose options are for the whole."""
    return replace(plain, metadata, field if is_whole else None)


FORMS = (JSONForm, ResponseForm, StrictModel, StrictFields)


def strict_type(plain: Any, metadata: Sequence[Any], field: FieldInfo | None) -> Any:
    """Return a type with its combined bounds, the bounds that its column needs, and its JSON form."""
    shape = shape_of(plain, metadata)
    shape = shape_of(plain, [*metadata, *missing_bounds(shape, field)])
    given = next((part for part in metadata if isinstance(part, FORMS)), None)
    if shape.kind is None and given is None:
        return annotated(plain, [*metadata, StrictFields(plain, strictly)] if is_of_fields(plain) else metadata)
    others = list(without_bounds(part for part in metadata if not isinstance(part, FORMS)))
    functions = [part for part in others if hasattr(part, "func")]
    options = [part for part in others if not hasattr(part, "func")]
    first, more = patterns_to_check(shape)
    form = form_of(shape, given, more)
    bounds = [*combined(shape, first), *([] if form is None else [form])]
    return annotated(plain, [*options, *bounds, *functions])


def strictly(annotation: Any) -> Any:
    """Return the strict form of a type that is not a field of a model."""
    plain, metadata = unpacked(without_names(annotation))
    movable, fixed = split(metadata)
    strict, remaining = with_replaced_types(plain, movable, lambda part, own, _: strict_type(part, own, None))
    return annotated(strict, [*remaining, *fixed])


def form_of(shape: Shape, given: Any, patterns: tuple[Any, ...]) -> Any:
    """Return the JSON form of a type; None for a model that is strict already. `given` is the form that it has."""
    kind, plain = shape.kind, shape.plain
    if kind == "decimal":
        return DecimalForm("decimal", (), *digits_of(shape))
    if kind in ("text", "email"):
        return JSONForm(getattr(given, "name", kind), patterns)
    if kind != "json":
        return given or JSONForm(str(kind))
    if not isinstance(plain, type) or not issubclass(plain, BaseModel):
        return given or JSONForm("json")
    if given or _strict_models.intersection(plain.__mro__):
        return given
    refuse_settings(plain)
    return StrictModel(plain)


def response_type(settings: ConfigDict, plain: Any, metadata: Sequence[Any], _: FieldInfo | None) -> Any:
    shape = shape_of(plain, metadata)
    is_given = any(isinstance(part, FORMS) for part in metadata)
    if shape.kind not in RESPONSE_FORMS or is_given or chooses_form(settings, shape):
        return annotated(plain, metadata)
    return annotated(plain, [*metadata, ResponseForm(shape.kind)])


FORM_SETTINGS: Mapping[str | None, Sequence[str]] = {
    "duration": ("ser_json_timedelta", "ser_json_temporal"),
    "time": ("ser_json_temporal",),
    "bytes": ("ser_json_bytes",),
}
"""The settings of pydantic that choose the form in responses, by the kind of a type."""


def chooses_form(settings: ConfigDict, shape: Shape) -> bool:
    """Return whether the settings of a model choose another form than the kit's for values of a type."""
    given = [settings.get(name, "iso8601") for name in FORM_SETTINGS.get(shape.kind, ())]
    encoders = settings.get("json_encoders") or {}
    return any(form != "iso8601" for form in given) or any(
        part in encoders for part in getattr(shape.plain, "__mro__", ())
    )
