"""Copies of the project without some of its parts, and tests that run in a copy."""

import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
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
NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", "node_modules", "__pycache__", ".*_cache", "*.db*", "benchmarks")


def copy_project(folder: Path, *left_out: str) -> Path:
    """Copy the project into this folder, without these files and folders, all of which must exist."""
    copy = shutil.copytree(PROJECT, folder / "service", ignore=NOT_COPIED)
    for name in left_out:
        path = copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return copy


def run_tests(copy: Path, *arguments: str) -> str:
    """Run pytest in a copy. Returns its output; fails if a test fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", *arguments]
    ended = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]
    return ended.stdout
