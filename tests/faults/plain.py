"""Plain: a copy of the project without `kit/fast`, in which the tests pass: `python -m tests.faults.plain FOLDER`."""

import re
import sys
from pathlib import Path

from tests.faults.copies import copy_project

INSTALLATION = re.compile(r"    if settings\.fast_path:\n        install\(.*?\)\n", re.DOTALL)
LEFT_OUT = ("kit/fast", "tests/kit/fast", "tests/kit/habits")
"""The fast path, its tests, and those that run each way by themselves."""


def copy_without_the_fast_path(folder: Path) -> Path:
    """Copy the project without the fast path: without its folder, its tests, and its lines in `main.py`."""
    copy = copy_project(folder, *LEFT_OUT)
    main = (copy / "main.py").read_text()
    plain = INSTALLATION.sub("", main).replace("from kit.fast import install\n", "")
    assert "install(service, coalesce" not in plain
    assert "kit.fast" not in plain
    (copy / "main.py").write_text(plain)
    (copy / ".venv").symlink_to(Path(sys.prefix))
    return copy


if __name__ == "__main__":
    print(copy_without_the_fast_path(Path(sys.argv[1])))  # noqa: T201
