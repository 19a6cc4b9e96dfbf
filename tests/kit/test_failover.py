"""Failover: the connections to a primary that hangs are closed as soon as another server is the primary."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kit.database import failover
from kit.database.failover import FollowedPrimary
from kit.database.postgresql_engines import connect_to_postgres, opener
from kit.database.url_options import driver_options
from kit.database.urls import parsed

pytestmark = pytest.mark.no_fast_path


class Server:
    """A server of PostgreSQL: it answers, or it hangs."""

    def __init__(self, name: str) -> None:
        self.name, self.hangs = name, False


class Connection:
    def __init__(self, server: Server) -> None:
        self.server, self.is_terminated = server, False
        self.listeners: list[Callable[[Any], None]] = []

    def add_termination_listener(self, listener: Callable[[Any], None]) -> None:
        self.listeners.append(listener)

    async def fetchrow(self, _: str) -> tuple[str]:
        if self.server.hangs:
            await asyncio.sleep(60)
        return (self.server.name,)

    def terminate(self) -> None:
        self.is_terminated = True
        for listener in self.listeners:
            listener(self)


class Cluster:
    """Servers of which one is the primary; or none, if the primary hangs and no other has taken over."""

    def __init__(self) -> None:
        self.primary = Server("first")

    async def connect(self, *_: Any, **__: Any) -> Connection:
        if self.primary.hangs:
            raise ConnectionRefusedError
        return Connection(self.primary)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(failover, "INTERVAL", 0.01)
    monkeypatch.setattr(failover, "LOOKING_INTERVAL", 0.01)
    monkeypatch.setattr(failover, "ANSWER_SECONDS", 0.02)
    return Cluster()


async def test_connections_to_a_hanging_primary_are_closed_when_another_one_takes_over(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    followed = FollowedPrimary(cluster.connect)
    former = [await followed() for _ in range(3)]
    await asyncio.sleep(0.05)
    cluster.primary.hangs = True
    await asyncio.sleep(0.1)
    cluster.primary = Server("second")
    early = await followed()
    await asyncio.sleep(0.1)
    assert [connection.is_terminated for connection in (*former, early)] == [True, True, True, False]
    assert "closed 3 connections to the former one" in caplog.text
    early.terminate()


async def test_connections_to_a_slow_primary_are_kept_while_there_is_no_other(cluster: Cluster) -> None:
    followed = FollowedPrimary(cluster.connect)
    connection = await followed()
    await asyncio.sleep(0.05)
    cluster.primary.hangs = True
    await asyncio.sleep(0.1)
    cluster.primary.hangs = False
    await asyncio.sleep(0.1)
    assert not connection.is_terminated
    connection.terminate()


async def test_nothing_is_asked_after_the_last_connection_was_closed(cluster: Cluster) -> None:
    followed = FollowedPrimary(cluster.connect)
    one, other = await followed(), await followed()
    task = followed.task
    assert task is not None
    one.terminate()
    await asyncio.sleep(0.03)
    assert not task.done()
    other.terminate()
    await asyncio.sleep(0.03)
    assert (task.cancelled(), followed.probe) == (True, None)


@pytest.mark.parametrize(
    ("url", "follows"),
    [
        ("postgresql://one,two/database", True),
        ("postgresql://one,two/database?target_session_attrs=primary", True),
        ("postgresql://one,two/database?target_session_attrs=any", False),
        ("postgresql://one/database?target_session_attrs=primary", False),
    ],
)
def test_the_primary_is_followed_if_there_are_several_hosts(url: str, follows: bool) -> None:
    found = opener(*driver_options(parsed(url)))
    assert (found is not connect_to_postgres) == follows
