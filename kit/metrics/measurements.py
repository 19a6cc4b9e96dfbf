"""Measurements: the metrics of a service, updated from its responses, its `COUNTS` and the state of its pools."""

from collections import deque
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.http.events import COUNTS, GAUGES
from kit.http.fairness import FairPool
from kit.server.admission import Admission
from kit.server.log_writer import SentResponse
from kit.server.service import Service

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD, NO_ROUTE, NO_STATUS = "other", "-", "none"
"""The labels of requests with an unknown method, without a route, and without a response."""
MAX_ROUTES = 1000
"""The maximum number of pairs of method and route with separate time series. Others have the label `NO_ROUTE`."""
MAX_PENDING = 100_000
"""The maximum number of responses between two updates. It bounds the memory of a service without a lifespan."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
ROWS = (1, 2, 5, 10, 20, 50, 100)
LABELS: Mapping[str, tuple[str, ...]] = {
    "refused": ("busy", "share", "streams", "rate", "body", "head", "login", "pool"),
    "statements": ("select", "insert", "update", "delete", "other"),
    "statement_seconds": ("select", "insert", "update", "delete", "other"),
    "slow_statements": ("select", "insert", "update", "delete", "other"),
    "retries": ("conflict", "lost"),
    "plans": ("hit", "miss"),
    "coalesced": ("reads", "queries"),
    "replica_reads": (),
}
"""The known labels by event. Their time series exist from the start, with the value 0."""


class Measurements:
    """The metrics of one service."""

    def __init__(self, service: Service) -> None:
        self.service, self.registry = service, CollectorRegistry()
        self.pending: deque[SentResponse] = deque(maxlen=MAX_PENDING)
        """The responses since the last update."""
        self.routes: set[tuple[str, str]] = set()
        self.series: dict[tuple[str, str, int], Histogram] = {}
        self.seen = dict(COUNTS)
        """The `COUNTS` at the last update."""
        names = ("method", "route", "status")
        help_text = "Seconds from the head of a request to the end of its response."
        self.duration = Histogram(
            "http_request_duration_seconds", help_text, names, buckets=SECONDS, registry=self.registry
        )
        self.sent = self.counter("http_response_bytes", "Bytes of response bodies, as they were sent.")
        self.group = Histogram(
            "db_group_rows", "Rows of one transaction of group commit.", buckets=ROWS, registry=self.registry
        )
        self.lag = Histogram(
            "event_loop_lag_seconds",
            "Seconds by which a timer of the event loop was late.",
            buckets=LAG_SECONDS,
            registry=self.registry,
        )
        self.in_flight = self.gauge("http_requests_in_flight", "Requests that are served now.")
        self.waiting = self.gauge("http_requests_waiting", "Requests that wait for a slot.")
        self.streams = self.gauge("http_streams_open", "Streaming responses and WebSockets that are open.")
        self.connections = self.gauge("db_pool_connections", "Database connections.", "pool", "state")
        self.overflow = self.gauge("db_pool_overflow", "Connections beyond the kept ones.", "pool")
        self.pool_waiting = self.gauge("db_pool_waiting", "Requests that wait for a connection.", "pool")
        self.pool_limit = self.gauge("db_pool_limit", "The largest number of connections.", "pool")
        self.gauges = {
            "replica_lag": self.maximum("db_replica_lag_seconds", "How far a standby is behind.", "server"),
            "replica_ok": self.maximum("db_replica_ok", "Whether a standby is read, or is the primary now.", "server"),
        }
        self.counters = self.event_counters()

    def event_counters(self) -> dict[str, Counter]:
        """Return the Prometheus counter of each event in `COUNTS`, with the time series of its known labels."""
        counters = {
            "refused": self.counter("http_requests_refused", "Requests that a limit has refused.", "reason"),
            "statements": self.counter("db_statements", "SQL statements.", "kind"),
            "statement_seconds": self.counter("db_statement_seconds", "Seconds of SQL statements.", "kind"),
            "slow_statements": self.counter("db_slow_statements", "SQL statements that were slow.", "kind"),
            "retries": self.counter("db_retries", "Attempts after a failure of the database that may pass.", "reason"),
            "plans": self.counter("db_compiled_statements", "Look-ups of compiled SELECTs in the cache.", "result"),
            "coalesced": self.counter("db_coalesced", "Reads that could share a query, and their queries.", "what"),
            "replica_reads": self.counter("db_replica_reads", "Reads that a server was chosen for.", "server"),
            "replays": self.counter("idempotency_replays", "Answers repeated for an Idempotency-Key."),
            "log_lines": self.counter("log_lines_dropped", "Log lines dropped because the output blocked."),
        }
        for event, labels in LABELS.items():
            for label in labels:
                counters[event].labels(label)
        return counters

    def counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        """Return a gauge whose value for several workers is the sum over the running ones."""
        return Gauge(name, help_text, labels, registry=self.registry, multiprocess_mode="livesum")

    def maximum(self, name: str, help_text: str, *labels: str) -> Gauge:
        """Return a gauge whose value for several workers is the maximum over the running ones."""
        return Gauge(name, help_text, labels, registry=self.registry, multiprocess_mode="livemax")

    def update(self) -> None:
        """Add the responses and counted events since the last update to the metrics."""
        size = 0
        while self.pending:
            _, method, route, status, seconds, sent, *_ = self.pending.popleft()
            size += sent
            key = method, route or NO_ROUTE, status // 100
            series = self.series.get(key)
            (self.new_series(*key) if series is None else series).observe(seconds)
        if size:
            self.sent.inc(size)
        for (event, label), count in list(COUNTS.items()):
            added = count - self.seen.get((event, label), 0)
            if added:
                self.seen[event, label] = count
                self.add(event, label, added)

    def new_series(self, method: str, route: str, status: int) -> Histogram:
        """Return the histogram of a method, a route and a class of status. Too many routes share one (`MAX_ROUTES`)."""
        known, status_class = method if method in METHODS else OTHER_METHOD, f"{status}xx" if status else NO_STATUS
        if (known, route) not in self.routes and len(self.routes) >= MAX_ROUTES:
            return self.duration.labels(known, NO_ROUTE, status_class)
        self.routes.add((known, route))
        series = self.duration.labels(known, route, status_class)
        if known == method:
            self.series[method, route, status] = series
        return series

    def add(self, event: str, label: str | int, added: float) -> None:
        if event == "group":
            for _ in range(int(added) if label else 0):
                self.group.observe(float(label))
        elif event in self.counters:
            counter = self.counters[event]
            (counter.labels(label) if event in LABELS else counter).inc(added)

    def read(self) -> None:
        """Set the gauges to the occupied slots and the connections of the running event loop, and to `GAUGES`."""
        for (measure, label), value in list(GAUGES.items()):
            if measure in self.gauges:
                self.gauges[measure].labels(label).set(value)
        slots = admission_of(self.service).slots
        self.in_flight.set(slots.requests.limit - slots.requests.free)
        self.waiting.set(slots.requests.waiting)
        self.streams.set(slots.streams.total())
        for name, pool in pools_of(self.service.runtime.database.engines):
            self.connections.labels(name, "in_use").set(pool.checkedout())
            self.connections.labels(name, "idle").set(pool.checkedin())
            self.overflow.labels(name).set(max(0, pool.overflow()))
            self.pool_waiting.labels(name).set(pool.turns.waiting)
            self.pool_limit.labels(name).set(pool.turns.limit)


def admission_of(service: Service) -> Admission:
    """Return the middleware that limits the concurrent requests of a service."""
    layer: object = service.surrounded
    while not isinstance(layer, Admission):
        layer = layer.app  # type: ignore[attr-defined]  # every layer of the kit has its inner application
    return layer


def pools_of(engines: tuple[AsyncEngine, AsyncEngine]) -> Iterator[tuple[str, FairPool]]:
    """Yield the pools of two engines with their names: `writer` and `reader`, or `shared` for a single one."""
    writer, reader = (engine.sync_engine.pool for engine in engines)
    named = [("shared", writer)] if writer is reader else [("writer", writer), ("reader", reader)]
    yield from ((name, pool) for name, pool in named if isinstance(pool, FairPool))
