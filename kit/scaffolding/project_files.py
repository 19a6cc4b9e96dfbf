"""The files of a project, by git or by a list of exclusions, and the table `tool.kit` of its `pyproject.toml`."""

import fnmatch
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kit.scaffolding.errors import NotWrittenError

NO_FILES = ("__pycache__", ".git", ".venv*", "node_modules", ".*_cache", ".hypothesis", ".coverage*", "*.db*", ".env")
"""The files and folders that are not part of a project, for a folder without git."""


def git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command. Raises a NotWrittenError with git's message if it fails."""
    program = shutil.which("git")
    if program is None:
        raise NotWrittenError("git is missing; on Debian: apt install git")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  no shell
    if done.returncode:
        raise NotWrittenError(f"git {arguments[0]} failed: {reason_of(done.stderr or done.stdout)}")
    return done.stdout


def reason_of(output: str) -> str:
    """Return the line of git's output with the reason of a failure. Advice may follow it."""
    lines = output.strip().splitlines() or ["it says nothing"]
    return next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1])


def has_git(folder: Path) -> bool:
    """Return whether the folder is the top of a git repository."""
    return (folder / ".git").exists() and shutil.which("git") is not None


def files_of(folder: Path) -> list[str]:
    """Return the files of a project, relative to its folder: those that git does not ignore; without git, all files.

    New files are among them before they are added to git, because the changed `main.py` already imports them.
    """
    if has_git(folder):
        listed = git(folder, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
        return sorted(name for name in listed if name and (folder / name).is_file())
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not matches(name, NO_FILES)]
        found += [os.path.relpath(Path(parent, name), folder) for name in names if not matches(name, NO_FILES)]
    return sorted(found)


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def changed(folder: Path, names: Sequence[str] = ()) -> list[str]:
    """Return the files with uncommitted changes; with `names`, only those files, and the files in those folders."""
    if not has_git(folder):
        return []
    status = git(folder, "status", "--porcelain", "--untracked-files=all", "-z", "--", *names)
    return [entry[3:] for entry in status.split("\0") if entry[2:3] == " "]


def options_of(folder: Path) -> dict[str, Any]:
    """Return the table `tool.kit` of `pyproject.toml`."""
    path = folder / "pyproject.toml"
    document = tomllib.loads(path.read_text()) if path.is_file() else {}
    options: dict[str, Any] = document.get("tool", {}).get("kit", {})
    return options


def is_below(name: str, folders: Iterable[str]) -> bool:
    """Return whether a file is one of these, or in one of these folders."""
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)
