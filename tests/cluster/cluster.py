"""A cluster on one machine: three etcd, three PostgreSQL under Patroni, HAProxy and PgBouncer; and ways to break it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.cluster import configuration, processes
from tests.cluster.places import DATABASE, LOCAL, NODES, PASSWORD, Places
from tests.cluster.programs import PROJECT, Programs, path_of, user

START_SECONDS = 90
HTTP_SECONDS = 2
FREEZE_SECONDS = 28
OF_TESTS = "service-cluster-"
"""The prefix of the names of the folders in which tests start clusters."""
Process = subprocess.Popen[bytes]


class Cluster:
    """The processes of a cluster in a folder. A second object with the same `places` can break, but not start it."""

    def __init__(self, places: Places) -> None:
        self.places, self.folder = places, places.folder
        self.running: dict[str, Process] = {}

    def start(self) -> None:
        """Start everything but the services, and wait until there are a primary and two standbys."""
        self.prepare()
        for node in NODES:
            self.run(f"etcd{node}", [path_of("etcd"), *configuration.etcd(self.places, node)])
        for node in NODES:
            self.start_node(node)
        self.start_haproxy()
        self.until_healthy(START_SECONDS)
        self.create_database()
        self.start_pgbouncer()

    def prepare(self) -> None:
        for name in ("data", "log", "pids"):
            (self.folder / name).mkdir()
        self.programs = programs = Programs.for_user(self.folder)
        programs.write(self.folder)
        files = {f"pg{node}.yml": configuration.patroni(self.places, node, programs.postgres) for node in NODES}
        files |= {"haproxy.cfg": configuration.haproxy(self.places)}
        for name, text in files.items():
            (self.folder / name).write_text(text)
        (self.folder / "data/pgbouncer.ini").write_text(configuration.pgbouncer(self.places))
        self.folder.chmod(0o755)
        for path in ((self.folder / "data"), (self.folder / "data/pgbouncer.ini")):
            os.chown(path, user().pw_uid, user().pw_gid)
        (self.folder / "data").chmod(0o700)
        self.places.write()

    def run(self, name: str, command: list[str], **options: Any) -> Process:
        if name in self.running:
            processes.reap(self.running[name])
        self.running[name] = processes.start(self.folder, name, command, **options)
        return self.running[name]

    def start_node(self, node: int) -> None:
        """Start a Patroni, which starts its PostgreSQL."""
        command = [str(self.programs.python), "-m", "patroni", f"{self.folder}/pg{node}.yml"]
        packages = {"PYTHONPATH": str(self.programs.packages), "PYTHONDONTWRITEBYTECODE": "1"}
        self.run(f"patroni{node}", command, as_other=True, HOME=f"{self.folder}/data", **packages)

    def start_haproxy(self) -> None:
        self.run("haproxy", [path_of("haproxy"), "-db", "-f", f"{self.folder}/haproxy.cfg"])

    def start_pgbouncer(self) -> None:
        self.run("pgbouncer", [path_of("pgbouncer"), "-q", f"{self.folder}/data/pgbouncer.ini"], as_other=True)

    def start_services(self) -> None:
        """Start both services, one after the other."""
        for number in (1, 2):
            self.start_service(number)

    def start_service(self, number: int, *, project: Path = PROJECT, **settings: str) -> None:
        """Start a service, and wait until it is ready. Both services read from the standbys.

        For writes, the first one connects to a URL with all hosts, the second one to PgBouncer.
        """
        places = self.places
        command = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(places.services[number - 1])]
        url = places.by_hosts if number == 1 else places.by_pgbouncer
        usual = {"DATABASE_URL": url, "REPLICA_URL": places.by_hosts, "DEMO_DATA": "false", "HOME": str(Path.home())}
        usual["FAST_PATH"] = os.environ.get("FAST_PATH", "true")
        self.run(f"service{number}", command, cwd=project, **usual | settings)
        self.until(partial(self.is_ready, number), START_SECONDS)

    def is_ready(self, number: int) -> bool:
        """Return whether a service is ready for requests."""
        url = f"http://{LOCAL}:{self.places.services[number - 1]}/health/ready"
        return is_ok(url)

    def stop(self, name: str) -> None:
        """Stop a program with SIGTERM."""
        self.running[name].terminate()
        processes.reap(self.running[name])

    def create_database(self) -> None:
        """Create the role and the database of the services; the role has the timeouts that PgBouncer cannot set."""
        self.sql(f"CREATE ROLE {DATABASE} LOGIN PASSWORD '{PASSWORD}'")
        self.sql(f"ALTER ROLE {DATABASE} SET statement_timeout = '10s'")
        self.sql(f"ALTER ROLE {DATABASE} SET lock_timeout = '5s'")
        self.sql(f"GRANT pg_read_all_stats TO {DATABASE}")  # shows standbys their timeline at once
        self.sql(f"CREATE DATABASE {DATABASE} OWNER {DATABASE}")

    def sql(self, statement: str, node: int | None = None, database: str = "postgres") -> str:
        """Execute a statement on a node, or on the primary. Returns the output of psql without headers."""
        port = self.places.postgres[(node or self.leader()) - 1]
        command = [
            str(self.folder_of_postgres / "psql"),
            "-h",
            LOCAL,
            "-p",
            str(port),
            "-U",
            "postgres",
            "-d",
            database,
        ]
        login = os.environ | {"PGPASSWORD": configuration.SUPERUSER["password"], "PGCONNECT_TIMEOUT": "5"}
        done = subprocess.run([*command, "-qAtc", statement], env=login, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    @property
    def folder_of_postgres(self) -> Path:
        return Path(json.loads((self.folder / "pg1.yml").read_text())["postgresql"]["bin_dir"])

    def members(self) -> list[dict[str, Any]]:
        """Return what Patroni knows of the members of the cluster; an empty list if no Patroni answers."""
        for port in self.places.patroni:
            with suppress(httpx.TransportError):
                found: list[dict[str, Any]] = httpx.get(f"http://{LOCAL}:{port}/cluster", timeout=HTTP_SECONDS).json()[
                    "members"
                ]
                return found
        return []

    def leader(self) -> int:
        """Return the number of the primary's node. Raises a LookupError if there is none."""
        for member in self.members():
            if member["role"] == "leader":
                return int(member["name"].removeprefix("pg"))
        raise LookupError("There is no primary.")

    def standbys(self) -> list[int]:
        leader = self.leader()
        return [node for node in NODES if node != leader]

    def has_primary(self) -> bool:
        """Return whether a PostgreSQL accepts writes."""
        return any(self.asked(node, "SELECT NOT pg_is_in_recovery()") == "t" for node in NODES)

    def asked(self, node: int, statement: str) -> str:
        """Return the output of a statement on a node; an empty string if it fails."""
        with suppress(subprocess.CalledProcessError):
            return self.sql(statement, node)
        return ""

    def is_healthy(self) -> bool:
        """Return whether there are a primary and two standbys that follow it, one of them synchronous."""
        members = self.members()
        roles = sorted(member["role"] for member in members if member["state"] in ("running", "streaming"))
        is_one_timeline = len({member.get("timeline") for member in members}) == 1
        if roles != ["leader", "replica", "sync_standby"] or not is_one_timeline:
            return False
        return all(self.asked(node, "SELECT 1") for node in NODES)

    def until_healthy(self, seconds: float = 60) -> float:
        return self.until(self.is_healthy, seconds)

    def until(self, happens: Callable[[], bool], seconds: float) -> float:
        """Wait for a condition. Returns the seconds that it took. Raises a TimeoutError with the state."""
        started = time.monotonic()
        while not happens():
            if time.monotonic() > started + seconds:
                raise TimeoutError(f"not within {seconds} s: {self.members()}; see {self.folder}/log")
            time.sleep(0.1)
        return time.monotonic() - started

    def seconds_of_key(self) -> int:
        """Return the remaining TTL of the leader key in etcd, in seconds."""
        key = self.etcdctl("get", f"/service/{configuration.SCOPE}/leader")["kvs"][0]
        return int(self.etcdctl("lease", "timetolive", f"{key['lease']:x}")["ttl"])

    def etcdctl(self, *arguments: str) -> Any:
        endpoints = ",".join(f"{LOCAL}:{port}" for port in self.places.etcd)
        command = [path_of("etcdctl"), f"--endpoints={endpoints}", *arguments, "--write-out=json"]
        done = subprocess.run(
            command, env={**os.environ, "ETCDCTL_API": "3"}, check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)

    def postmaster(self, node: int) -> int:
        return int((self.places.data(node) / "postmaster.pid").read_text().split()[0])

    def patroni(self, node: int) -> int:
        return processes.pid_of(self.folder, f"patroni{node}")

    def kill_postmaster(self, node: int) -> None:
        """Kill a PostgreSQL with SIGKILL, which its Patroni notices."""
        os.kill(self.postmaster(node), signal.SIGKILL)

    def kill_node(self, node: int) -> None:
        """Kill a PostgreSQL and its Patroni, as if their machine had lost its power."""
        for pid in (self.patroni(node), *processes.children(self.patroni(node)), self.postmaster(node)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze(self, node: int, how: signal.Signals = signal.SIGSTOP) -> None:
        """Stop all processes of a node, as if its virtual machine was suspended; `SIGCONT` thaws them."""
        tree = [self.patroni(node), *processes.children(self.patroni(node))]
        tree += [self.postmaster(node), *processes.children(self.postmaster(node))]
        for pid in tree:
            with suppress(ProcessLookupError):
                os.kill(pid, how)

    def thaw(self, node: int) -> None:
        self.freeze(node, signal.SIGCONT)

    def switch_over(self) -> tuple[int, int]:
        """Let the synchronous standby take over. Returns the nodes of the former and the new primary."""
        (candidate,) = [member["name"] for member in self.members() if member["role"] == "sync_standby"]
        former = self.leader()
        body = {"leader": f"pg{former}", "candidate": candidate}
        url = f"http://{LOCAL}:{self.places.patroni[former - 1]}/switchover"
        httpx.post(url, json=body, timeout=60).raise_for_status()
        return former, int(candidate.removeprefix("pg"))

    def end(self) -> None:
        """Kill all processes, and remove the folder."""
        processes.end(self.folder)
        for process in self.running.values():
            processes.reap(process)
        shutil.rmtree(self.folder, ignore_errors=True)


def is_ok(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url, timeout=HTTP_SECONDS).is_success
    return False


def starter_of(folder: Path) -> int | None:
    """Return the id of the process that has started the cluster in this folder; None if it has ended."""
    with suppress(OSError, ValueError):
        pid = int((folder / "starter").read_text())
        return pid if processes.is_alive(pid) else None
    return None


def remove_leftovers(parent: Path, prefix: str) -> None:
    """End the clusters whose starter has ended without doing so."""
    for folder in parent.glob(f"{prefix}*"):
        if starter_of(folder) is None:
            processes.end(folder)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(parent: Path, prefix: str = OF_TESTS, *, usual: bool = False) -> Iterator[Cluster]:
    """Start a cluster in a folder below this one. It ends with the block, whatever happens."""
    remove_leftovers(parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    (folder / "starter").write_text(str(os.getpid()))
    cluster = Cluster(Places.usual(folder) if usual else Places.free(folder))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
