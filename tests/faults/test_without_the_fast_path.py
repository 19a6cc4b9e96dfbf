"""The plain kit is enough: a copy without `kit/fast` passes the tests."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
INSTALLATION = re.compile(r"    if settings\.fast_path:\n        install\(.*?\)\n", re.DOTALL)
NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", "node_modules", "__pycache__", ".*_cache", "*.db*", "benchmarks")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project without the fast path: its folder, its tests, and its lines in `main.py` are gone."""
    folder = tmp_path_factory.mktemp("copy") / "service"
    shutil.copytree(PROJECT, folder, ignore=NOT_COPIED)
    shutil.rmtree(folder / "kit/fast")
    shutil.rmtree(folder / "tests/kit/fast")
    shutil.rmtree(folder / "tests/kit/habits")  # each habit is tried there with and without the fast path
    main = (folder / "main.py").read_text()
    plain = INSTALLATION.sub("", main).replace("from kit.fast import install\n", "")
    assert "install" not in plain
    (folder / "main.py").write_text(plain)
    return folder


@pytest.mark.parametrize("tests", ["tests/heroes", "tests/contract", "tests/kit"])
def test_a_copy_without_the_fast_path_passes_the_tests(copy: Path, tests: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-k", "not postgresql", "-p", "no:cacheprovider", tests]
    ended = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert " passed" in ended.stdout
