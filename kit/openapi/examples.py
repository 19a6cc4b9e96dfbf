"""OpenAPI examples: generates valid bodies, and replaces placeholders by the ids of rows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select

from kit.database.errors import FAILURES
from kit.database.sessions import ReadSession
from kit.models.entities import known_tables
from kit.openapi.references import Json, resolved
from kit.openapi.values import NONE, number, text

PLACEHOLDER = re.compile(r"\{(\w+)(?::(\d))?\}")
"""A placeholder in an example: `"{invoice}"` is the id of the newest invoice, `"{invoice:2}"` of the second newest."""
ANY_UUID = UUID("01a1fdf0-1527-72cc-b92d-ba16a2649900")
Placeholder = tuple[Sequence[str | int], str, int]
"""The path of a placeholder in the document, the table, and the rank of the row: 1 for the newest, 2 for the next."""


def placeholders(node: Any, path: Sequence[str | int] = ()) -> Iterator[Placeholder]:
    """Yield every placeholder in a part of a document. Text in braces that names no table is not one."""
    if isinstance(node, str) and (match := PLACEHOLDER.fullmatch(node)) and match[1] in known_tables():
        yield path, match[1], int(match[2] or 1)
    elif isinstance(node, dict | list):
        for key, part in node.items() if isinstance(node, dict) else enumerate(node):
            yield from placeholders(part, (*path, key))


def fill(document: Json, found: Sequence[Placeholder], newest: Mapping[str, Sequence[Any]]) -> None:
    """Replace the placeholders `found` by the ids in `newest` (by table, newest first), or by made-up ids."""
    for (*path, last), table, rank in found:
        node: Any = document
        for key in path:
            node = node[key]
        node[last] = nth(newest.get(table, ()), table, rank)


def nth(ids: Sequence[Any], table: str, rank: int) -> Any:
    counted = known_tables()[table].c.id.type.python_type is int
    if rank > len(ids):
        return rank if counted else str(UUID(int=ANY_UUID.int + rank))
    return ids[rank - 1] if counted else str(ids[rank - 1])


async def newest(session: ReadSession, tables: set[str]) -> dict[str, list[Any]]:
    """Return the ids of the two newest rows of each table, newest first; an empty list if the database fails."""
    return {table: await _newest(session, table) for table in sorted(tables)}


async def _newest(session: ReadSession, table: str) -> list[Any]:
    key = known_tables()[table].c.id
    statement: Any = Select(key).order_by(key.desc()).limit(2)
    try:
        return [row[0] for row in (await session.exec(statement)).all()]
    except FAILURES:
        return []  # the docs also work without the database


def elements(schema: Json, document: Json) -> Any:
    """Return two elements for the example of a bulk request, with the second and third example of each field."""
    made = example_of(schema, document)
    fields = {name: field["examples"] for name, field in schema["properties"].items() if field.get("examples")}
    if made is NONE:
        return NONE
    return [made | {name: given[min(turn, len(given) - 1)] for name, given in fields.items()} for turn in (1, 2)]


def example_of(schema: Json, document: Json, depth: int = 8) -> Any:
    """Return a value that a schema allows: its own example, or a generated one; `NONE` if none was found.

    `depth` is the maximum depth of nested schemas.
    """
    schema = resolved(schema, document)
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("example", "default", "const"):
        if key in schema:
            return schema[key]
    for key in ("anyOf", "oneOf", *(() if "type" in schema else ("allOf",))):
        if key in schema:
            return next((made for part in schema[key] if (made := example_of(part, document, depth)) is not NONE), NONE)
    return _made_up(schema, document, depth - 1) if depth else NONE


def _made_up(schema: Json, document: Json, depth: int) -> Any:
    """Return a value generated from the type of a schema; `NONE` if that is not possible."""
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, document, depth)
    if kind == "array":
        return _array(schema, document, depth)
    if kind in ("integer", "number"):
        return number(schema)
    if kind == "boolean":
        return True
    return text(schema) if kind in ("string", None) else NONE


def _array(schema: Json, document: Json, depth: int) -> Any:
    if "prefixItems" in schema:
        made = [example_of(part, document, depth) for part in schema["prefixItems"]]
        return NONE if NONE in made else made
    element, least = example_of(schema.get("items", {}), document, depth), schema.get("minItems", 0)
    return [element] * max(1, least) if element is not NONE else NONE if least else []


def _object(schema: Json, document: Json, depth: int) -> Any:
    """Return an object with the required properties, and with optional ones that have an example or a default."""
    made, required = {}, schema.get("required", ())
    for name, part in schema.get("properties", {}).items():
        if name in required or {"example", "examples", "default"} & part.keys():
            made[name] = example_of(part, document, depth)
    others = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties", True)]
    for index in range(schema.get("minProperties", 0) - len(made)):
        made[f"key{index + 1}"] = example_of(others[0] if isinstance(others[0], dict) else {}, document, depth)
    return NONE if any(value is NONE for value in made.values()) else made
