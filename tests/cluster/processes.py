"""Processes of a cluster: each has a log and a file with its process id; `end` kills all those of a folder."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tests.cluster.programs import user

MARK = "CLUSTER_FOLDER"
"""The environment variable of all processes of a cluster."""
END_SECONDS = 5


def start(
    folder: Path, name: str, command: list[str], *, as_other: bool = False, cwd: Path | None = None, **variables: str
) -> "subprocess.Popen[bytes]":
    """Start a process in a new session, so that Ctrl-C reaches its starter only. `as_other`: not as root."""
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", MARK: str(folder), **variables}
    other = user()
    with (folder / "log" / name).open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd or folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=other.pw_uid if as_other and os.geteuid() == 0 else None,
            group=other.pw_gid if as_other and os.geteuid() == 0 else None,
            extra_groups=[] if as_other and os.geteuid() == 0 else None,
        )
    (folder / "pids" / name).write_text(str(process.pid))
    return process


def pid_of(folder: Path, name: str) -> int:
    return int((folder / "pids" / name).read_text())


def children(parent: int) -> list[int]:
    """Return the ids of the children of a process."""
    return [pid for pid, values in statuses() if values["PPid"] == str(parent)]


def statuses() -> Iterator[tuple[int, Mapping[str, str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                lines = (entry / "status").read_text().splitlines()
                yield int(entry.name), dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def is_alive(pid: int) -> bool:
    return any(other == pid and not values["State"].startswith("Z") for other, values in statuses())


def of_folder(folder: Path) -> list[int]:
    """Return the ids of the processes of a cluster, whoever has started them; not that of this process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):  # it has ended meanwhile, or is another user's
                if belongs_to(entry, folder):
                    found.append(int(entry.name))
    return found


def belongs_to(entry: Path, folder: Path) -> bool:
    name = os.fsencode(folder)
    in_folder = (entry / "cwd").readlink().is_relative_to(folder)
    return in_folder or MARK.encode() + b"=" + name in (entry / "environ").read_bytes().split(b"\0")


def end(folder: Path) -> None:
    """Kill all processes of a cluster, also frozen ones."""
    deadline = time.monotonic() + END_SECONDS
    while (pids := of_folder(folder)) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def reap(process: "subprocess.Popen[bytes]") -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
