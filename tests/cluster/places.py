"""The addresses of a cluster: its folder, the ports of its servers, and its URLs."""

import json
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.live import free_port

NODES = (1, 2, 3)
DATABASE = "heroes"
PASSWORD = "heroes"  # noqa: S105  all of it listens on 127.0.0.1 only
LOCAL = "127.0.0.1"


def free_or(wanted: int) -> int:
    """Return this port if it is free, else a free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a former cluster do not matter
        try:
            probe.bind((LOCAL, wanted))
        except OSError:
            return free_port()
    return wanted


@dataclass(frozen=True)
class Places:
    """The folder of a cluster, and the ports of its servers on 127.0.0.1. Lists are in the order of the nodes."""

    folder: Path
    etcd: list[int]
    etcd_peers: list[int]
    patroni: list[int]
    postgres: list[int]
    primary: int
    """The port on which HAProxy forwards to the primary."""
    standbys: int
    """The port on which HAProxy forwards to the standbys."""
    front: int
    """The port on which HAProxy forwards to the services."""
    statistics: int
    pgbouncer: int
    services: list[int]

    @classmethod
    def free(cls, folder: Path) -> "Places":
        """Return a cluster's addresses with free ports."""
        return cls.with_ports(folder, lambda _: free_port())

    @classmethod
    def usual(cls, folder: Path) -> "Places":
        """Return a cluster's addresses with ports that are easy to remember, where these are free."""
        return cls.with_ports(folder, free_or)

    @classmethod
    def with_ports(cls, folder: Path, port: Callable[[int], int]) -> "Places":
        return cls(
            folder,
            etcd=[port(2380 + node) for node in NODES],
            etcd_peers=[port(2390 + node) for node in NODES],
            patroni=[port(8110 + node) for node in NODES],
            postgres=[port(5440 + node) for node in NODES],
            primary=port(5440),
            standbys=port(5450),
            front=port(8100),
            statistics=port(8109),
            pgbouncer=port(6440),
            services=[port(8101), port(8102)],
        )

    @classmethod
    def read(cls, folder: Path) -> "Places":
        values = json.loads((folder / "places.json").read_text())
        return cls(**values | {"folder": folder})

    def write(self) -> None:
        (self.folder / "places.json").write_text(json.dumps(asdict(self) | {"folder": str(self.folder)}))

    @property
    def hosts(self) -> str:
        return ",".join(f"{LOCAL}:{port}" for port in self.postgres)

    @property
    def by_hosts(self) -> str:
        """The URL with all hosts, among which the service finds the primary."""
        return self.url(self.hosts)

    @property
    def by_haproxy(self) -> str:
        return self.url(f"{LOCAL}:{self.primary}")

    @property
    def by_pgbouncer(self) -> str:
        """The URL of PgBouncer, which reaches the primary through HAProxy."""
        return self.url(f"{LOCAL}:{self.pgbouncer}") + "?pgbouncer=true"

    def url(self, hosts: str) -> str:
        return f"postgresql://{DATABASE}:{PASSWORD}@{hosts}/{DATABASE}"

    def of(self, node: int) -> str:
        """Return the URL of one PostgreSQL."""
        return self.url(f"{LOCAL}:{self.postgres[node - 1]}")

    def data(self, node: int) -> Path:
        return self.folder / "data" / f"pg{node}"
