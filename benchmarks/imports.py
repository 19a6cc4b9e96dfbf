"""Imports: the processor time to import `main`, compared with that of the peer `seed`.

Their modules are compiled, as in the image (`deploy/Containerfile`): the seed has one module, the service hundreds.
"""

import os
import statistics
import subprocess
import sys

from benchmarks.contestants import CONTESTANTS, OURS
from benchmarks.machine import PROJECT

MODULES = {OURS: "main", "seed": "benchmarks.peers.seed"}
TIMED = "import {}, time; print(time.process_time())"


def seconds(name: str) -> float:
    """Return the processor time of a new process that imports a contestant, in seconds."""
    environment = {**os.environ, **CONTESTANTS[name].environment("postgresql://localhost/none")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", TIMED.format(MODULES[name])]
    done = subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True, text=True)  # noqa: S603  a command from a table
    return float(done.stdout)


def measured(rounds: int) -> dict[str, float]:
    """Return the median seconds of each contestant over these rounds, and an ignored first one, which fills caches."""
    taken = [{name: seconds(name) for name in MODULES} for _ in range(rounds + 1)][1:]
    return {name: statistics.median(one[name] for one in taken) for name in MODULES}
