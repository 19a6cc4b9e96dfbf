"""The files of the kit in a service: their names, hashes, and the record by which local changes are found."""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.project_files import files_of, is_below

MANIFEST = "kit/kit.toml"
RECORD = "kit/RECORD"
"""The file with the hashes of the kit's original files, written by `make new` and `make upgrade-kit`."""
VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)


def parts_of(folder: Path) -> list[str]:
    """Return the files and folders of the kit in a project, from its manifest. Raises a NotWrittenError without one."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise NotWrittenError(f"There is no {manifest}: {folder} has no kit that can be upgraded.")
    parts: list[str] = tomllib.loads(manifest.read_text())["files"]
    return parts


def kit_files(folder: Path) -> list[str]:
    parts = parts_of(folder)
    return [name for name in files_of(folder) if is_below(name, parts) and name != RECORD]


def version_of(folder: Path) -> str:
    """Return the version of the kit in a project. Raises a NotWrittenError if it has none."""
    found = VERSION.search((folder / "kit/__init__.py").read_text())
    if found is None:
        raise NotWrittenError(f"The kit in {folder} has no version.")
    return found[1]


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of the kit, by path."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in kit_files(folder)}


def write_record(folder: Path) -> None:
    lines = [f"{digest}  {name}" for name, digest in sorted(hashes(folder).items())]
    (folder / RECORD).write_text("\n".join(lines) + "\n")


def recorded(folder: Path) -> dict[str, str] | None:
    """Return the hashes in the record, by path; None without a record."""
    path = folder / RECORD
    lines = path.read_text().splitlines() if path.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)} or None


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the paths whose hashes differ, or that are in only one of the mappings."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
