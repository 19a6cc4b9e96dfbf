"""What can be tried out: examples that name things which are there, so that the first click works."""

import json
import re
from typing import Any

from sqlmodel import SQLModel

from heroes.kit.database import ReadSession
from heroes.kit.fault import FAILURES

PLACE = re.compile(r'"\{(\w+)(?::(\d))?\}"')
"""`"{hero}"` stands for the id of the newest hero, `"{hero:2}"` for that of the one before."""
ANY_UUID = "01a1fdf0-1527-72cc-b92d-ba16a2649967"
Json = dict[str, Any]


async def filled(document: str, session: ReadSession) -> str:
    """The document with ids in all places; where nothing is there yet, with ids of the right kind."""
    ids = {table: await newest(session, table) for table in {match[1] for match in PLACE.finditer(document)}}
    return PLACE.sub(lambda place: json.dumps(nth(ids[place[1]], int(place[2] or 1)), default=str), document)


async def newest(session: ReadSession, table: str) -> list[Any]:
    key = SQLModel.metadata.tables[table].c.id
    try:
        found = [
            row[0]
            for row in await session.rows(key.table.select().with_only_columns(key).order_by(key.desc()).limit(2))
        ]
    except FAILURES:
        found = []  # without its database the service explains itself all the same
    missing = [1, 2] if key.type.python_type is int else [ANY_UUID, ANY_UUID[:-1] + "8"]
    return found + missing[len(found) :]


def nth(ids: list[Any], place: int) -> Any:
    return ids[place - 1]


def elements(schema: Json) -> list[Json]:
    """Two bodies for a bulk, with the second and the third example of each field where it has so many."""
    fields = {name: field["examples"] for name, field in schema["properties"].items() if field.get("examples")}
    return [{name: examples[min(turn, len(examples) - 1)] for name, examples in fields.items()} for turn in (1, 2)]
