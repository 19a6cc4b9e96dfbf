"""Shutdown: running requests are finished, new ones are refused in time, and no connection is cut."""

import asyncio
import signal
import time
from collections import Counter
from itertools import count

from tests.faults.client import Answer, Client
from tests.faults.conftest import Serve
from tests.faults.figures import seen
from tests.faults.ledger import Ledger, open_ledger
from tests.faults.waiting import until, until_used
from tests.live import Server

RUNNING, CLIENTS, WORKERS = 12, 20, 2


async def send_once(port: int, method: str, path: str) -> Answer:
    async with Client(port) as client:
        return await client.send(method, path)


async def stop(server: Server, how: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
    """Stop the server. Returns its exit code, and the seconds that it took."""
    started = time.monotonic()
    return await asyncio.to_thread(server.stop, how), time.monotonic() - started


async def is_unready(port: int) -> bool:
    return (await send_once(port, "GET", "/health/ready")).status == 503


async def is_closed(port: int) -> bool:
    try:
        await send_once(port, "GET", "/health/live")
    except ConnectionError:
        return True
    return False


async def test_sigterm_makes_the_service_unready_finishes_requests_and_stops_it(serve: Serve, engine: str) -> None:
    server = serve(SHUTDOWN_DELAY="1")
    writers = 1 if engine == "sqlite" else RUNNING // 2  # SQLite has one writer at a time
    writes = [send_once(server.port, "POST", f"/probes/sleep/3000?name=Last-{number}") for number in range(writers)]
    reads = [send_once(server.port, "GET", "/probes/sleep/3000") for _ in range(RUNNING - writers)]
    running = asyncio.gather(*writes, *reads)
    await until_used(server.port, RUNNING)
    stopping = asyncio.create_task(stop(server))
    await until(lambda: is_unready(server.port))
    ready, late = await send_once(server.port, "GET", "/health/ready"), await send_once(server.port, "GET", "/heroes/")
    assert (ready.status, late.status, late.headers.get("connection")) == (503, 200, "close")
    closed = await until(lambda: is_closed(server.port))
    assert not running.done()
    statuses = Counter(answer.status for answer in await running)
    code, seconds = await stopping
    assert (statuses, code) == ({200: RUNNING - writers, 201: writers}, 0)
    seen(
        f"SIGTERM, {engine}",
        f"{RUNNING} running requests of 3 s, all answered; not ready at once, closed to new callers after"
        f" {closed:.1f} s, ended with {code} after {seconds:.1f} s",
    )


async def test_a_request_longer_than_the_grace_period_gets_a_503(serve: Serve, engine: str) -> None:
    server = serve(SHUTDOWN_TIMEOUT="1")
    running = asyncio.create_task(send_once(server.port, "GET", "/probes/sleep/60000"))
    await until_used(server.port, 1)
    code, seconds = await stop(server)
    assert code == 0
    assert seconds < 20
    answer = await running
    assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
    seen(f"SIGTERM, a request longer than the grace of 1 s, {engine}", f"ended with {code} after {seconds:.1f} s")


async def test_ctrl_c_stops_without_delay_and_finishes_running_requests(serve: Serve, engine: str) -> None:
    server = serve(SHUTDOWN_DELAY="60")
    running = asyncio.create_task(send_once(server.port, "POST", "/probes/sleep/1000?name=Last"))
    await until_used(server.port, 1)
    code, seconds = await stop(server, signal.SIGINT)
    assert ((await running).status, code) == (201, 0)
    assert seconds < 20
    seen(f"Ctrl-C, {engine}", f"ended with {code} after {seconds:.1f} s")


class Load:
    """Clients that open a connection for each write, until the load is stopped."""

    def __init__(self, port: int, ledger: Ledger) -> None:
        self.port, self.ledger, self.is_over = port, ledger, False

    async def write(self, number: int) -> None:
        for turn in count():
            if self.is_over:
                return
            async with Client(self.port) as client:
                await self.ledger.move(client, f"movement-{number}-{turn}")
            await asyncio.sleep(0.1)  # leaves CPU to the starting worker


async def test_a_rolling_restart_fails_no_request(serve: Serve, engine: str) -> None:
    patience = ("--timeout-worker-healthcheck", "30")  # otherwise the server gives up a new worker that starts slowly
    server = serve("--workers", str(WORKERS), *patience)

    async def have_started(times: int) -> bool:
        return server.log.count("Application startup complete") >= times

    await until(lambda: have_started(WORKERS))
    ledger = await open_ledger(server.port)
    load = Load(server.port, ledger)
    running = asyncio.gather(*(load.write(number) for number in range(CLIENTS)))
    await asyncio.sleep(0.5)
    server.process.send_signal(signal.SIGHUP)
    seconds = await until(lambda: have_started(2 * WORKERS))
    await asyncio.sleep(0.5)
    load.is_over = True
    await running
    stored = await ledger.check(server.port)
    assert ledger.statuses == {201: stored}
    seen(f"rolling restart of {WORKERS} workers, {engine}", f"{stored} writes in {seconds:.0f} s, none failed")
