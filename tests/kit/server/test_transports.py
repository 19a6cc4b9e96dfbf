"""Transports: the head of a response and the first part of its body are sent together."""

import asyncio
from unittest.mock import Mock

import pytest

from kit.server.transports import JoiningTransport

HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"body"


@pytest.fixture
async def joining() -> JoiningTransport:
    transport = Mock(spec=asyncio.Transport)
    transport.get_write_buffer_size.return_value = 7
    return JoiningTransport(transport, asyncio.get_running_loop())


def calls(joining: JoiningTransport) -> list[object]:
    """Return the calls of the inner transport: the name and the arguments of each."""
    inner = joining.transport
    assert isinstance(inner, Mock)
    return [(name, *arguments) for name, arguments, _ in inner.method_calls]


async def test_a_head_is_sent_together_with_the_first_part_of_the_body(joining: JoiningTransport) -> None:
    for data in (HEAD, BODY, BODY):
        joining.write(data)
    assert calls(joining) == [("writelines", (HEAD, BODY)), ("write", BODY)]


async def test_a_head_without_a_body_is_sent_in_the_same_iteration_of_the_event_loop(joining: JoiningTransport) -> None:
    joining.write(HEAD)
    assert calls(joining) == []
    await asyncio.sleep(0)
    assert calls(joining) == [("write", HEAD)]


async def test_each_response_of_an_iteration_is_joined(joining: JoiningTransport) -> None:
    for data in (HEAD, BODY, HEAD, BODY):
        joining.write(data)
    await asyncio.sleep(0)
    assert calls(joining) == [("writelines", (HEAD, BODY))] * 2


async def test_a_head_is_sent_before_the_transport_closes(joining: JoiningTransport) -> None:
    joining.write(HEAD)
    joining.close()
    assert calls(joining) == [("write", HEAD), ("close",)]


async def test_an_aborted_transport_sends_nothing(joining: JoiningTransport) -> None:
    joining.write(HEAD)
    joining.abort()
    await asyncio.sleep(0)
    assert calls(joining) == [("abort",)]


async def test_a_head_that_is_held_counts_as_buffered(joining: JoiningTransport) -> None:
    joining.write(HEAD)
    assert joining.get_write_buffer_size() == len(HEAD) + 7
