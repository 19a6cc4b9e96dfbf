"""JSON forms: how the values of a type are written in JSON. Any other form is an error and is never converted.

Pydantic converts more than JSON Schema allows: `"28"` to 28, `true` to 1, 172800 to a date. A form is the annotation of
a type that accepts its JSON form and instances of the type, and passes them to the type with its bounds. Forms are
validated in pydantic-core, without calls of Python, wherever possible.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from kit.models.decimals import plain_decimal
from kit.models.json_values import (
    BASE64,
    CLOCK,
    DATE,
    DURATION,
    MOMENT,
    NOT_BLANK,
    NUMBER,
    STORABLE,
    UNSTORABLE_TEXT,
    as_base64,
    as_decimal,
    as_duration,
    decoded,
    in_utc,
    limit_text,
    plain_zero,
    storable_duration,
    storable_json,
)

UNBOUNDED_DIGITS = 30
"""The maximum number of digits before and after the point, of a decimal field without such bounds."""
STEP = "kit_type"
"""The key in the metadata of a chain schema: the index of the step that validates the type itself."""
ANY_INTEGER = core_schema.int_schema(strict=True)
ANY_NUMBER = core_schema.float_schema(strict=True, allow_inf_nan=False)
INTEGER = core_schema.union_schema(
    [ANY_INTEGER, core_schema.chain_schema([core_schema.float_schema(strict=True), core_schema.int_schema()])],
    mode="left_to_right",
)


def first_of(error: Any, *choices: CoreSchema) -> CoreSchema:
    """Return a schema of the first choice that is valid; otherwise it fails with this error of pydantic."""
    return core_schema.custom_error_schema(core_schema.union_schema([*choices], mode="left_to_right"), error)


def written(pattern: str, target: CoreSchema) -> CoreSchema:
    """Return a schema of text that matches the pattern and is then parsed by the target."""
    return core_schema.chain_schema([core_schema.str_schema(strict=True, pattern=f"^{pattern}$"), target])


TEXT: Sequence[CoreSchema] = (
    core_schema.str_schema(strict=True),
    core_schema.custom_error_schema(
        core_schema.str_schema(pattern=STORABLE),
        "string_unstorable",
        custom_error_message=UNSTORABLE_TEXT,
    ),
)
VISIBLE = core_schema.custom_error_schema(
    core_schema.str_schema(pattern=NOT_BLANK), "string_blank", custom_error_message="Text may not be blank"
)
ACCEPTED: dict[str, CoreSchema] = {
    "integer": first_of("int_type", INTEGER),
    "integer member": first_of("int_type", core_schema.is_instance_schema(Enum), INTEGER),
    "number": ANY_NUMBER,
    "boolean": core_schema.bool_schema(strict=True),
    "text": core_schema.chain_schema([*TEXT]),
    "name": core_schema.chain_schema([*TEXT]),
    "decimal": first_of(
        "decimal_type",
        core_schema.decimal_schema(strict=True),
        written(NUMBER, core_schema.decimal_schema()),
        core_schema.chain_schema([
            core_schema.union_schema([ANY_INTEGER, ANY_NUMBER], mode="left_to_right"), core_schema.decimal_schema(),
        ]),
    ),
    "date": first_of("date_type", core_schema.date_schema(strict=True), written(DATE, core_schema.date_schema())),
    "datetime": first_of(
        "datetime_type",
        core_schema.datetime_schema(strict=True, tz_constraint="aware"),
        written(MOMENT, core_schema.datetime_schema(tz_constraint="aware")),
    ),
    "time": first_of(
        "time_type",
        core_schema.time_schema(strict=True, tz_constraint="naive"),
        written(CLOCK, core_schema.time_schema(tz_constraint="naive")),
    ),
    "duration": first_of(
        "time_delta_type",
        core_schema.timedelta_schema(strict=True),
        written(DURATION, core_schema.timedelta_schema()),
    ),
    "bytes": core_schema.no_info_plain_validator_function(decoded),
    "json": core_schema.no_info_plain_validator_function(storable_json),
}  # fmt: skip
"""What each form accepts; a form that is missing here accepts what its type does."""
CHECKED: dict[str, Callable[[Any], Any]] = {
    "datetime": in_utc, "duration": storable_duration, "number": plain_zero,
}  # fmt: skip
"""The last step of validation."""
WRITTEN: dict[str, Callable[[Any], str]] = {"decimal": as_decimal, "duration": as_duration, "bytes": as_base64}
"""Serializers to JSON, where pydantic's differ."""
DESCRIBED: dict[str, dict[str, Any]] = {
    "text": {"pattern": r"^[^\u0000]*$"},
    "name": {"pattern": r"^[^\u0000]*[^\u0000\s][^\u0000]*$"},
    "time": {"pattern": f"^{CLOCK}$"},
    "duration": {"pattern": f"^{DURATION}$"},
    "bytes": {"pattern": f"^{BASE64}$", "contentEncoding": "base64"},
}
"""Additions to pydantic's JSON Schema. The formats `time` and `duration` of JSON Schema are defined differently."""


FORMATS = {
    "ge": "formatMinimum", "gt": "formatExclusiveMinimum", "le": "formatMaximum", "lt": "formatExclusiveMaximum",
}  # fmt: skip
"""Keywords for the bounds of dates and times, as ajv-formats knows them: JSON Schema itself has none."""


def described(name: str, schema: dict[str, Any], patterns: Iterable[Any] = ()) -> dict[str, Any]:
    """Return pydantic's JSON Schema of a type with what its form and its other patterns demand."""
    schema = dict(schema)
    if name in ("time", "duration", "bytes"):
        schema.pop("format", None)
    if name == "bytes":
        lengths = {key: schema[key] for key in ("minLength", "maxLength") if key in schema}
        schema |= {key: (length + 2) // 3 * 4 for key, length in lengths.items()}
    texts = [getattr(pattern, "pattern", pattern) for pattern in patterns]
    if name == "name" and "pattern" in schema:
        texts.append(DESCRIBED[name]["pattern"])
    every = {"allOf": [{"pattern": text} for text in texts]} if texts else {}
    return DESCRIBED.get(name, {}) | schema | every


def limits(inner: Any) -> dict[str, str]:
    """Return the bounds of a date or time as keywords of JSON Schema."""
    if inner["type"] not in ("date", "datetime", "time", "timedelta"):
        return {}
    return {keyword: limit_text(inner[name]) for name, keyword in FORMATS.items() if inner.get(name) is not None}


def chain(steps: list[CoreSchema], of_type: int, serialization: Any) -> CoreSchema:
    """Return a chain schema; `of_type` is the index of the step that validates the type itself."""
    return core_schema.chain_schema(steps, serialization=serialization, metadata={STEP: of_type})


def type_in(schema: Any) -> Any:
    """Return the type's step in a chain, as a chain: the JSON Schema handler needs the type without its metadata."""
    while STEP not in schema.get("metadata", ()):  # wrapped in a validator of the resource, or followed by a pattern
        schema = schema["schema"] if "schema" in schema else schema["steps"][0]
    return core_schema.chain_schema([schema["steps"][schema["metadata"][STEP]]])


def serialization_of(name: str) -> Any:
    write = WRITTEN.get(name)
    return None if write is None else core_schema.plain_serializer_function_ser_schema(write, when_used="json")


@dataclass(frozen=True)
class Form:
    """Annotates a type with its JSON form: that of its kind, or "name" for text that is not blank."""

    name: str
    patterns: tuple[Any, ...] = ()
    """Patterns that a text has to match beside the first one, which the type itself checks."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        others = [core_schema.str_schema(pattern=pattern) for pattern in self.patterns]
        steps = [*self.accepted(source), inner, *others, *self.checks()]
        return chain(steps, steps.index(inner), serialization_of(self.name) or inner.get("serialization"))

    def accepted(self, source: Any) -> Sequence[CoreSchema]:
        if self.name == "address":
            return [first_of("string_type", core_schema.is_instance_schema(source), TEXT[0])]
        return [ACCEPTED[self.name]] if self.name in ACCEPTED else []

    def checks(self) -> Sequence[CoreSchema]:
        if self.name == "name":
            return [VISIBLE]
        check = CHECKED.get(self.name)
        return [] if check is None else [core_schema.no_info_plain_validator_function(check)]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = type_in(schema)
        return described(self.name, handler(inner), self.patterns) | limits(inner["steps"][0])


@dataclass(frozen=True)
class DecimalForm(Form):
    """The form of decimals with a maximum number of digits before and after the decimal point."""

    whole: int = UNBOUNDED_DIGITS
    places: int = UNBOUNDED_DIGITS
    is_fixed: bool = False
    """Whether values keep trailing zeros, as in `9.90`."""

    def checks(self) -> Sequence[CoreSchema]:
        digits = core_schema.decimal_schema(max_digits=self.whole + self.places, decimal_places=self.places)
        plain = partial(plain_decimal, places=self.places, is_fixed=self.is_fixed)
        return [digits, core_schema.no_info_plain_validator_function(plain)]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = type_in(schema)["steps"][0]
        sign = "" if (inner.get("ge") or inner.get("gt") or -1) >= 0 or inner.get("ge") == 0 else "-?"
        pattern = f"^{sign}[0-9]{{1,{self.whole}}}(\\.[0-9]{{1,{self.places}}})?$" if self.places else f"^{sign}[0-9]+$"
        shown = handler(type_in(schema))
        largest = 10**self.whole - 10**-self.places
        bounds = {"maximum": largest} if sign == "" else {"minimum": -largest, "maximum": largest}
        if self.whole + self.places > sys.float_info.dig:  # more digits than a number of JSON keeps
            bounds = {}
        kinds = [
            kind | {"pattern": pattern} if kind.get("type") == "string" else bounds | kind
            for kind in shown.get("anyOf", ())
        ]
        return {**shown, "anyOf": kinds} if kinds else {**shown, "pattern": pattern}


@dataclass(frozen=True)
class ResponseForm:
    """Annotates a type in a response: it is serialized in this form, and validated as without it."""

    name: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        shown = serialization_of(self.name) or inner.get("serialization")
        return chain([inner], 0, shown)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return described(self.name, handler(type_in(schema)))
