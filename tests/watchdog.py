"""Watchdog: no request of the tests occupies the event loop for long, in processor time of the loop's thread.

Each step of a request, from one `await` that waits to the next, is measured. The work of other processes and threads
does not count, so a busy machine makes little difference. Garbage collection does not count either: it frees what other
tests have left.
"""

import gc
import json
import sys
from collections.abc import Callable, Coroutine, Generator
from copy import copy
from functools import partial
from time import thread_time
from types import coroutine
from typing import Any
from weakref import WeakSet

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

BOUND, BUSY, TRACED = 0.1, 2.5, 8
"""The longest step of a request, in seconds of processor time, and how many times longer it may take at most.

The bound is that of a processor whose pace is `REFERENCE`; it is longer on a slower one. A processor that shares its
caches with others is slower too: how much is measured after a long step, and at most `BUSY` is allowed. Lines whose
coverage is measured may take `TRACED` times as long. `tests/faults/test_hostile.py` measures the most expensive
requests alone, without these allowances.
"""
REFERENCE = 0.0025
"""The processor time of `pace` on a current server of about 3 GHz, in seconds."""


def pace() -> float:
    """Return the processor time of some work that is always the same, in seconds: some milliseconds."""
    started = thread_time()
    json.loads(json.dumps([{"id": number, "name": str(number)} for number in range(2000)]))
    return thread_time() - started


def slowness_of_the_machine() -> float:
    """Return how many times longer `pace` takes on this machine than `REFERENCE`: at least 1."""
    return max(1.0, min(pace() for _ in range(5)) / REFERENCE)


class Collector:
    """Processor time of garbage collection in this process, in seconds."""

    def __init__(self) -> None:
        self.seconds = self.started = 0.0

    def __call__(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self.started = thread_time()
        else:
            self.seconds += thread_time() - self.started


class Watchdog:
    """Measures the requests that reach applications through `httpx.ASGITransport`."""

    def __init__(self) -> None:
        self.collector = Collector()
        self.started: WeakSet[ASGIApp] = WeakSet()
        self.slow: list[str] = []
        """The requests with a step that was too long."""
        self.machine = slowness_of_the_machine()
        """The lowest slowness of the machine that was measured so far."""

    def install(self) -> None:
        gc.callbacks.append(self.collector)
        handle = httpx.ASGITransport.handle_async_request

        async def handle_watched(transport: httpx.ASGITransport, request: httpx.Request) -> httpx.Response:
            watched = copy(transport)
            watched.app = self.watched(transport.app)
            return await handle(watched, request)

        httpx.ASGITransport.handle_async_request = handle_watched  # type: ignore[method-assign, assignment]

    def watched(self, app: ASGIApp) -> ASGIApp:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if app not in self.started:  # its first request checks the routes, as the start of a server does
                self.started.add(app)
                await app(scope, receive, send)
                return
            note = partial(self.note, f"{scope.get('method')} {scope.get('path')}")
            await self.measured(app(scope, receive, send), note)  # type: ignore[arg-type]  # ASGI says Awaitable

        return serve

    @coroutine
    def measured(self, inner: Coroutine[Any, Any, None], note: Callable[[float], None]) -> Generator[Any, Any, None]:
        step: Callable[[], Any] = partial(inner.send, None)
        while True:
            started, collected = thread_time(), self.collector.seconds
            try:
                awaited = step()
            except StopIteration:
                return
            finally:
                note(thread_time() - started - self.collector.seconds + collected)
            try:
                step = partial(inner.send, (yield awaited))
            except BaseException as failure:
                step = partial(inner.throw, failure)

    def note(self, request: str, seconds: float) -> None:
        if seconds > BOUND and seconds > BOUND * (TRACED * self.machine if sys.gettrace() else self.slowness()):
            self.slow.append(f"{request}: {seconds * 1000:.0f} ms")

    def slowness(self) -> float:
        """Return how many times longer the machine takes now than the reference: at most `BUSY` times its own."""
        now = pace() / REFERENCE
        self.machine = max(1.0, min(now, self.machine))
        return max(1.0, min(BUSY * self.machine, now))


WATCHDOG = Watchdog()
