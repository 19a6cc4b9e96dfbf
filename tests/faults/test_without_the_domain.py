"""The kit depends on no domain: a copy without `heroes`, `main.py` and their tests passes the tests of the kit."""

from pathlib import Path

import pytest

from tests.faults.copies import EACH_KIND, copy_project, run_tests

DOMAIN = ("heroes", "main.py", "migrations/versions", "tests/heroes", "tests/contract")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the project without the example domain."""
    copy = copy_project(tmp_path_factory.mktemp("copy"), *DOMAIN)
    (copy / "migrations/versions").mkdir()
    return copy


def test_all_tests_of_the_kit_can_be_imported_without_the_domain(copy: Path) -> None:
    assert " tests collected" in run_tests(copy, "--collect-only", "tests/kit")


def test_tests_of_the_kit_pass_without_the_domain(copy: Path) -> None:
    assert " passed" in run_tests(copy, "-k", "not postgresql", *EACH_KIND)
