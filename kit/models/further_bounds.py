"""Further bounds: completes the JSON Schema of a type of the kit that a parameter or a plain model bounds further.

For `Annotated[Slug, Query(min_length=3, max_length=9)]`, pydantic wraps the schema of the type in one validator for
each bound, checks all of them, but shows only the outermost in the JSON Schema.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import core_schema

from kit.models.json_values import limit_text
from kit.models.kinds import common_multiple

STEP = "kit_type"
"""The key in the metadata of a chain schema: the index of the step that validates the type itself."""
JsonSchema = dict[str, Any]
KEYWORDS = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "multiple_of": "multipleOf",
    "min_length": "minLength", "max_length": "maxLength",
}  # fmt: skip
"""The keywords of JSON Schema for pydantic's names of bounds, which its JSON Schema of a wrapper contains."""
NARROWER: dict[str, Callable[..., Any]] = {
    "minimum": max, "exclusiveMinimum": max, "maximum": min, "exclusiveMaximum": min, "minLength": max,
    "maxLength": min, "minItems": max, "maxItems": min, "multipleOf": lambda *numbers: common_multiple(numbers),
}  # fmt: skip
FAR = {"future": date(2126, 1, 31), "past": date(2001, 1, 31)}
"""Example dates for types such as `FutureDate`, by pydantic's `now_op`. Their JSON Schema does not express it."""


def bounds_in(schema: Mapping[str, Any]) -> JsonSchema:
    """Return the numeric bounds and lengths in a JSON Schema or a core schema, as keywords of JSON Schema."""
    found: JsonSchema = {}
    for name, value in schema.items():
        key = KEYWORDS.get(name, name)
        if key in NARROWER:
            bound = float(value) if isinstance(value, str | Decimal) else value  # pydantic writes Decimal as a text
            found[key] = NARROWER[key](bound, found[key]) if key in found else bound
    return found


def own_bounds(inner: Mapping[str, Any]) -> JsonSchema:
    """Return the bounds in the core schema of a number or text, as keywords; none for other types."""
    return bounds_in(inner) if inner["type"] in ("int", "float", "str", "bytes", "url") else {}


def unbounded(schema: Mapping[str, Any]) -> JsonSchema:
    return {key: part for key, part in schema.items() if KEYWORDS.get(key, key) not in NARROWER}


def narrowed(schema: Mapping[str, Any], *others: Mapping[str, Any]) -> JsonSchema:
    """Return a JSON Schema with the narrowest of its own bounds and those in the other schemas."""
    bounds: JsonSchema = {}
    for part in (schema, *others):
        for key, bound in bounds_in(part).items():
            bounds[key] = NARROWER[key](bound, bounds[key]) if key in bounds else bound
    return unbounded(schema) | bounds


def wrappers(schema: Any, inner: Any, handler: GetJsonSchemaHandler) -> Iterator[JsonSchema]:
    """Yield the JSON Schema of each wrapper around a type, except the outermost, which `handler` applies itself."""
    is_outermost = True
    while STEP not in schema.get("metadata", ()):
        if "schema" in schema:
            if not is_outermost:
                yield handler(core_schema.chain_schema([{**schema, "schema": inner}]))
            schema = schema["schema"]
        else:
            yield from (handler(core_schema.chain_schema([step])) for step in schema["steps"][1:])
            schema = schema["steps"][0]
        is_outermost = False


def example_of_moment(inner: Mapping[str, Any]) -> JsonSchema:
    """Return an example for a date or time that has to be in the future or in the past, within its other bounds."""
    if inner.get("now_op") not in FAR:
        return {}
    at: Any = FAR[inner["now_op"]]
    if inner["type"] == "datetime":
        at = datetime(at.year, at.month, at.day, 12, tzinfo=UTC)
    day = timedelta(days=1)
    lowest = [at, *([inner["ge"]] if "ge" in inner else []), *([inner["gt"] + day] if "gt" in inner else [])]
    highest = [*([inner["le"]] if "le" in inner else []), *([inner["lt"] - day] if "lt" in inner else [])]
    return {"examples": [limit_text(min([max(lowest), *highest]))]}
