"""The path of a request, as docs/request.md describes it."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from kit import Service
from kit.database import statements
from kit.operations import unit_of_work
from kit.server import log_writer
from tests import application
from tests.application import FAST_PATH
from tests.engines import Client

app, client, database = application.app, application.client, application.database
PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "docs/request.md").read_text()
MAX_STEPS = 12
MAX_FILES = {"GET": 15, "POST": 18}
"""The largest number of files that a request enters."""
HERO = {"name": "Deadpond", "secret_name": "Dive Wilson"}


def steps_of(section: str) -> list[str]:
    """Return the files that a section names, in order."""
    part = PAGE.partition(f"## `{section}`")[2].partition("\n## ")[0]
    return re.findall(r"^\| \d+ \| `([\w/.]+)` \|", part, re.MULTILINE)


class Profile:
    """The files of the project in which functions were called, in the order of their first calls."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PROJECT) and ".venv" not in path.parts:
            name = str(path.relative_to(PROJECT))
            if name not in self.files and not is_sampling(frame):
                self.files.append(name)

    def __enter__(self) -> "Profile":
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


def is_sampling(frame: FrameType | None) -> bool:
    """Return whether a function was called for the metrics, by a task beside the request."""
    while frame is not None:
        if "/kit/metrics/" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


@contextmanager
def log_thread() -> Iterator[None]:
    """Let a thread write the log, as in a server, without pytest's handlers."""
    log = logging.getLogger("kit")
    others, log.handlers = log.handlers, list[logging.Handler](log_writer.writers)
    log_writer.start()
    try:
        yield
    finally:
        log_writer.stop()
        log.handlers = others


def is_in_order(steps: list[str], files: list[str]) -> bool:
    rest: Iterator[str] = iter(files)
    return all(step in rest for step in steps)


@pytest.mark.skipif(not FAST_PATH, reason="docs/request.md shows the fast path")
@pytest.mark.parametrize("section", ["GET /heroes/1", "POST /heroes/"])
async def test_a_request_enters_few_files_in_the_order_of_the_page(
    app: Service, client: Client, section: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "MIN_SLOW_SECONDS", inf)  # on a busy machine a statement would be logged as slow
    monkeypatch.setattr(unit_of_work, "WATCH_AFTER", 10.0)  # and the connection of a read would be watched
    hero = (await client.post("/heroes/", json=HERO)).json()
    method, path = section.replace("1", str(hero["id"])).split(" ")
    body = HERO if method == "POST" else None
    await client.request(method, path, json=body)  # lazy initialization happens at the first request
    with log_thread(), Profile() as profile:
        assert (await client.request(method, path, json=body)).is_success
    steps = steps_of(section)
    assert 5 < len(steps) <= MAX_STEPS
    assert is_in_order(steps, profile.files), profile.files
    entered = [file for file in profile.files if not file.startswith("tests/")]
    assert len(entered) <= MAX_FILES[method], "\n".join(entered)
