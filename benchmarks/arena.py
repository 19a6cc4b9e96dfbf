"""Contests: the servers run side by side; only the measured one gets requests."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import httpx

from benchmarks.loads import LOADS
from benchmarks.plan import PAUSE, WARM_UP, Plan
from benchmarks.rounds import OURS, Contest, turns
from benchmarks.server import Server
from benchmarks.wrk import Sample, drive, parsed

Tell = Callable[[str, float], None]
"""Called before each run of wrk, with the load and its duration."""
LAST_BUT_ONE = 10_000 * 100 - 200
"""The offset of page 9,999, whose response links to page 10,000."""


@contextmanager
def serving(urls: Mapping[str, str], folder: Path) -> Iterator[dict[str, Server]]:
    """Start these servers, each on the database of its URL, for the duration of the block."""
    with ExitStack() as stack:
        servers = {name: Server(name, url, folder / f"{name}.log") for name, url in urls.items()}
        for server in servers.values():
            server.start()
            stack.callback(server.stop)
        for server in servers.values():
            server.wait_until_alive()
        yield servers


@dataclass
class Arena:
    """The servers of one engine, and the parameters of their loads."""

    servers: dict[str, Server]
    plan: Plan
    tell: Tell
    seeds: Iterator[int] = field(default_factory=lambda: count(1))
    paths: dict[str, str] = field(default_factory=dict)

    def run(self, contest: Contest, who: str, seconds: int) -> Sample:
        """Run wrk once against one of the two servers. If a load is compared with another load, both runs are ours."""
        server = self.servers.get(who) or self.servers[OURS]
        name = who if who in LOADS else contest.load
        connections, before = LOADS[name].at_once(contest.connections), server.cpu()
        self.tell(f"{contest.engine}  {LOADS[name].title}  {connections} connections  {who}", seconds + PAUSE)
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(LOADS[name].script(self.plan.heroes, next(self.seeds), self.paths))
            script.flush()
            output = drive(server.url, script.name, connections=connections, seconds=seconds)
        busy = (server.cpu() - before) / seconds
        server.settle()
        return replace(parsed(output, LOADS[name].rows), memory=server.memory(), busy=busy)

    def hold(self, group: list[Contest]) -> None:
        """Measure in rounds after a warm-up. In each round our server alternates with the peers."""
        by_peer = {contest.peer: contest for contest in group}
        for who in (OURS, *by_peer):
            self.run(group[0], who, WARM_UP)
        ours: Sample | None = None
        for _, peer, who in turns(list(by_peer), self.plan.rounds):
            sample = self.run(
                by_peer[peer], who, LOADS[who if who in LOADS else group[0].load].seconds(self.plan.seconds)
            )
            if who == OURS:
                ours = sample
            elif ours:
                by_peer[peer].pairs.append((ours, sample))

    def find_page(self) -> None:
        """Find page 10,000 by the link of the page before it; with fewer rows, the last full page."""
        offset = min(LAST_BUT_ONE, self.plan.heroes - 200)
        answer = httpx.get(f"{self.servers[OURS].url}/heroes/?limit=100&offset={offset}", timeout=30)
        link = answer.headers["link"].partition("<")[2].partition(">")[0]
        self.paths["page_10000"] = "/" + link.partition("//")[2].partition("/")[2] if "//" in link else link


def held(arena: Arena, groups: Iterable[list[Contest]]) -> Iterator[list[Contest]]:
    """Yield each group when it is done."""
    arena.find_page()
    for group in groups:
        arena.hold(group)
        yield group
