"""The bookshop on a cluster: its reads, and which servers have answered them."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from kit import Database, Service
from kit.database.engines import Pool
from kit.database.servers import standby_urls
from kit.database.urls import parsed
from kit.http.events import COUNTS
from kit.replicas import install
from kit.replicas.router import Router
from kit.replicas.servers import OK
from tests.kit.probes import until
from tests.kit.service import FAST_PATH, clear, create_runtime, create_service, create_tables
from tests.replication import Cluster

PRIMARY = "primary"
EVENT = "replica_reads"


async def create_library(cluster: Cluster) -> None:
    """Create the tables of the bookshop on the primary."""
    database = Database(parsed(cluster.primary.url()))
    await create_tables(database)
    await database.dispose()


@asynccontextmanager
async def bookshop_on(
    cluster: Cluster,
    *others: Any,
    fast: bool = FAST_PATH,
    max_lag: float = 10,
    primary: str = "",
    standbys: str = "",
    **options: Any,
) -> AsyncIterator[Service]:
    """Provide the bookshop, without rows, which reads from the standbys of a cluster when they can be read."""
    database = Database(parsed(primary or cluster.primary.url()), Pool(timeout=10))
    service = create_service(create_runtime(database, **options.pop("runtime", {})), *others, fast=fast, **options)
    hosts = ",".join(standby.host for standby in cluster.standbys)
    install(service, standby_urls(standbys or f"postgresql://postgres@{hosts}/postgres"), max_lag)
    async with service.router.lifespan_context(service):
        await clear(database)
        await until(lambda: bool(standbys) or all(state == OK for state in router_of(service).states().values()))
        yield service


def router_of(service: Service) -> Router:
    """Return the router of the read sessions."""
    router: Any = service.runtime.database.choose_reader
    return router.__self__  # type: ignore[no-any-return]


@contextmanager
def counted_reads() -> Iterator[Callable[..., float]]:
    """Count the reads of servers: the result returns those of a server, or of all standbys."""
    before = {key: count for key, count in COUNTS.items() if key[0] == EVENT}

    def count(name: str = "") -> float:
        keys = [key for key in COUNTS if key[0] == EVENT and key[1] != PRIMARY]
        wanted: Any = [(EVENT, name)] if name else keys
        return sum(COUNTS[key] - before.get(key, 0) for key in wanted)

    yield count
