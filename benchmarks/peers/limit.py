"""The upper limit: a service on bare ASGI, asyncpg with one prepared statement per request, and orjson.

It has no framework, session or validation, except the constraints of the database: each request is one statement.
"""

import os
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import asyncpg
import orjson

COLUMNS = "id, name, secret_name, age, power, team_id, version, created_at, updated_at"
ONE = f"SELECT {COLUMNS} FROM hero WHERE id = $1"
MANY = f"SELECT {COLUMNS} FROM hero ORDER BY id LIMIT $1 OFFSET $2"
FILTERED = f"SELECT {COLUMNS} FROM hero WHERE age >= $3 ORDER BY power DESC, id DESC LIMIT $1 OFFSET $2"
ADDED = f"""INSERT INTO hero (name, secret_name, age, power, team_id, version, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, 1, $6, $6) RETURNING {COLUMNS}"""
ALL_ADDED = f"""INSERT INTO hero (name, secret_name, age, power, team_id, version, created_at, updated_at)
    SELECT *, 1, $6, $6 FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[]) RETURNING {COLUMNS}"""
POSTS = """SELECT post.id, title, body, author_id, post.version, post.created_at, post.updated_at,
    "user".id AS author_key, username FROM post JOIN "user" ON "user".id = author_id
    ORDER BY post.created_at DESC, post.id DESC LIMIT $1"""
CHANGEABLE = ("name", "secret_name", "age", "power", "team_id")
JSON = (b"content-type", b"application/json")
pool: asyncpg.Pool


async def keep(connection: asyncpg.Connection) -> None:
    """Skip the reset when a connection returns to the pool, which saves a statement: no request changes settings."""


async def new_pool() -> asyncpg.Pool:
    size = int(os.environ["POOL_SIZE"])
    kept: dict[str, Any] = {"min_size": size, "max_size": size, "max_inactive_connection_lifetime": 0}
    return await asyncpg.create_pool(os.environ["DATABASE_URL"], **kept, reset=keep)


async def lifespan(receive: Any, send: Any) -> None:
    global pool
    await receive()
    pool = await new_pool()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await pool.close()
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    status, content = await HANDLERS[scope["method"]](scope, receive)
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
    headers = [JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Any) -> Any:
    message = await receive()
    body = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    return orjson.loads(body)


async def get(scope: dict[str, Any], receive: Any) -> tuple[int, Any]:
    path = scope["path"]
    if path == "/heroes/":
        return 200, await heroes(dict(parse_qsl(scope["query_string"].decode())))
    if path == "/posts/":
        return 200, await posts(dict(parse_qsl(scope["query_string"].decode())))
    row = await pool.fetchrow(ONE, int(path[8:]))
    return (200, dict(row)) if row else (404, {"detail": "Hero not found"})


async def heroes(query: dict[str, str]) -> list[dict[str, Any]]:
    limit, offset = int(query.get("limit", 100)), int(query.get("offset", 0))
    if "age__gte" in query:
        return list(map(dict, await pool.fetch(FILTERED, limit, offset, int(query["age__gte"]))))
    return list(map(dict, await pool.fetch(MANY, limit, offset)))


async def posts(query: dict[str, str]) -> list[dict[str, Any]]:
    found = list(map(dict, await pool.fetch(POSTS, int(query.get("limit", 100)))))
    for post in found:
        post["author"] = {"id": post.pop("author_key"), "username": post.pop("username")}
    return found


async def post(scope: dict[str, Any], receive: Any) -> tuple[int, Any]:
    new = await body_of(receive)
    return 201, await (add_all(new) if scope["path"] == "/heroes/bulk" else add(new))


async def add(new: dict[str, Any]) -> dict[str, Any]:
    values = (new["name"], new["secret_name"], new.get("age"), new.get("power", 0), new.get("team_id"))
    return dict(await pool.fetchrow(ADDED, *values, datetime.now(UTC)))


async def add_all(new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    columns = ([hero.get(name, 0 if name == "power" else None) for hero in new] for name in CHANGEABLE)
    return list(map(dict, await pool.fetch(ALL_ADDED, *columns, datetime.now(UTC))))


async def patch(scope: dict[str, Any], receive: Any) -> tuple[int, Any]:
    row = await change(int(scope["path"][8:]), await body_of(receive))
    return (200, dict(row)) if row else (404, {"detail": "Hero not found"})


async def change(number: int, changes: dict[str, Any]) -> asyncpg.Record | None:
    names = [name for name in CHANGEABLE if name in changes]
    sets = "".join(f"{name} = ${place}, " for place, name in enumerate(names, 3))
    statement = f"UPDATE hero SET {sets}version = version + 1, updated_at = $2 WHERE id = $1 RETURNING {COLUMNS}"
    return await pool.fetchrow(statement, number, datetime.now(UTC), *[changes[name] for name in names])


HANDLERS = {"GET": get, "POST": post, "PATCH": patch}
