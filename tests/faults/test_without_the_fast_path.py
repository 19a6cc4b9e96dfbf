"""The plain kit is complete: a copy without `kit/fast` passes the tests."""

import re
from pathlib import Path

import pytest

from tests.faults.copies import copy_project, run_tests

INSTALLATION = re.compile(r"    if settings\.fast_path:\n        install\(.*?\)\n", re.DOTALL)
HABITS = "tests/kit/habits"
"""Their tests run with and without the fast path."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the project without the fast path: without its folder, its tests, and its lines in `main.py`."""
    copy = copy_project(tmp_path_factory.mktemp("copy"), "kit/fast", "tests/kit/fast", HABITS)
    main = (copy / "main.py").read_text()
    plain = INSTALLATION.sub("", main).replace("from kit.fast import install\n", "")
    assert "install" not in plain
    (copy / "main.py").write_text(plain)
    return copy


@pytest.mark.parametrize("tests", ["tests/heroes", "tests/contract", "tests/kit"])
def test_a_copy_without_the_fast_path_passes_the_tests(copy: Path, tests: str) -> None:
    assert " passed" in run_tests(copy, "-n", "2", "-k", "not postgresql", tests)
