"""Load: readers, writers with Idempotency-Keys, and a scraper of metrics; all of them count their responses."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any, NamedTuple

from tests.faults.client import Answer, Client

READERS, WRITERS = 20, 10
PAUSE = 0.1
"""The pause of a client after a failure, in seconds."""
READ_PAUSE, WRITE_PAUSE = 0.2, 0.1
"""The pauses of a client after a success, in seconds: one machine runs the load and the whole cluster."""
READ = "/heroes/?limit=5"


class Failure(NamedTuple):
    """A failed request: its time, and the status of the response, or None for a broken connection."""

    moment: float
    status: int | None
    text: str


@dataclass
class Load:
    """The clients of several services. Each write creates a hero with a unique name, by which it is found again."""

    ports: Sequence[int]
    tag: str
    readers: int = READERS
    writers: int = WRITERS
    is_over: bool = False
    acknowledged: set[str] = field(default_factory=set)
    not_applied: set[str] = field(default_factory=set)
    """Names whose write was reported as not applied and not repeated, so that they must not be stored."""
    unseen: list[str] = field(default_factory=list)
    """Paths of acknowledged writes for which the writer got a 404 afterwards."""
    acknowledgements: dict[int, list[float]] = field(default_factory=dict)
    """The times (`time.monotonic`) of acknowledged writes, by port."""
    failed_reads: list[Failure] = field(default_factory=list)
    failed_own_reads: list[Failure] = field(default_factory=list)
    """Failed reads after own writes. If no standby has replayed the write, they wait for the next primary."""
    failed_writes: list[Failure] = field(default_factory=list)
    statuses: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    """The number of responses by port, method and status."""
    reads: int = 0
    slowest_read: float = 0.0
    scrapes: dict[int, list[float]] = field(default_factory=dict)

    async def read(self, port: int) -> None:
        async with Client(port) as client:
            while not self.is_over:
                answer = await self.ask(client, "GET", READ, self.failed_reads)
                if answer is not None and answer.status == 200:
                    self.reads += 1
                    self.slowest_read = max(self.slowest_read, answer.seconds)
                await asyncio.sleep(READ_PAUSE)

    async def write(self, port: int, writer: int) -> None:
        """Create heroes. Writes with an unknown outcome are repeated; those not applied only by every second writer."""
        async with Client(port) as client:
            for number in count():
                if self.is_over:
                    return
                await self.write_one(client, f"{self.tag}-{writer}-{number}", repeats=writer % 2 == 0)
                await asyncio.sleep(WRITE_PAUSE)

    async def write_one(self, client: Client, name: str, *, repeats: bool) -> None:
        body, is_uncertain = {"name": name, "secret_name": "None"}, False
        for _ in range(600):
            answer = await self.ask(client, "POST", "/heroes/", self.failed_writes, body, Idempotency_Key=name)
            if answer is not None and answer.status == 201:
                self.acknowledged.add(name)
                self.acknowledgements.setdefault(client.port, []).append(time.monotonic())
                await self.read_own(client, answer)
                return
            is_not_applied = answer is not None and answer.json().get("outcome") == "not_applied"
            is_uncertain = is_uncertain or not is_not_applied
            if not is_uncertain and not repeats:
                self.not_applied.add(name)
                return
            await asyncio.sleep(PAUSE)

    async def read_own(self, client: Client, written: Answer) -> None:
        """Read the created hero, with the `Read-After` of its response, so that a standby must have replayed it."""
        path, token = written.headers["location"], written.headers.get("read-after", "")
        answer = await self.ask(client, "GET", path, self.failed_own_reads, Read_After=token)
        if answer is not None and answer.status == 404:
            self.unseen.append(path)

    async def ask(
        self, client: Client, method: str, path: str, failures: list[Failure], body: Any = None, **headers: str
    ) -> Answer | None:
        """Return the response; None if the connection broke."""
        try:
            answer = await client.send(method, path, body, **headers)
        except (OSError, TimeoutError) as failure:
            failures.append(Failure(time.monotonic(), None, repr(failure)))
            await asyncio.sleep(PAUSE)
            return None
        self.statuses[client.port, method, answer.status] += 1
        if answer.status >= 300:
            failures.append(Failure(time.monotonic(), answer.status, answer.body.decode()))
            await asyncio.sleep(PAUSE)
        return answer

    async def scrape(self, port: int) -> None:
        """Read the metrics each second."""
        async with Client(port) as client:
            while not self.is_over:
                due = time.monotonic() + 1
                with suppress(OSError, TimeoutError):
                    if (await client.send("GET", "/metrics")).status == 200:
                        self.scrapes.setdefault(port, []).append(time.monotonic())
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def run(self) -> None:
        ports = self.ports
        async with asyncio.TaskGroup() as group:
            for number in range(self.readers):
                group.create_task(self.read(ports[number % len(ports)]))
            for number in range(self.writers):
                group.create_task(self.write(ports[number // 2 % len(ports)], number))
            for port in ports:
                group.create_task(self.scrape(port))

    @property
    def outcomes(self) -> set[str | None]:
        """The values of `outcome` in the 503s of writes."""
        return {json.loads(failure.text).get("outcome") for failure in self.failed_writes if failure.status == 503}

    @property
    def failures(self) -> list[Failure]:
        return [*self.failed_reads, *self.failed_own_reads, *self.failed_writes]

    def longest_gap(self, port: int | None = None) -> float:
        """Return the longest time between two acknowledged writes, of one service or of all."""
        moments = [moment for one, some in self.acknowledgements.items() if port in (None, one) for moment in some]
        return longest_gap(moments)

    def gap_of_metrics(self) -> float:
        return max(longest_gap(moments) for moments in self.scrapes.values())


def longest_gap(moments: Sequence[float]) -> float:
    moments = sorted(moments)
    return max((later - earlier for earlier, later in pairwise(moments)), default=float("inf"))


@asynccontextmanager
async def loaded(ports: Sequence[int], tag: str, readers: int = READERS, writers: int = WRITERS) -> Any:
    """Run a load during the block. Yields the load."""
    load = Load(ports, tag, readers, writers)
    running = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        load.is_over = True
        await running
