"""Graceful shutdown, tested in a process that does not end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import APIRouter

from kit import Database, Service, Shutdown, allowing
from kit.server import shutdown
from tests.engines import Client
from tests.kit.probes import TIMEOUT_SECONDS, new_book, until
from tests.kit.service import client_of, create_runtime, create_service

router = APIRouter(prefix="/probes", tags=["probes"], route_class=allowing())


@router.get("/cut-off")
async def be_cancelled() -> None:
    """Raise the exception by which a server cancels requests after the grace period."""
    raise asyncio.CancelledError


@pytest.fixture
def service(database: Database) -> Service:
    return create_service(create_runtime(database), router, shutdown=Shutdown(delay=0, timeout=0))


@pytest.fixture
async def running_client(service: Service) -> AsyncIterator[Client]:
    """Provide a client of a running service."""
    async with client_of(service) as client:
        yield client


@pytest.fixture
async def stopping_client(service: Service) -> AsyncIterator[Client]:
    """Provide a client of a service that is shutting down."""
    service.shutdown.has_begun = True
    async with client_of(service) as client:
        yield client


@pytest.mark.untraced
async def test_a_service_during_shutdown_is_alive_and_not_ready(stopping_client: Client) -> None:
    ready = await stopping_client.get("/health/ready")
    assert (ready.status_code, ready.headers["Retry-After"]) == (503, "1")
    assert ready.json()["detail"] == "The service is shutting down."
    assert (await stopping_client.get("/health/live")).status_code == 200


async def test_a_service_during_shutdown_answers_and_closes_connections(stopping_client: Client) -> None:
    await new_book(stopping_client)
    for path, status in (("/books/", 200), ("/books/77", 404), ("/nowhere", 404), ("/health/ready", 503)):
        answer = await stopping_client.get(path)
        assert (answer.status_code, answer.headers.get("Connection")) == (status, "close")


@pytest.mark.untraced
async def test_a_request_cancelled_by_the_shutdown_has_an_unknown_outcome(stopping_client: Client) -> None:
    answer = await stopping_client.get("/probes/cut-off")
    assert (answer.status_code, answer.json()["outcome"]) == (503, "unknown")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.untraced
async def test_a_request_cancelled_for_another_reason_gets_no_response(running_client: Client) -> None:
    with pytest.raises(asyncio.CancelledError):
        await running_client.get("/probes/cut-off")


@pytest.mark.untraced
async def test_a_running_service_is_ready_and_keeps_connections_open(running_client: Client) -> None:
    answer = await running_client.get("/health/ready")
    assert answer.status_code == 200
    assert "Connection" not in answer.headers


async def test_under_another_server_the_signals_are_left_to_it() -> None:
    before = signal.getsignal(signal.SIGTERM)
    Shutdown(delay=0, timeout=0).listen()
    assert signal.getsignal(signal.SIGTERM) == before
    assert not asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


@pytest.fixture
async def server() -> AsyncIterator[uvicorn.Server]:
    """Provide a uvicorn server that handles the signals, and is not running."""
    server = uvicorn.Server(uvicorn.Config("nothing:app", log_config=None))
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    before = [signal.signal(number, server.handle_exit) for number in numbers]
    yield server
    for number, handler in zip(numbers, before, strict=True):
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, handler)


async def test_sigterm_makes_it_unready_then_closes_its_sockets_then_stops_it(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown, "CLOSE_SECONDS", 0)
    door = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    server.servers = [door]
    stopping = Shutdown(delay=0.01, timeout=2.5)
    stopping.listen()
    assert server.config.timeout_graceful_shutdown == 3
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: server.should_exit)
    assert stopping.has_begun
    assert not door.is_serving()
    assert not server.force_exit


async def test_after_sigint_it_does_not_wait_for_a_load_balancer(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown, "CLOSE_SECONDS", 0)
    Shutdown(delay=10 * TIMEOUT_SECONDS, timeout=1).listen()
    os.kill(os.getpid(), signal.SIGINT)
    await until(lambda: server.should_exit)
    assert not server.force_exit


async def test_a_second_ctrl_c_stops_it_at_once(server: uvicorn.Server) -> None:
    stopping = Shutdown(delay=10 * TIMEOUT_SECONDS, timeout=1)
    stopping.listen()
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: stopping.has_begun)
    for number in (1, 2):
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda number=number: stopping.interrupts == number)  # type: ignore[misc]
        assert server.force_exit == (number == 2)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGQUIT])
async def test_another_signal_of_a_parent_does_not_end_running_requests(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch, first: int, second: int
) -> None:
    monkeypatch.setattr(shutdown, "CLOSE_SECONDS", 0)
    stopping = Shutdown(delay=0.1, timeout=1)
    stopping.listen()
    os.kill(os.getpid(), first)
    await until(lambda: stopping.has_begun)
    os.kill(os.getpid(), second)
    await until(lambda: server.should_exit)
    assert not server.force_exit


@contextmanager
def handling(handlers: dict[signal.Signals, Callable[..., Any] | signal.Handlers]) -> Iterator[None]:
    """Handle these signals during the block as a server other than uvicorn does."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_handler_of_another_server_is_called_too(number: signal.Signals) -> None:
    heard: list[int] = []

    def hear(number: int, _: object) -> None:
        heard.append(number)

    stopping = Shutdown(delay=10 * TIMEOUT_SECONDS, timeout=0)
    with handling({signal.SIGTERM: hear, signal.SIGINT: hear}):
        assert stopping.listen()
        assert not stopping.has_begun
        os.kill(os.getpid(), number)
        await until(lambda: bool(heard))
    assert heard == [number]
    assert stopping.has_begun


async def test_a_signal_that_another_server_ignores_starts_the_shutdown() -> None:
    stopping = Shutdown(delay=0, timeout=0)
    with handling({signal.SIGTERM: lambda *_: None, signal.SIGINT: signal.SIG_IGN}):
        stopping.listen()
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda: stopping.has_begun)
