"""Runs pytest, and repeats up to three failing tests alone: `python -m tests.rerun` in place of `pytest`.

Tests that pass the second time do not fail the run. They are appended to the file that the environment variable
`FAILED_AT_FIRST` names, with reasons.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

MOST = 3
"""The maximum number of failing tests that are repeated. More failures are unlikely to be caused by a busy machine."""
PARALLEL = ("-n", "--dist")
"""Options (each with a value) that are removed for the second run."""


class Failures:
    """A plugin of pytest that keeps the reasons for which tests have failed."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.is_complete = True
        """Whether all tests could be collected."""

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.is_complete = self.is_complete and not report.failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.reasons.setdefault(report.nodeid, f"{report.when}: {report.longreprtext}")


def alone(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of the second run: one process, and only the tests that failed in the first one."""
    kept = [
        argument
        for before, argument in zip(["", *arguments], arguments, strict=False)
        if argument not in PARALLEL and before not in PARALLEL
    ]
    appending = ["--cov-append"] if "--cov" in kept else []
    return ["--last-failed", "--last-failed-no-failures=none", *kept, *appending]


def report(arguments: Sequence[str], reasons: dict[str, str]) -> None:
    """Append tests that failed at first to the file of `FAILED_AT_FIRST`, if there is one."""
    if file := os.environ.get("FAILED_AT_FIRST"):
        lines = [f"{test}\n{reason}\n\n" for test, reason in reasons.items()]
        with Path(file).open("a") as output:
            output.write(f"pytest {' '.join(arguments)}, in {Path.cwd()}:\n\n{''.join(lines)}")


def main(arguments: Sequence[str]) -> int:
    """Return the exit code: 0 if each test has passed, at once or the second time."""
    with tempfile.TemporaryDirectory() as cache:  # not that of other runs, which may run at the same time
        return run(["-o", f"cache_dir={cache}", *arguments])


def run(arguments: Sequence[str]) -> int:
    failures = Failures()
    code = int(pytest.main([*arguments], plugins=[failures]))
    few = failures.is_complete and 1 <= len(failures.reasons) <= MOST
    if code != pytest.ExitCode.TESTS_FAILED or not few:
        return code
    print(f"\n{len(failures.reasons)} failed, and run once more, alone.", flush=True)  # noqa: T201
    code = subprocess.run([sys.executable, "-m", "pytest", *alone(arguments)], check=False).returncode
    if code == 0:
        report(arguments, failures.reasons)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
