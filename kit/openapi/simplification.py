"""Simplification of schemas: sets the formats of integers, and removes redundant titles, descriptions and bounds."""

from typing import Any

from kit.openapi.references import Json
from kit.openapi.responses import responses_of

SAFE_INTEGER, INT32 = 2**53 - 1, 2**31
"""The largest integer that a double represents exactly (RFC 8259, section 6), and the bound of 32-bit integers."""


BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
OF_PYDANTIC = {
    "ge": ("minimum", max), "gt": ("exclusiveMinimum", max), "le": ("maximum", min), "lt": ("exclusiveMaximum", min),
    "multiple_of": ("multipleOf", max),
}  # fmt: skip
"""The keyword, and the function for the narrower of two bounds, by pydantic's name of a bound.

Pydantic leaves its own names in a schema if a parameter bounds a type of the kit further.
"""


def keep_to_version(document: Json) -> None:
    """Rename `itemSchema` in a document of version 3.1. FastAPI uses it for streams, but OpenAPI has it from 3.2 on."""
    if not document["openapi"].startswith("3.1"):
        return
    for content in [content for response in responses_of(document) for content in response.get("content", {}).values()]:
        if "itemSchema" in content:
            content["schema"] = {"type": "string", "description": "A stream; `x-item-schema` describes its elements."}
            content["x-item-schema"] = content.pop("itemSchema")


def simplify(node: Json) -> None:
    """Remove redundant members: `required: false`, titles that repeat the name of a field, repeated descriptions."""
    if node.get("required") is False:
        del node["required"]
    if {"type", "anyOf"} & node.keys() and str(node.get("title")).startswith("Response "):
        del node["title"]
    for name, part in node.get("properties", {}).items():
        if isinstance(part, dict) and part.get("title") == name.replace("_", " ").title():
            del part["title"]
    if "in" in node and isinstance(node.get("schema"), dict):
        node["schema"] = without_repetition(node["schema"], node)
    if isinstance(node.get("prefixItems"), list):
        node.setdefault("items", {})  # generators expect it in every array
    correct_numbers(node)


def without_repetition(schema: Json, parameter: Json) -> Json:
    """Return the schema of a parameter without a description and title that repeat those of the parameter."""
    title = str(parameter.get("name")).replace("_", " ").title()
    texts_of_parameter = (("description", parameter.get("description")), ("title", title))
    return {key: part for key, part in schema.items() if (key, part) not in texts_of_parameter}


def correct_numbers(node: Json) -> None:
    """Rename pydantic's bounds, and convert bounds that are whole floats to integers.

    FastAPI converts 2⁶³−1 to the float 2⁶³.
    """
    for name, (key, narrower) in OF_PYDANTIC.items():
        if name in node:
            bound = node.pop(name)
            node[key] = narrower(bound, node.get(key, bound))
    for key in (*BOUNDS, "multipleOf"):
        if isinstance(node.get(key), float) and node[key].is_integer():
            node[key] = int(node[key])
    if node.get("type") == "integer" and "enum" not in node:
        set_integer_format(node)


def set_integer_format(node: Json) -> None:
    """Set the format of an integer, and remove the bounds that it implies, or that a double cannot represent."""
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
