"""How it ends, as far as one process shows it that does not end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn
from fastapi import APIRouter, FastAPI

from kit.operations.unit_of_work import UnitOfWork
from kit.server import shutdown
from kit.server.shutdown import Shutdown
from tests.conftest import Client
from tests.probe import PATIENCE, having, probing, until
from tests.shop import new_hero

router = APIRouter(prefix="/probes", tags=["probes"], route_class=UnitOfWork)


@router.get("/cut-off")
async def be_cut_off() -> None:
    """What a server does to the requests whose time is over."""
    raise asyncio.CancelledError


@pytest.fixture
def ending(app: FastAPI) -> Iterator[None]:
    """The application has been told to end."""
    told = Shutdown(delay=0, timeout=0)
    told.has_begun = True
    with having(app, shutdown=told):
        yield


@pytest.mark.usefixtures("ending")
async def test_a_service_that_ends_is_not_ready_and_yet_alive(client: Client) -> None:
    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.headers["Retry-After"]) == (503, "1")
    assert ready.json()["detail"] == "The service is shutting down."
    assert (await client.get("/health/live")).status_code == 200


@pytest.mark.usefixtures("ending")
async def test_a_service_that_ends_answers_and_closes_every_connection(client: Client) -> None:
    await new_hero(client)
    for path, status in (("/heroes/", 200), ("/heroes/77", 404), ("/nowhere", 404), ("/health/ready", 503)):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers.get("Connection")) == (status, "close")


@pytest.mark.usefixtures("ending")
async def test_who_is_cut_off_by_the_end_is_told_that_the_outcome_is_unknown(app: FastAPI) -> None:
    async with probing(app, router) as client:
        answer = await client.get("/probes/cut-off")
    assert (answer.status_code, answer.json()["outcome"]) == (503, "unknown")
    assert answer.headers["Retry-After"] == "1"


async def test_who_is_cut_off_otherwise_is_told_nothing(app: FastAPI) -> None:
    async with probing(app, router) as client:
        with pytest.raises(asyncio.CancelledError):
            await client.get("/probes/cut-off")


async def test_a_service_that_goes_on_is_ready_and_keeps_its_connections(client: Client) -> None:
    answer = await client.get("/health/ready")
    assert answer.status_code == 200
    assert "Connection" not in answer.headers


async def test_under_another_server_the_signals_are_its_affair() -> None:
    before = signal.getsignal(signal.SIGTERM)
    Shutdown(delay=0, timeout=0).listen()
    assert signal.getsignal(signal.SIGTERM) == before
    assert not asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


@pytest.fixture
async def server() -> AsyncIterator[uvicorn.Server]:
    """A server of uvicorn's which handles the signals, and is not running."""
    server = uvicorn.Server(uvicorn.Config("main:app", log_config=None))
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, server.handle_exit) for number in numbers]
    yield server
    for number, handler in zip(numbers, before, strict=True):
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, handler)


async def test_told_to_end_it_is_not_ready_then_closes_its_doors_and_then_stops(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown, "LINGER", 0)
    door = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    server.servers = [door]
    told = Shutdown(delay=0.01, timeout=2.5)
    told.listen()
    assert server.config.timeout_graceful_shutdown == 3
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: server.should_exit)
    assert told.has_begun
    assert not door.is_serving()
    assert not server.force_exit


async def test_a_person_does_not_wait_for_a_balancer(server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "LINGER", 0)
    Shutdown(delay=10 * PATIENCE, timeout=1).listen()
    os.kill(os.getpid(), signal.SIGINT)
    await until(lambda: server.should_exit)
    assert not server.force_exit


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_again_it_stops_at_once(server: uvicorn.Server, number: int) -> None:
    told = Shutdown(delay=10 * PATIENCE, timeout=1)
    told.listen()
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: told.has_begun)
    os.kill(os.getpid(), number)
    await until(lambda: server.should_exit)
    assert server.force_exit
