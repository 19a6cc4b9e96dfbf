"""Workers: the folder in which the processes of a service share their metrics.

`prometheus_client` writes the metrics of each process to files in the folder of `PROMETHEUS_MULTIPROC_DIR`, if this
variable is set when it is imported. The worker that serves `/metrics` adds up the files of all workers.
"""

import os
import re
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from kit.refusals import refuse_start
from kit.server.folders import folder_refusal

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CLIENT = "prometheus_client"
RUN = re.compile(r"metrics-of-(\d+)-\d+")
"""The name of a workers' folder. Other files in `METRICS_DIR` are not removed."""


def share(directory: str) -> None:
    """Set `PROMETHEUS_MULTIPROC_DIR` if this process is one of several workers, or if `directory` is given.

    The workers of a service share a folder below `directory`, named after their parent process. Folders of services
    that have ended are removed. Exits the process with a message if the folder cannot be used. Raises a RuntimeError if
    `prometheus_client` was imported before.
    """
    if given := os.environ.get(VARIABLE):
        refuse_unusable(given)
        return
    if not (directory or is_worker()):
        return
    if CLIENT in sys.modules:
        raise RuntimeError(
            f"{CLIENT} was imported before the metrics were installed, so several workers cannot share their metrics: "
            f"set the environment variable {VARIABLE} to an empty folder."
        )
    folder = Path(directory or Path(tempfile.gettempdir()) / f"metrics-{os.geteuid()}")
    if reason := folder_refusal(folder):
        refuse_start(f"{reason}: set METRICS_DIR to another folder.")
    own = folder / run_of(os.getppid())
    for other in folder.iterdir():
        parent = RUN.fullmatch(other.name)
        if parent is not None and other != own and other.name != run_of(int(parent[1])):
            shutil.rmtree(other, ignore_errors=True)
    own.mkdir(exist_ok=True)
    os.environ[VARIABLE] = str(own)


def refuse_unusable(given: str) -> None:
    """Exit the process with a message if `given`, the folder that the environment names, cannot be used."""
    if not (Path(given).is_dir() and os.access(given, os.W_OK | os.X_OK)):
        refuse_start(f"{VARIABLE}={given} is not a folder into which this process can write: create it, or unset it.")


def is_worker() -> bool:
    """Return whether this process is a worker of uvicorn or granian (by multiprocessing), or of gunicorn."""
    process: Any = sys.modules.get("multiprocessing.process")  # a process that multiprocessing has started has it
    is_child = process is not None and process.parent_process() is not None
    return is_child or os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/")


def run_of(parent: int) -> str:
    """Return the name of the workers' folder: the process id and the start time of their parent."""
    started = "0"
    with suppress(OSError):
        started = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    return f"metrics-of-{parent}-{started}"
