"""Coverage plugin: what two workers cover, also in greenlets that alternate, is what the tests execute."""

import subprocess
import sys
from pathlib import Path

import pytest
from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

from tests.cheap_coverage import MANY, Stacks
from tests.live import PROJECT

CODE = """
from greenlet import getcurrent, greenlet

def alternating(main):
    main.switch()
    return one_more()

def one_more():
    return 1

def run():
    first, second = greenlet(alternating), greenlet(alternating)
    first.switch(getcurrent())
    second.switch(getcurrent())
    return first.switch() + second.switch()

def never():
    return 0
"""
TESTS = """
from covered import run

def test_1(): assert run() == 2
def test_2(): assert run() == 2
"""
SETTINGS = """
[tool.coverage.run]
branch = true
concurrency = ["thread", "greenlet"]
"""


@pytest.mark.untraced
def test_lines_are_covered_if_they_were_executed(tmp_path: Path) -> None:
    for name, text in (("covered.py", CODE), ("test_covered.py", TESTS), ("pyproject.toml", SETTINGS)):
        (tmp_path / name).write_text(text)
    options = ["-n", "2", "-p", "tests.cheap_coverage", "--cov=covered", "--cov-report=term-missing"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:schemathesis", *options]
    environment = {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("covered.py")]
    assert line.endswith(" 18"), line  # the body of `never`


def test_ended_greenlets_are_forgotten() -> None:
    stacks = Stacks()
    ended = [greenlet(int) for _ in range(MANY)]
    for number, one in enumerate(ended):
        stacks[one] = number
        one.switch()
    assert len(stacks) == MANY
    stacks[getcurrent()] = MANY
    assert dict(stacks) == {getcurrent(): MANY}
