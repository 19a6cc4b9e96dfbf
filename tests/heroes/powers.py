"""Rows of heroes."""

from typing import Any

from tests.engines import Client
from tests.rows import Json, made


async def new_hero(client: Client, **fields: Any) -> Json:
    return await made(client, "/heroes/", **{"name": "Deadpond", "secret_name": "Dive Wilson"} | fields)
