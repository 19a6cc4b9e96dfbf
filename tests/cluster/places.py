"""Places of a cluster: its folder, its ports, its members, and its URLs."""

import json
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.live import free_port

NODES = (1, 2, 3)
DATABASE = "heroes"
PASSWORD = "heroes"  # noqa: S105  all of it listens on 127.0.0.1 only
LOCAL = "127.0.0.1"


def free_or(wanted: int) -> int:
    """Return this port, or another one if it is taken."""
    with socket.socket() as probe:
        try:
            probe.bind((LOCAL, wanted))
        except OSError:
            return free_port()
    return wanted


def three(first: int | None) -> list[int]:
    return [free_port() if first is None else free_or(first + number) for number in range(len(NODES))]


@dataclass(frozen=True)
class Places:
    """The folder of a cluster, and its ports: in the order of the nodes."""

    folder: Path
    etcd: list[int]
    etcd_peers: list[int]
    patroni: list[int]
    postgres: list[int]
    primary: int
    """HAProxy's port of the primary."""
    standbys: int
    """HAProxy's port of the standbys."""
    front: int
    """HAProxy's port of the services."""
    statistics: int
    pgbouncer: int
    services: list[int] = field(default_factory=list)

    @classmethod
    def free(cls, folder: Path) -> "Places":
        """Return places with free ports."""
        others = [free_port() for _ in range(5)]
        return cls(folder, three(None), three(None), three(None), three(None), *others, [free_port(), free_port()])

    @classmethod
    def usual(cls, folder: Path) -> "Places":
        """Return places with ports that are easy to remember, where they are free."""
        others = [free_or(port) for port in (5440, 5450, 8100, 8109, 6440)]
        services = [free_or(8101), free_or(8102)]
        return cls(folder, three(2381), three(2391), three(8111), three(5441), *others, services)

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
        """The URL with all hosts, of which the service finds the primary."""
        return self.url(self.hosts) + "?target_session_attrs=read-write"

    @property
    def by_haproxy(self) -> str:
        return self.url(f"{LOCAL}:{self.primary}")

    @property
    def by_pgbouncer(self) -> str:
        """The URL of PgBouncer, behind which HAProxy leads to the primary."""
        return self.url(f"{LOCAL}:{self.pgbouncer}") + "?pgbouncer=true"

    def url(self, hosts: str) -> str:
        return f"postgresql://{DATABASE}:{PASSWORD}@{hosts}/{DATABASE}"

    def of(self, node: int) -> str:
        """Return the URL of one PostgreSQL."""
        return self.url(f"{LOCAL}:{self.postgres[node - 1]}")

    def data(self, node: int) -> Path:
        return self.folder / "data" / f"pg{node}"
