"""Garbage collection: tuned, but only in a process of the service itself."""

import gc

import pytest
from sqlalchemy import make_url

from kit.importing import THRESHOLD
from kit import Database, Shutdown
from kit.server import garbage_collection
from tests.kit.service import create_runtime, create_service

MEMORY = make_url("sqlite+aiosqlite://")


def test_objects_that_exist_at_start_are_frozen() -> None:
    before = gc.get_threshold()
    try:
        garbage_collection.tune()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] == THRESHOLD
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


class Listening(Shutdown):
    """A shutdown that listens to signals, as under uvicorn, or does not."""

    def __init__(self, is_ours: bool) -> None:
        super().__init__(0, 0)
        self.is_ours = is_ours

    def listen(self) -> bool:
        return self.is_ours


@pytest.mark.parametrize("is_ours", [True, False])
async def test_garbage_collection_is_not_tuned_in_another_process(
    is_ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned: list[bool] = []
    monkeypatch.setattr(garbage_collection, "tune", lambda: tuned.append(True))
    app = create_service(create_runtime(Database(MEMORY)), shutdown=Listening(is_ours))
    async with app.router.lifespan_context(app):
        assert tuned == [True] * is_ours
