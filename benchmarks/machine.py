"""The machine: the use of its cores, and the versions of the software."""

import json
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PROJECT = Path(__file__).parents[1]
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
SERVER_CORE, OTHER_CORE = CORES[0], CORES[-1]
"""A server has the first core for itself; PostgreSQL, wrk and this program share the last."""
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
    "msgspec",
    "django",
    "django-ninja",
    "psycopg",
    "fastcrud",
)
NODE_PACKAGES = ("fastify", "pg")


def stay_off_the_servers_core() -> None:
    """Move this process, and all that it starts, off the core of the servers."""
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
    """Return the CPU time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
    if node := shutil.which("node"):
        named.append(f"Node {printed(node, '--version').removeprefix('v')}")
    for package in NODE_PACKAGES:
        described = PROJECT / "benchmarks/peers/fastify/node_modules" / package / "package.json"
        if described.exists():
            named.append(f"{package} {json.loads(described.read_text())['version']}")
    return named


def printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603  constant commands


def today() -> str:
    return datetime.now(UTC).date().isoformat()
