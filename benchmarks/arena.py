"""The arena: all servers of an engine are running, and one of them at a time gets requests and is measured."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import httpx

from benchmarks import bulk, wrk
from benchmarks.contestants import OURS
from benchmarks.loads import BULK, LAST_PAGE, LOADS, Choices, Load, script
from benchmarks.machine import tree_seconds
from benchmarks.plan import WARM_UP, Plan
from benchmarks.rounds import Group, Sample, order
from benchmarks.server import Server
from benchmarks.tokens import Tokens
from benchmarks.wrk import Outcome

Tell = Callable[[str], None]
"""Called before each run, with its description."""


def drive(server: Server, load: Load, choices: Choices, connections: int, seconds: int) -> Outcome:
    """Send the requests of a load to a server."""
    if load.bulk:
        return bulk.drive(server.url, connections=connections, seconds=seconds, tokens=choices.tokens)
    text = script(load, server.host, choices)
    return wrk.drive(server.url, text, connections=connections, seconds=seconds)


def sample(outcome: Outcome, load: Load, *, server: float, database: float, memory: float) -> Sample:
    """Return what a run has shown. `server` and `database` are the processor time that was used, in seconds."""
    units = outcome.done * (BULK if load.bulk else 1)
    each = 1 / units if units else 0
    return Sample(
        rate=units / outcome.seconds,
        p50=outcome.p50,
        p99=outcome.p99,
        errors=outcome.errors,
        memory=memory,
        busy=server / outcome.seconds,
        server=server * each * 1e6,
        database=database * each * 1e6,
        received=outcome.received * each,
    )


@dataclass
class Arena:
    """The servers of one engine, and what their loads need."""

    servers: dict[str, Server]
    plan: Plan
    tokens: Tokens
    tell: Tell
    postgres: int = 0
    """The main process of PostgreSQL; 0 on SQLite."""
    seeds: Iterator[int] = field(default_factory=lambda: count(1))
    page: str = ""

    def database_cpu(self) -> float:
        return tree_seconds(self.postgres) if self.postgres else 0

    def run(self, group: Group, name: str, seconds: int) -> Sample:
        """Measure one run of a contestant, and wait until it is idle. A server that answered nothing is restarted."""
        who, _, other = name.partition(":")
        server, load = self.servers[who], LOADS[other or group.load]
        connections = load.at_once(group.connections)
        self.tell(f"{group.engine}  {load.title}  {connections} connections  {who}")
        tokens = self.tokens.of(load, connections) if server.contestant.has_token else ()
        choices = Choices(rows=self.plan.heroes, seed=next(self.seeds), page=self.page, tokens=tokens)
        before, database = server.cpu(), self.database_cpu()
        outcome = drive(server, load, choices, connections, seconds)
        server.settle()
        used, database = server.cpu() - before, self.database_cpu() - database
        result = sample(outcome, load, server=used, database=database, memory=server.memory())
        if not outcome.done:
            server.restart()
        return result

    def hold(self, group: Group) -> Iterator[Group]:
        """Measure the missing rounds of a group, after a warm-up. Yields the group after each round."""
        if len(group.rounds) >= self.plan.rounds:
            return
        for name in group.contestants:
            self.run(group, name, WARM_UP)
        seconds = LOADS[group.load].seconds(self.plan.seconds)
        for turn in range(len(group.rounds), self.plan.rounds):
            done = {name: self.run(group, name, seconds) for name in order(group.contestants, turn)}
            group.rounds.append({name: done[name] for name in group.contestants})
            yield group

    def find_page(self) -> None:
        """Set `page` to page 10,000 (with fewer rows the last full page), by the link on the page before it."""
        offset = min(LAST_PAGE, self.plan.heroes) - 200
        headers = {"Authorization": f"Bearer {self.tokens.members[0]}"}
        answer = httpx.get(f"{self.servers[OURS].url}/heroes/?limit=100&offset={offset}", headers=headers, timeout=30)
        link = answer.raise_for_status().headers["link"].partition("<")[2].partition(">")[0]
        self.page = "/" + link.partition("//")[2].partition("/")[2] if "//" in link else link
