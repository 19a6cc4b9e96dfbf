"""Report the coverage of `make check`: `python -m tests.coverage_gaps PYTEST OPTION...`.

What a test covers can depend on timing, and on the tests before it. So if something is missing, the tests that mention
the module run too, with those that the list leaves out, before the coverage is reported again.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from coverage import Coverage

TESTS = Path("tests")
MIN_LETTERS = 5
"""The minimum length of a word by which a module of tests is found."""


def missing() -> list[str]:
    """Report the coverage, and return the files that are not completely covered."""
    measured = Coverage()
    measured.load()
    if measured.report() == 100:
        return []
    with NamedTemporaryFile() as output:
        measured.json_report(outfile=output.name)
        files = json.loads(output.read())["files"]
    return [file for file, found in files.items() if found["missing_lines"] or found["missing_branches"]]


def tests_of(files: Collection[str], directory: Path) -> list[Path]:
    """Return the modules of tests that mention the module of one of the files, or have a word of its name in theirs.

    Groups of tests with requirements of their own (`targets.mk`) are left out, as `make check` does.
    """
    stems = [Path(file).stem for file in files]
    mention = re.compile(rf"\b({'|'.join(map(re.escape, stems))})\b")
    words = {word for stem in stems for word in stem.split("_") if len(word) >= MIN_LETTERS}
    return sorted(
        path
        for path in directory.rglob("test_*.py")
        if not (directory / path.relative_to(directory).parts[0] / "targets.mk").exists()
        if not words.isdisjoint(path.stem.split("_")) or mention.search(path.read_text())
    )


def main(pytest: Sequence[str]) -> int:
    """Return the exit code: 0 if everything is covered, at once or with further tests that pass."""
    files = missing()
    tests = tests_of(files, TESTS) if files else []
    if not tests:
        return int(bool(files))
    print(f"\nNot covered at first: {', '.join(files)}. {len(tests)} modules of tests mention it.", flush=True)  # noqa: T201
    command = [*pytest, "--cov-append", *map(str, tests)]
    code = subprocess.run(command, check=False, env=os.environ | {"ALL_TRACED": "1"}).returncode
    return code or int(bool(missing()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
