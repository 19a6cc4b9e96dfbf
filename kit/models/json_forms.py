"""JSON forms: annotations by which a field accepts the JSON type of its values only, and converts no other input.

Pydantic alone converts more than JSON Schema allows: `"28"` to 28, `true` to 1, 172800 to a date. With a form, a field
accepts values of the form and instances of its type, and passes them to the type with its bounds. Forms are validated
in pydantic-core, without calls of Python code, wherever possible.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from kit.models.core_schemas import ACCEPTED, CHECKED, TEXT, VISIBLE, first_of
from kit.models.decimals import plain_decimal
from kit.models.further_bounds import STEP, example_of_moment, narrowed, own_bounds, unbounded, wrappers
from kit.models.json_values import BASE64, CLOCK, DURATION, as_base64, as_decimal, as_duration, limit_text

UNBOUNDED_DIGITS = 30
"""The maximum number of digits before the point, and after it, of a decimal field without such bounds."""
WRITTEN: dict[str, Callable[[Any], str]] = {"decimal": as_decimal, "duration": as_duration, "bytes": as_base64}
"""By form, the functions that serialize values to JSON differently from pydantic."""
DESCRIBED: dict[str, dict[str, Any]] = {
    "text": {"pattern": r"^[^\u0000]*$"},
    "name": {"pattern": r"^[^\u0000]*[^\u0000\s][^\u0000]*$"},
    "time": {"pattern": f"^{CLOCK}$"},
    "duration": {"pattern": f"^{DURATION}$"},
    "bytes": {"pattern": f"^{BASE64}$", "contentEncoding": "base64"},
}
"""Additions to pydantic's JSON Schema by form. JSON Schema's own formats `time` and `duration` do not match."""


FORMATS = {
    "ge": "formatMinimum", "gt": "formatExclusiveMinimum", "le": "formatMaximum", "lt": "formatExclusiveMaximum",
}  # fmt: skip
"""The keywords of ajv-formats for the bounds of dates and times. JSON Schema itself has none."""


def described(name: str, schema: dict[str, Any], patterns: Iterable[Any] = ()) -> dict[str, Any]:
    """Return `schema`, pydantic's JSON Schema of a type, with the additions of a form and with further patterns."""
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
    """Return the bounds in the core schema of a date, time or duration, by the keywords in `FORMATS`."""
    if inner["type"] not in ("date", "datetime", "time", "timedelta"):
        return {}
    return {keyword: limit_text(inner[name]) for name, keyword in FORMATS.items() if inner.get(name) is not None}


def chain(steps: list[CoreSchema], of_type: int, serialization: Any) -> CoreSchema:
    """Return a chain schema. `of_type` is the index of the step that validates the type itself, for `type_in`."""
    return core_schema.chain_schema(steps, serialization=serialization, metadata={STEP: of_type})


def type_in(schema: Any) -> Any:
    """Return a chain schema of only the step that validates the type, for the JSON Schema handler."""
    while STEP not in schema.get("metadata", ()):  # wrapped in a validator of the resource, or followed by a pattern
        schema = schema["schema"] if "schema" in schema else schema["steps"][0]
    return core_schema.chain_schema([schema["steps"][schema["metadata"][STEP]]])


def bounded(schema: CoreSchema, handler: GetJsonSchemaHandler) -> tuple[dict[str, Any], list[str]]:
    """Return the JSON Schema of the type in a chain, with the narrowest bounds, and the further patterns around it."""
    inner = type_in(schema)
    shown, others = handler(inner), list(wrappers(schema, inner, handler))
    patterns = [part["pattern"] for part in others if part.get("pattern", shown.get("pattern")) != shown.get("pattern")]
    return narrowed(shown, own_bounds(inner["steps"][0]), *others), patterns


def serialization_of(name: str) -> Any:
    write = WRITTEN.get(name)
    return None if write is None else core_schema.plain_serializer_function_ser_schema(write, when_used="json")


@dataclass(frozen=True)
class JSONForm:
    """The annotation of a type with a form: the name of its kind, or `name` for text that is not blank."""

    name: str
    patterns: tuple[Any, ...] = ()
    """The patterns that a text has to match in addition to the first one, which pydantic's type checks."""

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
        shown, patterns = bounded(schema, handler)
        own = type_in(schema)["steps"][0]
        return described(self.name, example_of_moment(own) | shown, (*self.patterns, *patterns)) | limits(own)


@dataclass(frozen=True)
class DecimalForm(JSONForm):
    """The form of decimals with at most `whole` digits before the decimal point, and `places` after it."""

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
        if "anyOf" not in shown:  # a response
            return {**shown, "pattern": pattern}
        wrapped = list(wrappers(schema, type_in(schema), handler))
        kinds = [
            kind | {"pattern": pattern} if kind.get("type") == "string" else narrowed(bounds | kind, shown, *wrapped)
            for kind in shown["anyOf"]
        ]
        return {**unbounded(shown), "anyOf": kinds}


@dataclass(frozen=True)
class ResponseForm:
    """The annotation of a type in a response: values are serialized in the form `name`, and validated as usual."""

    name: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        shown = serialization_of(self.name) or inner.get("serialization")
        return chain([inner], 0, shown)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return described(self.name, handler(type_in(schema)))
