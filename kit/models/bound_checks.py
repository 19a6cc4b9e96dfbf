"""Checks of bounds when a class is defined: a bound that does not suit the type of its field is a TypeError.

Pydantic would raise a TypeError for each request, or ignore the bound.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, get_args, get_origin

from pydantic import BaseModel, EncodedBytes, EncodedStr
from pydantic.fields import FieldInfo

from kit.models.bounds import DIGITS, patterns_of
from kit.models.kinds import CONTAINERS, UNIONS, Shape, shape_of

LENGTH, ORDER = ("min_length", "max_length"), ("ge", "gt", "le", "lt")
PAIRS = (LENGTH, ("ge", "le"), ("ge", "lt"), ("gt", "le"), ("gt", "lt"))
"""The pairs of a lower and an upper bound."""
ALLOWED: dict[str | None, Sequence[str]] = {
    "text": (*LENGTH, "pattern"), "email": (*LENGTH, "pattern"), "url": LENGTH, "bytes": LENGTH, "json": LENGTH,
    "integer": (*ORDER, "multiple_of"), "number": (*ORDER, "multiple_of"),
    "decimal": (*ORDER, "multiple_of", *DIGITS), "date": ORDER, "datetime": ORDER, "time": ORDER, "duration": ORDER,
}  # fmt: skip
"""The bounds that a field may have, by the kind of its type."""
LIMITS: dict[str | None, Callable[[Any], bool]] = {
    "integer": lambda bound: not isinstance(bound, bool) and bound == int(bound),
    "number": lambda bound: isinstance(bound, int | float),
    "decimal": lambda bound: isinstance(bound, int | float | Decimal),
    "date": lambda bound: isinstance(bound, date) and not isinstance(bound, datetime),
    "datetime": lambda bound: isinstance(bound, datetime) and bound.tzinfo is not None,
    "time": lambda bound: isinstance(bound, time) and bound.tzinfo is None,
    "duration": lambda bound: isinstance(bound, timedelta),
}
"""By kind, a function that returns whether values of this kind can be compared with a bound."""
DROPPED = {
    "regex": 'write `schema_extra={"pattern": …}`',
    "const": "write the type `Literal[…]`",
    "unique_items": "write a validator",
    "include": "leave the field out of the variant that does not show it",
}
"""The arguments of SQLModel's `Field` that have no effect, and what to write instead."""


def refuse_unsuitable(model: type[BaseModel]) -> None:
    """Raise a TypeError for the first bound of a model's fields that does not suit the type."""
    for name, field in model.model_fields.items():
        errors = [*dropped(field), *unsuitable(field.annotation, field.metadata, frozenset())]
        if errors:
            raise TypeError(f"{model.__name__}.{name} has {errors[0]}.")


def dropped(field: FieldInfo) -> Iterator[str]:
    """Yield an error for each argument of a field that SQLModel's `Field` accepts and pydantic ignores."""
    given: dict[str, Any] = getattr(field, "_attributes_set", {})  # they are in no other attribute
    for name, remedy in DROPPED.items():
        if given.get(name) is not None:
            yield f"`{name}`, which has no effect: {remedy}"


def unsuitable(annotation: Any, metadata: Sequence[Any], seen: frozenset[Any]) -> Iterator[str]:
    """Yield an error for each unsuitable bound of a type, and of the types within it. `seen` stops recursion."""
    shape = shape_of(annotation, metadata)
    names = [*shape.bounds, *(["pattern"] if patterns_of(shape.metadata) else [])]
    allowed = () if is_object(shape.plain) else ALLOWED.get(shape.kind, ())
    for name in names if shape.kind else ():
        if name not in allowed:
            others = f"write one of {', '.join(allowed)}, or a validator" if allowed else "write a validator"
            yield f"`{name}`, which no {shape.kind} has: {others}"
    yield from incomparable(shape)
    if any(isinstance(part, EncodedBytes | EncodedStr) for part in metadata):
        yield "an encoding of pydantic, which cannot be combined with the form in JSON: write `bytes`, which is Base64"
    for part, annotations in within(shape.plain, seen):
        yield from unsuitable(part, annotations, seen | {shape.plain})


def incomparable(shape: Shape) -> Iterator[str]:
    """Yield an error for a bound of another type than the values, and for bounds between which there is no value."""
    given = {name: bound for name, bound in shape.bounds.items() if name in (*ORDER, "multiple_of")}
    if shape.kind in LIMITS:
        for name, bound in given.items():
            if not LIMITS[shape.kind](bound):
                form = {"datetime": "datetime with a time zone", "duration": "timedelta"}.get(
                    str(shape.kind), shape.kind
                )
                yield f"`{name}={bound!r}`, with which no {shape.kind} can be compared: write it as {form}"
                return
    for low, high in PAIRS:
        least, most = shape.bounds.get(low), shape.bounds.get(high)
        if least is not None and most is not None and (least > most or (least == most and {low, high} & {"gt", "lt"})):
            yield f"`{low}={least!r}` and `{high}={most!r}`, between which there is no value: change one of them"


def is_object(plain: Any) -> bool:
    """Return whether the type is a model of pydantic, `Any` or `object`, which have no length."""
    return plain in (Any, object) or (isinstance(plain, type) and issubclass(plain, BaseModel))


def within(plain: Any, seen: frozenset[Any]) -> Iterable[tuple[Any, Sequence[Any]]]:
    """Return the types within a container, a union or a model, with their annotations."""
    if get_origin(plain) in CONTAINERS + UNIONS:
        return [(part, ()) for part in get_args(plain) if part is not Ellipsis]
    if isinstance(plain, type) and issubclass(plain, BaseModel) and plain not in seen:
        return [(field.annotation, field.metadata) for field in plain.model_fields.values()]
    return ()
