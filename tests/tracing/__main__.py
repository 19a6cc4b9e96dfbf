"""Choose the tests with which `make check` measures coverage: `python -m tests.tracing UNTRACED RUN...`.

With coverage, a test takes twice the time. So `make check` runs only some tests: together they cover every line and
branch, by tests of `TIMES` different functions if so many do in a short time. The file UNTRACED names the others. It is
an object of JSON: by test function, the list of its cases that are traced nevertheless. A new test is traced: it is not
listed.

A RUN is a directory with two files about a run of all tests: `coverage`, of coverage.py with branches, whose contexts
are tests, and `durations.xml`, a JUnit report. A test is relied on for what it covered in every run.
"""

import json
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence, Set
from contextlib import closing
from heapq import heappop, heappush
from math import inf
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

TIMES = 3
"""The number of test functions that should cover each line. What one covers may depend on timing, for all its cases."""
ALL_TRACED = (
    "tests/kit/replicas/",
    "tests/kit/test_poolers.py",
    "tests/kit/test_hosts.py",
    "tests/kit/test_failover.py",
)
"""Modules whose tests are always traced: they use real processes, so what they cover depends on timing."""
SHORT_SECONDS = 1.0
"""Tests of this duration or more do not count for `TIMES`."""
MIN_SECONDS = 0.03
"""The fixed cost of a test, which is added to its duration."""
Covered = tuple[Any, ...]
"""A line of a file, or one of several branches of a line."""
Coverage = Mapping[str, Set[Covered]]
"""What each test covers, and the empty name: what is covered outside of tests."""


def covered_by(data: Path) -> dict[str, set[Covered]]:
    """Return what each test covers, from a file of coverage.py.

    The tables are those of https://coverage.readthedocs.io/en/latest/dbschema.html.
    """
    with closing(sqlite3.connect(data)) as database:
        contexts = {number: name.rpartition("|")[0] for number, name in database.execute("SELECT * FROM context")}
        arcs = database.execute(
            "SELECT context_id, path, fromno, tono FROM arc JOIN file ON file.id = file_id"
        ).fetchall()
    following: defaultdict[Covered, set[int]] = defaultdict(set)
    for _, file, start, end in arcs:
        following[file, start].add(end)
    covered: defaultdict[str, set[Covered]] = defaultdict(set)
    for context, file, start, end in arcs:
        test = covered[contexts[context]]
        test |= {(file, line) for line in (start, end) if line > 0}
        if len(following[file, start]) > 1:
            test.add((file, start, end))
    return covered


def reliable(runs: Sequence[Coverage]) -> tuple[dict[str, Set[Covered]], set[Covered]]:
    """Return what each test covers, and what depends on timing, because no test covered it in every run.

    A test covers what it covered in every run, and what depends on timing and it covered in one of them.
    """
    tests = set[str]().union(*runs)
    always = {test: set.intersection(*(set(run.get(test, ())) for run in runs)) for test in tests}
    once = {test: set[Covered]().union(*(run.get(test, ()) for run in runs)) for test in tests}
    depending_on_timing = set[Covered]().union(*once.values()) - set[Covered]().union(*always.values())
    return {test: always[test] | (once[test] & depending_on_timing) for test in tests}, depending_on_timing


def durations(report: Path) -> dict[str, float]:
    """Return the seconds that each test took, with its fixtures."""
    found: defaultdict[str, float] = defaultdict(float)
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  a file that pytest wrote
        path = case.get("classname", "").replace(".", "/")
        found[f"{path}.py::{case.get('name')}"] += float(case.get("time", "0"))
    return dict(found)


def chosen(covered: Coverage, seconds: Mapping[str, float]) -> set[str]:
    """Return a set of tests that covers everything, by tests of `TIMES` functions if so many do in a short time.

    Greedy: after the tests that are needed in any case, the next one is that which covers most per second.
    """
    choice = Choice(covered, {test for test in covered if test and seconds[test] < SHORT_SECONDS})
    for test in choice.needed():
        choice.add(test)
    heap = [(-inf, test) for test in sorted(covered.keys() - {""} - choice.tests)]
    while choice.missing:
        _, test = heappop(heap)
        worth = len(choice.added_by(test)) / (seconds[test] + MIN_SECONDS)
        if heap and -worth > heap[0][0]:  # the worth of others has become less since they were put here
            heappush(heap, (-worth, test))
        else:
            choice.add(test)
    return choice.tests


class Choice:
    """The tests that are chosen so far. `missing`: the number of further test functions that a line or branch needs."""

    def __init__(self, covered: Coverage, short_tests: Set[str]) -> None:
        self.covered = covered
        self.tests = set[str]()
        self.by_function: defaultdict[str, set[Covered]] = defaultdict(set)
        functions: defaultdict[Covered, set[str]] = defaultdict(set)
        for test in short_tests:
            for target in covered[test]:
                functions[target].add(_function(test))
        targets = set[Covered]().union(*covered.values()) - covered.get("", frozenset())
        self.missing = {target: max(1, min(TIMES, len(functions[target]))) for target in targets}

    def needed(self) -> set[str]:
        """Return the tests that are always traced, and those of lines that no more tests cover than they should."""
        tests = self.covered.keys() - {""}
        number_of_tests = Counter(target for test in tests for target in self.covered[test])
        rare = {target for target, times in self.missing.items() if number_of_tests[target] == times}
        return {test for test in tests if test.startswith(ALL_TRACED) or not rare.isdisjoint(self.covered[test])}

    def added_by(self, test: str) -> set[Covered]:
        """Return what this test would add: missing lines and branches that no chosen test of its function covers."""
        return (self.missing.keys() & self.covered[test]) - self.by_function[_function(test)]

    def add(self, test: str) -> None:
        for target in self.added_by(test):
            self.missing[target] -= 1
            if not self.missing[target]:
                del self.missing[target]
        self.by_function[_function(test)] |= self.covered[test]
        self.tests.add(test)


def _function(test: str) -> str:
    return test.partition("[")[0]


def untraced(tests: Collection[str], traced: Collection[str]) -> dict[str, list[str]]:
    """Return the test functions with untraced cases, each with a list of its traced cases."""
    functions: defaultdict[str, set[str]] = defaultdict(set)
    for test in tests:
        function, _, case = test.partition("[")
        functions[function].add(case.removesuffix("]"))
    kept = {
        function: sorted(case for case in cases if f"{function}[{case}]" in traced or function in traced)
        for function, cases in functions.items()
    }
    return {function: cases for function, cases in sorted(kept.items()) if len(cases) < len(functions[function])}


def main(output: Path, *runs: Path) -> None:
    reports = [durations(run / "durations.xml") for run in runs]
    seconds = {test: max(report.get(test, 0) for report in reports) for test in set[str]().union(*reports)}
    covered, depending_on_timing = reliable([covered_by(run / "coverage") for run in runs])
    traced = chosen(covered, seconds)
    lines = (f"{json.dumps(test)}: {json.dumps(cases)}" for test, cases in untraced(seconds, traced).items())
    output.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    for file, *line in sorted(depending_on_timing):
        print(f"{file}, {line}: no test covers this in every run. Write one that does.")  # noqa: T201  a command
    share = sum(seconds[test] for test in traced) / sum(seconds.values())
    print(f"{len(traced)} of {len(seconds)} tests are traced. They take {share:.0%} of the time.")  # noqa: T201  a command


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
