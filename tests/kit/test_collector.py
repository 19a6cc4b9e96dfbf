"""Garbage is looked for seldom, but only in a process that is the service's own."""

import gc

import pytest
from fastapi import FastAPI
from sqlalchemy import make_url

from kit.database.databases import Database
from kit.server import garbage_collection as collector
from main import lifespan
from tests.probe import having

MEMORY = make_url("sqlite+aiosqlite://")


def test_what_is_there_at_the_start_is_not_looked_at_again() -> None:
    before = gc.get_threshold()
    try:
        collector.relax()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] == collector.ALLOCATIONS
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


class Listening:
    """As under uvicorn, or not."""

    def __init__(self, is_ours: bool) -> None:
        self.is_ours = is_ours

    def listen(self) -> bool:
        return self.is_ours


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_process_of_somebody_else_is_left_alone(
    app: FastAPI, is_ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    relaxed: list[bool] = []
    monkeypatch.setattr(collector, "relax", lambda: relaxed.append(True))
    with having(app, shutdown=Listening(is_ours), database=Database(MEMORY)):
        async with lifespan(app):
            assert relaxed == [True] * is_ours
