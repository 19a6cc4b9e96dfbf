"""wrk: one run against a server, and its parsed output."""

import json
import subprocess
import tempfile
from dataclasses import dataclass

REPORT = """
function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "refused": %d, "broken": %d, "bytes": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    failed.status, failed.connect + failed.read + failed.write + failed.timeout, summary.bytes))
end
"""
"""A Lua function that wrk calls once at the end: a call per response would limit the rate of wrk."""


@dataclass(frozen=True)
class Outcome:
    """The result of one run. `done` counts responses without an error; latencies are in milliseconds."""

    done: int
    seconds: float
    p50: float
    p99: float
    errors: int
    received: int
    """The bytes of all responses, with their headers."""


def parsed(output: str) -> Outcome:
    """Parse the output of wrk. Error statuses and failed connections count as errors."""
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise ValueError(f"wrk gave no result:\n{output}")
    result = json.loads(lines[-1].removeprefix("RESULT "))
    return Outcome(
        done=result["requests"] - result["refused"],
        seconds=result["microseconds"] / 1_000_000,
        p50=result["p50"] / 1000,
        p99=result["p99"] / 1000,
        errors=result["refused"] + result["broken"],
        received=result["bytes"],
    )


def drive(url: str, script: str, *, connections: int, seconds: int) -> Outcome:
    """Run wrk on the core of this program, and wait for its end."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script + REPORT)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", file.name, url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  url and script are made by this program
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
    return parsed(done.stdout)
