"""The body of a request, as a server hands it over."""

from typing import Any

import pytest

from kit.http.bodies import JSONBody
from kit.http.problems import Problem


def request_of(*messages: dict[str, Any]) -> JSONBody:
    """A request whose body arrives in these messages."""
    arriving = list(messages)

    async def receive() -> dict[str, Any]:
        return arriving.pop(0)

    headers = [(b"content-type", b"application/json")]
    request = JSONBody({"type": "http", "method": "POST", "headers": headers}, receive)
    request.limit = 100
    return request


async def test_a_body_that_is_read_again_is_the_same() -> None:
    request = request_of(
        {"type": "http.request", "body": b'{"a":', "more_body": True}, {"type": "http.request", "body": b"1}"}
    )
    assert await request.json() == {"a": 1}
    assert await request.json() is await request.json()


async def test_a_body_that_ends_early_is_malformed() -> None:
    messages = {"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}
    with pytest.raises(Problem, match="400"):
        await request_of(*messages).json()
    with pytest.raises(Problem, match="400"):  # as a form is read
        [chunk async for chunk in request_of(*messages).stream()]


async def test_a_body_that_grows_over_the_limit_is_refused_on_the_way() -> None:
    request = request_of(*[{"type": "http.request", "body": b"0" * 60, "more_body": True}] * 2)
    with pytest.raises(Problem, match="413"):
        await request.body()
