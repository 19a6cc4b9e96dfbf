"""Rerun: few failing tests run once more, and those that pass then are reported."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import PROJECT
from tests.rerun import MOST, alone

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

ACCIDENT = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range({number}))
def test_it_passes_the_second_time(number):
    flag = Path(__file__).with_name(f"{{number}}")
    if not flag.exists():
        flag.touch()
        raise AssertionError("by accident")

def test_another(request):
    assert not request.config.getoption("lf"), "it runs once only"
"""
ALWAYS = "def test_it_always_fails():\n    assert 1 == 2\n"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Provide the file in which tests that failed at first are reported."""
    return tmp_path / "report"


def rerun(report: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run these tests, in a folder of their own."""
    folder = report.parent / "project"
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(tests)
    command = [sys.executable, "-m", "tests.rerun", "-q", "--rootdir", str(folder), *options, str(folder)]
    environment = {"FAILED_AT_FIRST": str(report)}
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("options", [(), ("-n", "2", "--dist", "worksteal")])
def test_tests_that_fail_by_accident_pass_the_second_time_and_are_reported(
    report: Path, options: tuple[str, ...]
) -> None:
    done = rerun(report, ACCIDENT.format(number=MOST), *options)
    assert done.returncode == 0, done.stdout
    assert f"{MOST} failed, and run once more, alone." in done.stdout
    assert report.read_text().count("E           AssertionError: by accident") == MOST
    assert "test_it.py::test_it_passes_the_second_time[0]" in report.read_text()


def test_a_test_that_fails_again_ends_the_run(report: Path) -> None:
    done = rerun(report, ACCIDENT.format(number=1) + ALWAYS)
    assert (done.returncode, report.exists()) == (1, False)
    assert done.stdout.count("1 failed, 1 passed") == 1


@pytest.mark.parametrize(
    "tests", [ACCIDENT.format(number=MOST + 1), ALWAYS + "import nothing\n", "", "def test(): pass"]
)
def test_many_failures_and_other_ends_are_left_as_they_are(report: Path, tests: str) -> None:
    done = rerun(report, tests)
    assert done.returncode == {"": 5, "def test(): pass": 0, ALWAYS + "import nothing\n": 2}.get(tests, 1)
    assert "once more" not in done.stdout
    assert not report.exists()


def test_the_second_run_has_one_process_and_adds_to_the_coverage() -> None:
    options = ["-q", "-n", "2", "--dist", "worksteal", "-k", "not slow", "--cov", "tests/kit"]
    first = ["--last-failed", "--last-failed-no-failures=none"]
    assert alone(options) == [*first, "-q", "-k", "not slow", "--cov", "tests/kit", "--cov-append"]


def test_every_target_that_runs_the_tests_can_run_failing_ones_once_more() -> None:
    for makefile in (PROJECT / "Makefile", *PROJECT.glob("tests/*/targets.mk")):
        named = [line for line in makefile.read_text().splitlines() if "bin/pytest" in line.replace("$(BIN)", "bin")]
        assert named == (["PYTEST ?= $(BIN)/pytest"] if makefile.name == "Makefile" else [])
