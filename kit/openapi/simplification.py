"""Schemas as clients are generated from them: integers with the number of their bits, and no words that say nothing."""

from typing import Any

from kit.openapi.responses import Json

SAFE_INTEGER, INT32 = 2**53 - 1, 2**31
"""What a double holds exactly (RFC 8259, section 6), and where 32 bits end."""


BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
OF_PYDANTIC = {
    "ge": ("minimum", max), "gt": ("exclusiveMinimum", max), "le": ("maximum", min), "lt": ("exclusiveMaximum", min),
    "multiple_of": ("multipleOf", max),
}  # fmt: skip
"""Pydantic's names of bounds, which it leaves in a schema if a type of the kit is bounded further in a parameter."""


def simplify(node: Json) -> None:
    """Leave out what says nothing: `required: false`, the titles that are names of fields, what is said twice."""
    if node.get("required") is False:
        del node["required"]
    if {"type", "anyOf"} & node.keys() and str(node.get("title")).startswith("Response "):
        del node["title"]
    for name, part in node.get("properties", {}).items():
        if isinstance(part, dict) and part.get("title") == name.replace("_", " ").title():
            del part["title"]
    if "in" in node and isinstance(node.get("schema"), dict):
        node["schema"] = without_repetition(node["schema"], node)
    show_numbers(node)


def without_repetition(schema: Json, parameter: Json) -> Json:
    """The schema of a parameter without a description and a title that the parameter has itself."""
    title = str(parameter.get("name")).replace("_", " ").title()
    said = (("description", parameter.get("description")), ("title", title))
    return {key: part for key, part in schema.items() if (key, part) not in said}


def show_numbers(node: Json) -> None:
    """Whole numbers as such: FastAPI makes floats of bounds, and 2⁶³ of 2⁶³−1. Bounds have the names of JSON Schema."""
    for name, (key, narrower) in OF_PYDANTIC.items():
        if name in node:
            bound = node.pop(name)
            node[key] = narrower(bound, node.get(key, bound))
    for key in (*BOUNDS, "multipleOf"):
        if isinstance(node.get(key), float) and node[key].is_integer():
            node[key] = int(node[key])
    if node.get("type") == "integer" and "enum" not in node:
        show_integer(node)


def show_integer(node: Json) -> None:
    """Say how many bits an integer has, and leave out bounds that say the same, or that a double cannot hold."""
    low: Any = node.get("minimum", node.get("exclusiveMinimum", -SAFE_INTEGER - 1))
    high: Any = node.get("maximum", node.get("exclusiveMaximum", SAFE_INTEGER + 1))
    if not -INT32 <= low <= high < INT32:
        node.setdefault("format", "int64")
    elif (low, high) == (-INT32, INT32 - 1):
        node["format"] = "int32"
    for key in BOUNDS:
        bound = node.get(key, 0)
        if abs(bound) > SAFE_INTEGER or (node.get("format") == "int32" and bound in (-INT32, INT32 - 1)):
            del node[key]
