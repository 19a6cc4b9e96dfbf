"""Annotations of field types (`Annotated`): replaces a type within its annotations, containers and unions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from annotated_types import BaseMetadata
from pydantic.fields import FieldInfo
from pydantic.types import UuidVersion

from kit.models.bounds import combined, is_group, without_bounds
from kit.models.json_forms import JSONForm, ResponseForm
from kit.models.kinds import CONTAINERS, UNIONS, kind_of, option, shape_of

KIT_TYPES = "kit.models.types"
Replace = Callable[[Any, Sequence[Any], bool], Any]
"""A function that returns the replacement of a type. The third argument: whether it is the whole type of a field."""


@dataclass(frozen=True)
class Derived:
    """The annotation of a field whose column type was derived from its own type, and not set by the resource."""


class Movable:
    """Base class of the kit's annotations that are movable: they neither change values nor call application code."""


MOVABLE = (BaseMetadata, JSONForm, ResponseForm, Movable, FieldInfo, UuidVersion)


def is_movable(part: Any) -> bool:
    """Return whether an annotation neither changes values nor calls application code, so that its order is free."""
    is_of_kit = getattr(getattr(part, "func", None), "__module__", None) == KIT_TYPES
    return part is None or is_of_kit or isinstance(part, MOVABLE) or is_group(part.__class__)


def calls_function(part: Any) -> bool:
    """Return whether an annotation may call a function of the application, or convert values, as in `Base64Str`."""
    is_step = hasattr(part, "func") or hasattr(part, "__get_pydantic_core_schema__")
    return is_step and not is_column_option(part) and not is_movable(part)


def is_column_option(part: Any) -> bool:
    """Return whether an annotation has the column options of SQLModel's `Field` (`sa_type`, …)."""
    return isinstance(part, Derived) or (hasattr(part, "sa_type") and not isinstance(part, FieldInfo))


def has_explicit_type(field: FieldInfo) -> bool:
    """Return whether a field sets its column type, by `sa_type` or `sa_column`."""
    if Derived() in field.metadata:
        return False
    return option(field, "sa_type") is not None or option(field, "sa_column") is not None


def rules_of(field: FieldInfo) -> tuple[Any, list[Any]]:
    """Return the type and the annotations by which a field is validated, without column options."""
    others = [part for part in field.metadata if not is_column_option(part)]
    return field.annotation, others


def annotated(plain: Any, metadata: Sequence[Any]) -> Any:
    return Annotated[plain, *metadata] if metadata else plain


def unpacked(annotation: Any) -> tuple[Any, Sequence[Any]]:
    """Split `Annotated` into a type and its annotations, as pydantic's fields store them."""
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    plain, *metadata = get_args(annotation)
    return plain, metadata


def split(metadata: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Split annotations into the movable ones at the beginning, and the others from the first that is not movable.

    Column options belong to the others.
    """
    parts = list(metadata)
    options = [part for part in parts if is_column_option(part)]
    parts = [part for part in parts if not is_column_option(part)]
    end = next((index for index, part in enumerate(parts) if not is_movable(part)), len(parts))
    return parts[:end], [*options, *parts[end:]]


def with_replaced_types(
    annotation: Any, outer: Sequence[Any], replace: Replace, *, is_whole: bool = True
) -> tuple[Any, Sequence[Any]]:
    """Replace the types in a field's annotation: within `Annotated`, unions and containers too.

    `outer` are the movable annotations around it, some of which move to the replaced type. Returns the new annotation,
    and the outer annotations that are left.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _in_annotated(arguments, outer, replace, is_whole=is_whole)
    if origin in UNIONS:
        return _in_union(arguments, outer, replace, is_whole=is_whole)
    if origin in CONTAINERS:
        elements = [_in_container(part, replace) for part in arguments]
        return origin[tuple(elements)], [*without_bounds(outer), *combined(shape_of(annotation, outer))]
    if not isinstance(annotation, type) and origin is None and kind_of(annotation) is None:
        return annotation, outer
    return replace(annotation, outer, is_whole), ()


def _in_annotated(
    arguments: Sequence[Any], outer: Sequence[Any], replace: Replace, *, is_whole: bool
) -> tuple[Any, Sequence[Any]]:
    movable, fixed = split(arguments[1:])
    if not fixed:
        return with_replaced_types(arguments[0], [*movable, *outer], replace, is_whole=is_whole)
    inner, remaining = with_replaced_types(arguments[0], movable, replace, is_whole=is_whole)
    return annotated(inner, [*remaining, *fixed]), outer


def _in_union(
    arguments: Sequence[Any], outer: Sequence[Any], replace: Replace, *, is_whole: bool
) -> tuple[Any, Sequence[Any]]:
    parts = [part for part in arguments if part is not type(None)]
    if len(parts) == 1:
        inner, remaining = with_replaced_types(parts[0], outer, replace, is_whole=is_whole)
        return Union[inner, None], remaining  # noqa: UP007  the parts may be other than classes
    replaced = [annotated(*with_replaced_types(part, (), replace, is_whole=False)) for part in arguments]
    return Union[tuple(replaced)], outer  # noqa: UP007


def _in_container(annotation: Any, replace: Replace) -> Any:
    if annotation in (Ellipsis, type(None)):
        return annotation
    return annotated(*with_replaced_types(annotation, (), replace, is_whole=False))
