"""The examples in docs/relations.md: their resources return the responses that the page shows.

They run in a process of their own, because their tables are in no migration.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs/relations.md"
BEGIN = """
import asyncio, json, re, sys
from typing import Annotated, Any, Optional

import httpx
from fastapi import APIRouter, Depends
from sqlmodel import Field, Relationship, SQLModel, UniqueConstraint, select

import main
from kit import *
from settings import Settings
"""
END = """
def shows(answer: Any, shown: Any) -> bool:
    if isinstance(shown, dict):
        return isinstance(answer, dict) and all(shows(answer.get(name), part) for name, part in shown.items())
    if isinstance(shown, list):
        return len(answer) == len(shown) and all(map(shows, answer, shown))
    if isinstance(shown, str) and shown.endswith("…"):
        return answer.startswith(shown.removesuffix("…"))
    return answer == shown


async def serve(exchanges: list[list[str]]) -> None:
    app = main.create_app(Settings(database_url=sys.argv[1], fast_path=sys.argv[2] == "fast", demo_data=False))
    for router in (invoices, lines, tags, taggings, folders):
        app.include_router(router)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        async with app.runtime.database.writer.begin() as connection:
            await connection.run_sync(SQLModel.metadata.create_all)
        user = {"username": "ann", "email": "ann@example.com", "password": "correct horse"}
        assert (await client.post("/users/", json=user)).json()["id"] == 1
        for request, answer in exchanges:
            method, path, body = (*request.split(" ", 2), "null")[:3]
            given = await client.request(method, path, json=json.loads(body) if body != "null" else None)
            status, shown = answer.split(" ", 1)
            assert given.status_code == int(status) and shows(given.json(), json.loads(shown)), (request, given.text)


asyncio.run(serve(json.loads(sys.stdin.read())))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", ["fast", "plain"])
def test_the_examples_do_what_the_page_says(tmp_path: Path, path: str) -> None:
    exchanges = [part.split("\n") for block in blocks("http") for part in block.strip().split("\n\n")]
    program = "\n\n".join([BEGIN, *blocks("python"), END])
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path}/docs.db", path]
    done = subprocess.run(
        command, cwd=PROJECT, input=json.dumps(exchanges), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
