"""Tidying: sorts the imports of a new migration, and removes those that it does not use, by ruff."""

import subprocess
import sys

OPTIONS = ("check", "--fix-only", "--quiet", "--select", "F401,I")


def tidy(path: str) -> None:
    """Correct the imports of a Python file."""
    subprocess.run([sys.executable, "-m", "ruff", *OPTIONS, path], check=False)  # noqa: S603  no shell
