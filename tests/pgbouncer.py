"""PgBouncer in transaction mode, started before the PostgreSQL of the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import URL

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MISSING = "PgBouncer is missing; on Debian: apt install pgbouncer"
CONFIGURATION = """
[databases]
* = host={host} port={port} user={user}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 2000
query_wait_timeout = 15
server_login_retry = 1
ignore_startup_parameters = {ignored}
{more}
logfile = {folder}/log
pidfile = {folder}/pid
"""
"""Connections that tests open by themselves send the option of the URL as a setting, which is ignored."""
START_SECONDS = 60


class PgBouncer:
    """A PgBouncer before this server. It runs as another user if the tests run as root, which it refuses."""

    def __init__(self, server: URL, size: int = 10, ignored: str = "pgbouncer", more: str = "") -> None:
        self.server, self.size, self.ignored, self.more = server, size, ignored, more
        self.folder = tempfile.mkdtemp(prefix="pgbouncer-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = server.set(host="127.0.0.1", port=self.port, query={"pgbouncer": "true"})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, _: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        assert PROGRAM is not None, MISSING
        host = str(self.server.query.get("host", self.server.host))
        lines = CONFIGURATION.format(
            host=host,
            port=self.server.port or 5432,
            user=self.server.username,
            own_port=self.port,
            size=self.size,
            folder=self.folder,
            ignored=self.ignored,
            more=self.more,
        )
        file = Path(self.folder) / "pgbouncer.ini"
        file.write_text(lines)
        user = ["-u", Path(host).owner() if host.startswith("/") else "nobody"] if os.geteuid() == 0 else []
        for path in (self.folder, file):
            os.chmod(path, 0o777)  # noqa: S103, PTH101  the other user writes the log
        self.process = subprocess.Popen([PROGRAM, "-q", *user, str(file)])
        self.wait()

    def wait(self) -> None:
        """Wait until it listens."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError((Path(self.folder) / "log").read_text())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
