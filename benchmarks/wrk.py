"""How fast does a server answer: one run of wrk, and what it says."""

import json
import subprocess
from dataclasses import dataclass

REPORT = """
function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "refused": %d, "broken": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    failed.status, failed.connect + failed.read + failed.write + failed.timeout))
end
"""
"""Printed once, when all is done: nothing is called for each answer, which would make wrk the slower side."""


@dataclass(frozen=True)
class Sample:
    """What one run has shown. Times in milliseconds, memory in megabytes, `busy` the server's share of its core."""

    rate: float
    p50: float
    p99: float
    errors: int
    memory: float = 0
    busy: float = 0


def parsed(output: str, rows: int = 1) -> Sample:
    """wrk's answer; the rate is of rows, where a request carries several. A failed request is not counted as done."""
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise ValueError(f"wrk gave no result:\n{output}")
    result = json.loads(lines[-1].removeprefix("RESULT "))
    done = result["requests"] - result["refused"]
    return Sample(
        rate=done * rows / (result["microseconds"] / 1_000_000),
        p50=result["p50"] / 1000,
        p99=result["p99"] / 1000,
        errors=result["refused"] + result["broken"],
    )


def drive(url: str, script: str, *, connections: int, seconds: int) -> str:
    """Ask from the core on which this program runs too, and wait for the end."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script, url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  url and script are made here, not given
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
    return done.stdout
