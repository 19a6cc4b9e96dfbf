"""The plain kit is complete: a copy without `kit/fast` passes the tests.

All tests of the kit pass with `FAST_PATH=false`, for which `.ci/run` runs them. Here they are all imported, and some of
each kind are run.
"""

import re
from pathlib import Path

import pytest

from tests.faults.copies import EACH_KIND, copy_project, run_tests

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


def test_all_tests_can_be_imported_without_the_fast_path(copy: Path) -> None:
    assert " tests collected" in run_tests(copy, "--collect-only", "tests/heroes", "tests/contract", "tests/kit")


def test_a_copy_without_the_fast_path_passes_the_tests(copy: Path) -> None:
    tests = [path for path in EACH_KIND if (copy / path).exists()]
    assert " passed" in run_tests(copy, "-n", "2", "-k", "not postgresql", "tests/heroes", "tests/contract", *tests)
