"""OpenAPI examples: with ids of rows that exist, so that the first try in Swagger UI succeeds."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select

from kit.database.errors import FAILURES
from kit.database.sessions import ReadSession
from kit.models.entities import known_tables

PLACE = re.compile(r'"\{(\w+)(?::(\d))?\}"')
"""`"{hero}"` stands for the id of the newest hero, `"{hero:2}"` for that of the one before."""
ANY_UUID = UUID("01a1fdf0-1527-72cc-b92d-ba16a2649900")
Json = dict[str, Any]


async def filled(document: str, session: ReadSession) -> str:
    """The document with ids in all places; where nothing is there yet, with ids of the right kind."""
    tables = {place[1] for place in PLACE.finditer(document)} & known_tables().keys()
    return fill(document, {table: await newest(session, table) for table in sorted(tables)})


def fill(document: str, newest: Mapping[str, Sequence[Any]]) -> str:
    """The document with these ids; text in braces that names no table is somebody's own."""

    def ident(place: re.Match[str]) -> str:
        table, number = place[1], int(place[2] or 1)
        return json.dumps(nth(newest.get(table, ()), table, number)) if table in known_tables() else place[0]

    return PLACE.sub(ident, document)


def nth(ids: Sequence[Any], table: str, place: int) -> Any:
    counted = known_tables()[table].c.id.type.python_type is int
    if place > len(ids):
        return place if counted else str(UUID(int=ANY_UUID.int + place))
    return ids[place - 1] if counted else str(ids[place - 1])


async def newest(session: ReadSession, table: str) -> list[Any]:
    key = known_tables()[table].c.id
    statement: Any = Select(key).order_by(key.desc()).limit(2)
    try:
        return [row[0] for row in (await session.exec(statement)).all()]
    except FAILURES:
        return []  # without its database the service explains itself all the same


def elements(schema: Json) -> list[Json]:
    """Two bodies for a bulk, with the second and the third example of each field where it has so many."""
    fields = {name: field["examples"] for name, field in schema["properties"].items() if field.get("examples")}
    return [{name: examples[min(turn, len(examples) - 1)] for name, examples in fields.items()} for turn in (1, 2)]
