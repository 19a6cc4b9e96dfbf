"""Choose the tests with which `make check` measures coverage: `python -m tests.tracing DATA DURATIONS UNTRACED`.

With coverage, a test takes twice the time. So `make check` runs only some tests: together they cover every line and
branch at least `TIMES` times, if so many short tests cover it. The file UNTRACED names the others. It is an object of
JSON: by test function, the list of its cases that are traced nevertheless. A new test is traced: it is not listed.

DATA is a file of coverage.py with branches, whose contexts are tests. DURATIONS is a JUnit report of the same run.
"""

import json
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Set
from contextlib import closing
from heapq import heappop, heappush
from math import inf
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

TIMES = 3
"""The number of tests that should cover each line, because a single test may miss it, depending on timing."""
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


def covered_by(data: Path) -> dict[str, set[Covered]]:
    """Return the lines and branches that each test covers. The empty name has those that are covered outside of tests.

    The tables are those of https://coverage.readthedocs.io/en/latest/dbschema.html.
    """
    with closing(sqlite3.connect(data)) as database:
        contexts = {number: name.rpartition("|")[0] for number, name in database.execute("SELECT * FROM context")}
        arcs = database.execute("SELECT context_id, file_id, fromno, tono FROM arc").fetchall()
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


def durations(report: Path) -> dict[str, float]:
    """Return the seconds that each test took, with its fixtures."""
    found: defaultdict[str, float] = defaultdict(float)
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  a file that pytest wrote
        path = case.get("classname", "").replace(".", "/")
        found[f"{path}.py::{case.get('name')}"] += float(case.get("time", "0"))
    return dict(found)


def chosen(covered: Mapping[str, Set[Covered]], seconds: Mapping[str, float]) -> set[str]:
    """Return a set of tests that covers every line and branch, and `TIMES` times if enough short tests cover it.

    Greedy: the next test is the one that covers most per second.
    """
    tests = covered.keys() - {""}
    all_tests = Counter(target for test in tests for target in covered[test])
    short_tests = Counter(target for test in tests if seconds[test] < SHORT_SECONDS for target in covered[test])
    elsewhere = covered.get("", frozenset())
    missing = {target: max(1, min(TIMES, short_tests[target])) for target in all_tests.keys() - elsewhere}
    found = set[str]()

    def add(test: str) -> None:
        found.add(test)
        for target in missing.keys() & covered[test]:
            missing[target] -= 1
            if not missing[target]:
                del missing[target]

    rare = {target for target, times in missing.items() if all_tests[target] == times}
    needed = {test for test in tests if test.startswith(ALL_TRACED) or not rare.isdisjoint(covered[test])}
    for test in needed:
        add(test)
    heap = [(-inf, test) for test in sorted(tests - needed)]
    while missing:
        _, test = heappop(heap)
        worth = len(missing.keys() & covered[test]) / (seconds[test] + MIN_SECONDS)
        if heap and -worth > heap[0][0]:  # the worth of others has become less since they were put here
            heappush(heap, (-worth, test))
        else:
            add(test)
    return found


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


def main(data: Path, report: Path, output: Path) -> None:
    seconds = durations(report)
    traced = chosen(covered_by(data), seconds)
    lines = (f"{json.dumps(test)}: {json.dumps(cases)}" for test, cases in untraced(seconds, traced).items())
    output.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    share = sum(seconds[test] for test in traced) / sum(seconds.values())
    print(f"{len(traced)} of {len(seconds)} tests are traced. They take {share:.0%} of the time.")  # noqa: T201  a command


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
