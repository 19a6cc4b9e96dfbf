"""Strict and bounded fields: replaces the field types of a body or a table, once for each class.

A field's type gets the JSON form of its kind (`kit.models.forms`), and the bounds without which a column could not
store all values. All other annotations of the field stay, in their order.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any, Union, get_args, get_origin

from annotated_types import BaseMetadata, GroupedMetadata
from pydantic import BaseModel, GetCoreSchemaHandler, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticUndefined, core_schema

from kit.models.bound_checks import refuse_unsuitable
from kit.models.bounds import combined, digits_of, missing_bounds, patterns_to_check, without_bounds
from kit.models.forms import WRITTEN, DecimalForm, Form, ResponseForm
from kit.models.kinds import CONTAINERS, UNIONS, Shape, kind_of, option, shape_of

RESPONSE_FORMS = frozenset({*WRITTEN, "time"})
"""The kinds that a response serializes differently from pydantic."""
KIT_TYPES = "kit.models.types"

Leaf = Callable[[Any, Sequence[Any], FieldInfo | None], Any]
"""Returns a replacement for a type, given its annotations and its field; the field is None inside another type."""
_strict_models: set[type[BaseModel]] = set()


@dataclass(frozen=True)
class Derived:
    """Marks a field whose column type was derived from its own type."""


@dataclass(frozen=True)
class StrictModel:
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
    make_strict(variant)
    return variant


def make_strict(model: type[BaseModel]) -> None:
    """Make the fields of a class strict, and add bounds where a column could not store all values."""
    _strict_models.add(model)
    replace_types(model, strict_type)
    validate_defaults(model)


def validate_defaults(model: type[BaseModel]) -> None:
    """Convert the defaults once, as values are converted: 0 of an amount to 0.00. Raise a TypeError for an invalid one.

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
    if is_changed:
        model.model_rebuild(force=True)


def use_response_forms(model: type[BaseModel]) -> None:
    """Make the fields of a response serialize values in the form that bodies accept."""
    replace_types(model, response_type)


def replace_types(model: type[BaseModel], leaf: Leaf) -> None:
    refuse_unsuitable(model)
    is_changed = False
    for field in model.model_fields.values():
        run, rest = split(field.metadata)
        annotation, left = rewritten(field.annotation, run, partial(with_options, leaf, field))
        plain, own = unpacked(annotation)
        metadata = [*own, *left, *rest]
        if (plain, metadata) != (field.annotation, field.metadata):
            field.annotation, field.metadata, is_changed = plain, metadata, True
    if is_changed:
        model.model_rebuild(force=True)


def unpacked(annotation: Any) -> tuple[Any, Sequence[Any]]:
    """Split `Annotated` into a type and its annotations, as pydantic's fields store them."""
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    plain, *metadata = get_args(annotation)
    return plain, metadata


def with_options(leaf: Leaf, field: FieldInfo, plain: Any, metadata: Sequence[Any], is_whole: bool) -> Any:
    return leaf(plain, metadata, field if is_whole else None)


def split(metadata: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Split annotations: those that may stand next to the type, and all from the first that calls a function."""
    parts = list(metadata)
    options = [part for part in parts if is_column_option(part)]
    parts = [part for part in parts if not is_column_option(part)]
    end = next((index for index, part in enumerate(parts) if not is_movable(part)), len(parts))
    return parts[:end], [*options, *parts[end:]]


def is_column_option(part: Any) -> bool:
    """Return whether an annotation holds the column options of SQLModel's `Field`."""
    return isinstance(part, Derived) or (hasattr(part, "sa_type") and not isinstance(part, FieldInfo))


def rules_of(field: FieldInfo) -> tuple[Any, list[Any]]:
    """Return the type and the annotations by which a field is validated."""
    others = [part for part in field.metadata if not is_column_option(part)]
    return field.annotation, others


def has_explicit_type(field: FieldInfo) -> bool:
    """Return whether the resource sets the column type of a field."""
    if Derived() in field.metadata:
        return False
    return option(field, "sa_type") is not None or option(field, "sa_column") is not None


def is_movable(part: Any) -> bool:
    """Return whether an annotation neither changes values nor calls a function of the resource."""
    is_of_kit = getattr(getattr(part, "func", None), "__module__", None) == KIT_TYPES
    return part is None or is_of_kit or isinstance(part, MOVABLE)


MOVABLE = (BaseMetadata, GroupedMetadata, Form, ResponseForm, StrictModel, FieldInfo)
FORMS = (Form, ResponseForm, StrictModel)


def rewritten(annotation: Any, outer: Sequence[Any], leaf: Any, *, is_whole: bool = True) -> tuple[Any, Sequence[Any]]:
    """Return the annotation with its types replaced, and the outer annotations that remain outside."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        run, rest = split(arguments[1:])
        if not rest:
            return rewritten(arguments[0], [*run, *outer], leaf, is_whole=is_whole)
        inner, left = rewritten(arguments[0], run, leaf, is_whole=is_whole)
        return annotated(inner, [*left, *rest]), outer
    if origin in UNIONS:
        parts = [part for part in arguments if part is not type(None)]
        if len(parts) == 1:
            inner, left = rewritten(parts[0], outer, leaf, is_whole=is_whole)
            return Union[inner, None], left  # noqa: UP007  the parts may be other than classes
        inner = [annotated(*rewritten(part, (), leaf, is_whole=False)) for part in arguments]
        return Union[tuple(inner)], outer  # noqa: UP007
    if origin in CONTAINERS:
        inner = [inside(part, leaf) for part in arguments]
        return origin[tuple(inner)], [*without_bounds(outer), *combined(shape_of(annotation, outer))]
    if not isinstance(annotation, type) and origin is None and kind_of(annotation) is None:
        return annotation, outer
    return leaf(annotation, outer, is_whole), ()


def inside(annotation: Any, leaf: Any) -> Any:
    if annotation in (Ellipsis, type(None)):
        return annotation
    inner, left = rewritten(annotation, (), leaf, is_whole=False)
    return annotated(inner, left)


def annotated(plain: Any, metadata: Sequence[Any]) -> Any:
    return Annotated[plain, *metadata] if metadata else plain


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
        return Form(getattr(given, "name", kind), patterns)
    if kind != "json":
        return given or Form(str(kind))
    if not isinstance(plain, type) or not issubclass(plain, BaseModel):
        return given or Form("json")
    return given or (None if _strict_models.intersection(plain.__mro__) else StrictModel(plain))


def response_type(plain: Any, metadata: Sequence[Any], _: FieldInfo | None) -> Any:
    shape = shape_of(plain, metadata)
    if shape.kind not in RESPONSE_FORMS or any(isinstance(part, FORMS) for part in metadata):
        return annotated(plain, metadata)
    return annotated(plain, [*metadata, ResponseForm(shape.kind)])
