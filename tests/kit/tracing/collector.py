"""A collector: a server that gets spans by OTLP over HTTP, and remembers them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Attributes = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """A span as the collector has received it. Ids are hexadecimal digits."""

    scope: str
    name: str
    trace: str
    id: str
    parent: str
    links: list[str]
    attributes: Attributes
    failed: bool
    seconds: float


class Collector:
    """The requests that were received. `delay` seconds pass before each is answered, with `status`."""

    def __init__(self) -> None:
        self.received: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.delay, self.status, self.url = 0.0, 200, ""

    @property
    def spans(self) -> list[Sent]:
        """The spans in the order in which they were sent."""
        return [sent for request in self.received for sent in spans_of(request)]

    @property
    def resource(self) -> Attributes:
        return values(self.received[-1].resource_spans[0].resource.attributes)

    def statements(self) -> list[Sent]:
        return [span for span in self.spans if "db.system.name" in span.attributes]

    def requests(self) -> list[Sent]:
        return [span for span in self.spans if "http.request.method" in span.attributes]


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Sent]:
    for part in request.resource_spans:
        for scope in part.scope_spans:
            for span in scope.spans:
                yield Sent(
                    scope.scope.name,
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    [link.span_id.hex() for link in span.links],
                    values(span.attributes),
                    span.status.code == 2,
                    (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                )


def values(attributes: Any) -> Attributes:
    return {part.key: getattr(part.value, part.value.WhichOneof("value")) for part in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector until the block ends."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            time.sleep(collector.delay)
            if self.path == "/v1/traces" and collector.status == 200:
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(collector.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
