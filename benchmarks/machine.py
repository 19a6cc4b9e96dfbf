"""The machine: its cores, the processor time of processes, and the versions of the software."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PROJECT = Path(__file__).parents[1]
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
SERVER_CORE, OTHER_CORE = CORES[0], CORES[-1]
"""The servers run on the first core; PostgreSQL, wrk and this program run on the last."""
PACKAGES = (
    "fastapi",
    "starlette",
    "pydantic",
    "sqlmodel",
    "sqlalchemy",
    "asyncpg",
    "aiosqlite",
    "uvicorn",
    "uvloop",
    "httptools",
    "orjson",
    "litestar",
    "advanced-alchemy",
    "sqlspec",
    "msgspec",
    "django",
    "django-ninja",
    "psycopg",
    "fastcrud",
)
NODE_PACKAGES = ("fastify", "pg")


def stay_off_the_servers_core() -> None:
    """Pin this process, and the processes that it starts from now on, to `OTHER_CORE`."""
    os.sched_setaffinity(0, {OTHER_CORE})


def missing() -> str | None:
    """Return a message about missing requirements; None if there are none."""
    if len(CORES) < 2:
        return "A benchmark needs Linux and two cores: one for the server, one for what asks it."
    if not shutil.which("wrk"):
        return "wrk is missing, which drives the servers; on Debian: apt install wrk"
    if not shutil.which("taskset"):
        return "taskset is missing, which pins a server to a core; on Debian: apt install util-linux"
    return None


def resident(pid: int) -> float:
    """Return the resident memory of a process, in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of all its threads, in seconds."""
    exact = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if exact:
        return sum(map(nanoseconds, exact)) / 1e9
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def nanoseconds(file: Path) -> int:
    """Return the CPU time of a thread from its file in /proc, in nanoseconds; 0 if it has ended."""
    with suppress(OSError):
        return int(file.read_text().split()[0])
    return 0


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on: the state, the parent, and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if stat(int(folder.name))[1] == str(pid):
                found.append(int(folder.name))
    return found


def tree_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children, those that have ended too, in seconds.

    A PostgreSQL server has a child for each connection, and others that come and go.
    """
    total = sum(map(int, stat(pid)[13:15])) / os.sysconf("SC_CLK_TCK")
    for one in (pid, *children(pid)):
        with suppress(OSError):
            total += cpu_seconds(one)
    return total


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions() -> list[str]:
    named = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            named.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    robyn = (PROJECT / ".venv-bench-robyn").glob("lib/python*/site-packages/robyn-*.dist-info")
    named += [folder.name.removesuffix(".dist-info").replace("-", " ") for folder in robyn]
    if node := shutil.which("node"):
        named.append(f"Node {printed(node, '--version').removeprefix('v')}")
    for package in NODE_PACKAGES:
        described = PROJECT / "benchmarks/peers/fastify/node_modules" / package / "package.json"
        if described.exists():
            named.append(f"{package} {json.loads(described.read_text())['version']}")
    return named


def commit() -> str:
    """Return the hash of the current commit, and one of uncommitted changes; empty outside of a repository."""
    git = (shutil.which("git") or "git", "-C", str(PROJECT))
    known, differs = printed(*git, "rev-parse", "--short", "HEAD"), printed(*git, "diff", "HEAD")
    return known + (f"+{hashlib.sha256(differs.encode()).hexdigest()[:6]}" if differs else "")


def printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603  constant commands


def today() -> str:
    return datetime.now(UTC).date().isoformat()
