"""Robyn, whose HTTP server is written in Rust, with asyncpg: `python -m benchmarks.peers.robyn 8000`.

As its documentation shows: parameters by their types, bodies as pydantic models, answers as dictionaries. It has an
environment of its own, because it needs an older uvloop than the service.
"""

import sys
from typing import Any

from pydantic import BaseModel, TypeAdapter
from robyn import Request, Robyn

from benchmarks.peers import limit
from benchmarks.peers.collector import relax


class HeroIn(BaseModel):
    name: str
    secret_name: str
    age: int | None = None
    power: int = 0
    team_id: int | None = None


class HeroUpdate(BaseModel):
    name: str | None = None
    secret_name: str | None = None
    age: int | None = None
    power: int | None = None
    team_id: int | None = None


MANY = TypeAdapter(list[HeroIn])
NOT_FOUND: Any = ({"detail": "Hero not found"}, {}, 404)
app = Robyn(__file__)


@app.startup_handler
async def start() -> None:
    limit.pool = await limit.new_pool()


@app.get("/heroes/")
async def list_heroes(request: Request) -> list[dict[str, Any]]:
    return await limit.heroes({name: values[-1] for name, values in request.query_params.to_dict().items()})


@app.get("/heroes/:hero_id")
async def get_hero(hero_id: int) -> dict[str, Any]:
    row = await limit.pool.fetchrow(limit.ONE, hero_id)
    return dict(row) if row else NOT_FOUND


@app.post("/heroes/")
async def create_hero(new: HeroIn) -> dict[str, Any]:
    return await limit.add(new.model_dump())


@app.post("/heroes/bulk")
async def create_heroes(request: Request) -> list[dict[str, Any]]:
    return await limit.add_all([new.model_dump() for new in MANY.validate_json(request.body)])


@app.patch("/heroes/:hero_id")
async def update_hero(hero_id: int, changes: HeroUpdate) -> dict[str, Any]:
    row = await limit.change(hero_id, changes.model_dump(exclude_unset=True))
    return dict(row) if row else NOT_FOUND


@app.get("/posts/")
async def list_posts() -> list[dict[str, Any]]:
    return await limit.posts({})


if __name__ == "__main__":
    app.config.disable_openapi = True
    relax()
    app.start(port=int(sys.argv[1]))
