"""Writing: the module of a resource, its test and its entry in `main.py`, either all of them or none."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.project import Project
from kit.scaffolding.rendering import source_of, source_of_test
from kit.scaffolding.resources import Resource

FORMATTING = ("check --quiet --fix-only --select F401,I -", "format --quiet -")
"""The commands of ruff that remove unused imports, sort the others, and format the source."""


def write(project: Project, resource: Resource) -> list[Path]:
    """Write all files of a resource, and return their paths. Raises a NotWrittenError; then no file is written."""
    sources = sources_of(project, resource)
    for path in sources:
        if path != project.main and path.exists():
            raise NotWrittenError(f"{path.relative_to(project.folder)} exists: remove it, or take another name.")
    write_all({path: formatted(path, source, project.folder) for path, source in sources.items()})
    return list(sources)


def sources_of(project: Project, resource: Resource) -> dict[Path, str]:
    sources = {project.folder / resource.package / f"{resource.name}.py": source_of(resource)}
    tests = project.folder / "tests" / resource.package
    if tests.is_dir():
        sources[tests / f"test_{resource.name}.py"] = source_of_test(resource)
    return sources | {project.main: project.main_with(resource.name)}


def formatted(path: Path, source: str, folder: Path, steps: Sequence[str] = FORMATTING) -> str:
    for arguments in steps:
        command = [sys.executable, "-m", "ruff", *arguments.split(), "--stdin-filename", str(path)]
        done = subprocess.run(command, cwd=folder, input=source, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise NotWrittenError(f"{path.name} cannot be formatted: {done.stderr.strip()}")
        source = done.stdout
    return source


def write_all(sources: Mapping[Path, str]) -> None:
    """Write the texts by path. If a file cannot be written, restore the others, and raise a NotWrittenError."""
    before = {path: path.read_text() if path.exists() else None for path in sources}
    try:
        for path, source in sources.items():
            path.write_text(source)
    except OSError as failure:
        for path, old in before.items():
            restore(path, old)
        raise NotWrittenError(f"{failure.filename} cannot be written: {failure.strerror}.") from failure


def restore(path: Path, source: str | None) -> None:
    """Restore the previous text of a file; None removes it. A file that was not changed is not written."""
    if source is None:
        path.unlink(missing_ok=True)
    elif path.read_text() != source:
        path.write_text(source)
