"""wrk: one run against a server, and its parsed output."""

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
"""Called once at the end: a call per response would make wrk the slower side."""


@dataclass(frozen=True)
class Sample:
    """The result of one run. Times in milliseconds, memory in megabytes; `busy` is the share of the server's core."""

    rate: float
    p50: float
    p99: float
    errors: int
    memory: float = 0
    busy: float = 0


def parsed(output: str, rows: int = 1) -> Sample:
    """Parse the output of wrk. The rate counts rows if a request writes several. Failed requests are not counted."""
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
    """Run wrk on the core of this program, and wait for its end."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script, url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  url and script are made by this program
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
    return done.stdout
