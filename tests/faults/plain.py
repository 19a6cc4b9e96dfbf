"""Creates a copy of the project without `kit/fast`, to run the tests in it: `python -m tests.faults.plain FOLDER`."""

import re
import shutil
import sys
from pathlib import Path

from tests.faults.copies import copy_project

INSTALLATION = re.compile(r"    if settings\.fast_path:\n        install\(.*?\)\n", re.DOTALL)
LEFT_OUT = ("kit/fast", "tests/kit/fast", "tests/kit/habits")
"""The fast path with its tests, and the tests that run with and without it by themselves."""
IMPORT = re.compile(r"^from kit\.fast[. ]", re.MULTILINE)


def choosing(folder: Path) -> set[Path]:
    """Return the tests that import the fast path (they cover both ways), and the folders whose conftest does."""
    found = [path for path in folder.rglob("*.py") if IMPORT.search(path.read_text())]
    return {path.parent if path.name == "conftest.py" else path for path in found}


def copy_without_the_fast_path(folder: Path) -> Path:
    """Copy the project without the fast path: without its folder, its tests, and its lines in `main.py`."""
    copy = copy_project(folder, *LEFT_OUT)
    for path in choosing(copy / "tests/kit"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    main = (copy / "main.py").read_text()
    plain = INSTALLATION.sub("", main).replace("from kit.fast import install\n", "")
    assert "install(service, coalesce" not in plain
    assert "kit.fast" not in plain
    (copy / "main.py").write_text(plain)
    (copy / ".venv").symlink_to(Path(sys.prefix))
    return copy


if __name__ == "__main__":
    print(copy_without_the_fast_path(Path(sys.argv[1])))  # noqa: T201
