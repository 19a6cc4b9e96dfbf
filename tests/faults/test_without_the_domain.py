"""The kit depends on no domain: a copy without `heroes`, `main.py` and their tests passes the tests of the kit."""

from pathlib import Path

import pytest

from tests.faults.copies import copy_project, run_tests

DOMAIN = ("heroes", "main.py", "migrations/versions", "tests/heroes", "tests/contract")
EACH_KIND = (
    "tests/kit/test_bulk.py",
    "tests/kit/test_errors.py",
    "tests/kit/test_idempotency.py",
    "tests/kit/test_login_limits.py",
    "tests/kit/test_security_headers.py",
    "tests/kit/habits/test_sessions.py",
    "tests/kit/fast/test_fast_sessions.py",
    "tests/kit/server/test_mounting.py",
    "tests/kit/server/test_routes.py",
)
"""Tests that use each of the kit's fixtures and services. All tests of the kit would take minutes."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the project without the example domain."""
    copy = copy_project(tmp_path_factory.mktemp("copy"), *DOMAIN)
    (copy / "migrations/versions").mkdir()
    return copy


def test_all_tests_of_the_kit_can_be_imported_without_the_domain(copy: Path) -> None:
    assert " tests collected" in run_tests(copy, "--collect-only", "tests/kit")


def test_tests_of_the_kit_pass_without_the_domain(copy: Path) -> None:
    assert " passed" in run_tests(copy, "-n", "2", "-k", "not postgresql", *EACH_KIND)
