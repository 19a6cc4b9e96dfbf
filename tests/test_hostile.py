"""Hostile requests get small responses; `tests/faults` measures their processor time."""

import logging
from collections.abc import Iterator

import pytest

from tests import application
from tests.engines import Client
from tests.hostile import HERO, REQUESTS, Hostile

pytestmark = pytest.mark.untraced

app, client, database = application.app, application.client, application.database
LARGEST, LARGEST_OUTCOME = 20_000, 500_000
"""The maximum size of a response in bytes: for a problem, and for a bulk request that skips all 1,000 elements."""
SOME = [request for number, request in enumerate(REQUESTS) if number % 5 == 0 or len(request.body) < 20_000]
"""A part of the requests: the larger ones are similar, and take long to send."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("hostile", SOME, ids=lambda hostile: hostile.name)
async def test_a_hostile_request_gets_a_small_answer(client: Client, hostile: Hostile) -> None:
    await client.post("/heroes/", json=HERO)
    answer = await client.request(hostile.method, hostile.path, content=hostile.body, headers=hostile.headers)
    assert answer.status_code in hostile.statuses, answer.text[:1000]
    assert len(answer.content) <= (LARGEST_OUTCOME if answer.status_code == 207 else LARGEST)
