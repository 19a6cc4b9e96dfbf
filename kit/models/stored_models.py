"""Models in JSON columns: they are read without the validators of the application, which ran before they were stored.

A validator may change a value, and would change it again with each read of the row. Types with serializers of their own
are read by their validators, because pairs of both convert values to JSON and back.
"""

from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    GetCoreSchemaHandler,
    PlainSerializer,
    RootModel,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapSerializer,
    create_model,
)
from pydantic_core import CoreSchema, core_schema

from kit.models.annotations import Movable, annotated, is_movable, unpacked
from kit.models.fields import StrictModel, build, strict_variant, validates_instances
from kit.models.kinds import CONTAINERS, UNIONS


@dataclass(frozen=True)
class StoredModel(Movable):
    """The annotation of a model whose JSON was stored by this service."""

    model: type[BaseModel]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_wrap_validator_function(self.read, handler(source))

    def read(self, value: object, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
        if isinstance(value, dict):
            value = {name: part for name, part in value.items() if name not in self.model.model_computed_fields}
        read = stored_variant(self.model).model_validate(value, by_name=True, by_alias=True, context=info.context)
        made = self.model.__new__(self.model)
        made.__setstate__(read.__getstate__())
        if self.model.__pydantic_post_init__:
            made.model_post_init(info.context)
        return made if validates_instances(self.model) else validate(made)  # a union looks at how it was validated


@cache
def stored_variant(model: type[BaseModel]) -> type[BaseModel]:
    """Return a model with the same fields, without validators of the application."""
    strict = strict_variant(model)
    base: Any = {"__base__": RootModel[Any]} if issubclass(model, RootModel) else {"__config__": strict.model_config}
    given: Any = {name: (Any, copy(field)) for name, field in strict.model_fields.items()}
    variant: type[BaseModel] = create_model(model.__name__, **base, **given)
    for name, field in strict.model_fields.items():
        plain, metadata = unpacked(as_stored(annotated(field.annotation, field.metadata)))
        own = variant.model_fields[name]
        own.annotation, own.metadata = plain, list(metadata)
    build(variant, is_changed=True)
    return variant


def as_stored(annotation: Any) -> Any:
    """Return a type without functions of the application, whose models are read as `StoredModel`s."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if has_serializers(annotation):
        return annotation
    if origin is Annotated:
        return annotated(as_stored(parts[0]), [part for part in parts[1:] if is_kept(part)])
    if origin in (*CONTAINERS, *UNIONS):
        stored = tuple(map(as_stored, parts))
        return Union[stored] if origin in UNIONS else origin[stored]  # noqa: UP007  the parts may be other than classes
    return Annotated[annotation, StoredModel(annotation)] if is_model(annotation) else annotation


def is_kept(part: Any) -> bool:
    """Return whether an annotation is neither a validator of the application nor the one that calls those of models."""
    return not isinstance(part, StrictModel) and (is_movable(part) or not hasattr(part, "func"))


def is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def has_serializers(annotation: Any) -> bool:
    """Return whether a type has custom serializers. Those of models within its containers and unions do not count."""
    if get_origin(annotation) is Annotated:
        plain, *metadata = get_args(annotation)
        return has_serializers(plain) or any(isinstance(part, PlainSerializer | WrapSerializer) for part in metadata)
    if not is_model(annotation):
        return False
    decorators: Any = annotation.__pydantic_decorators__
    fields = [annotated(field.annotation, field.metadata) for field in annotation.model_fields.values()]
    return bool(decorators.field_serializers or decorators.model_serializers) or any(map(has_serializers, fields))
