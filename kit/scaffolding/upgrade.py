"""Upgrades of the kit: `python -m kit.scaffolding.upgrade FROM=../project TO=v1.1.0` replaces it by a newer one."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.kit_files import (
    MANIFEST,
    differing,
    hashes,
    kit_files,
    parts_of,
    recorded,
    version_of,
    write_record,
)
from kit.scaffolding.project_files import changed, git
from kit.scaffolding.removal import write_migration

HELP = (
    "Write `make upgrade-kit FROM=../project`, or FROM=https://… with a git URL; TO=v1.1.0 chooses a tag or a branch."
)
SECTION = re.compile(r"^## \[([\d.]+)\].*?(?=^## \[|\Z)", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^- .*\n(?:  .*\n)*", re.MULTILINE)
NEEDED = ("kit/__init__.py", MANIFEST, "kit/CHANGELOG.md", "kit/pyproject.toml")
"""The files of a kit that are read before it replaces another one."""
NAME = re.compile(r"[A-Za-z0-9_.-]+")
NO_RECORD = """Without {0} there is nothing to compare the kit with, and FROM has no tag v{1} either.
Write the record by `python -m kit.scaffolding.upgrade --record` if kit/ was not changed here."""


@contextmanager
def opened(source: str, tag: str) -> Iterator[Path]:
    """Yield the folder of a project: `source` itself, or a temporary clone of a folder or URL, at a tag or branch."""
    if not tag and Path(source).is_dir():
        yield Path(source).resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        clone(Path.cwd(), source, folder, tag)
        yield Path(folder)


def clone(here: Path, source: str, folder: str, tag: str) -> None:
    chosen = ("--branch", tag) if tag else ()
    git(here, "clone", "--quiet", "--depth", "1", *chosen, "--", as_url(source), folder)


def as_url(source: str) -> str:
    """Return the URL of a folder, for which git respects `--depth`; a URL unchanged."""
    return Path(source).resolve().as_uri() if Path(source).is_dir() else source


def local_changes(folder: Path, source: str) -> list[str]:
    """Return the files of the kit that were changed in this project.

    They are compared with the record; without one, with the tag of the version in `source`. Raises a NotWrittenError if
    there is neither.
    """
    before, version = recorded(folder), version_of(folder)
    if before is None:
        with tempfile.TemporaryDirectory() as same:
            try:
                clone(folder, source, same, f"v{version}")
            except NotWrittenError:
                raise NotWrittenError(NO_RECORD.format("kit/RECORD", version)) from None
            before = hashes(Path(same))
    return sorted({*differing(before, hashes(folder)), *changed(folder, parts_of(folder))})


def changelog(folder: Path, new: Path) -> str:
    """Return what the kit's changelog in `new` adds to that in `folder`: later versions, and changes of no version yet.

    Two kits may have one version, and differ in the changes since then.
    """
    text, after = (new / "kit/CHANGELOG.md").read_text(), version_key(version_of(folder))
    sections = [section[0] for section in SECTION.finditer(text) if version_key(section[1]) > after]
    known = "".join(path.read_text() for path in (folder / "kit").glob("CHANGELOG.md"))
    unreleased = [entry for entry in entries_of(text.partition("## [Unreleased]")[2]) if entry not in known]
    heading = ["## [Unreleased]\n\n", *unreleased, "\n"] if unreleased else []
    return "".join([*heading, *sections]).strip()


def entries_of(text: str) -> list[str]:
    """Return the entries up to the next version: lines that begin with a hyphen, each with the lines that follow it."""
    return ENTRY.findall(text.partition("\n## [")[0])


def version_key(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def upgrade(folder: Path, source: str, tag: str = "") -> str:
    """Replace the kit in a project by that of `source`. Returns a report with the changelog and remaining tasks.

    Raises a NotWrittenError, before any change, if it must not be replaced.
    """
    old = version_of(folder)
    with opened(source, tag) as new:
        check(folder, new, source)
        version, news = version_of(new), changelog(folder, new) or "The changelog has nothing new."
        replace(folder, new)
        remarks = missing_packages(folder, new)
    write_record(folder)
    return f"The kit was {old}, and is {version} now.\n\n{news}\n{remarks}"


def check(folder: Path, new: Path, source: str) -> None:
    """Raise a NotWrittenError if the kit in `folder` is newer than that in `new`, or was changed locally."""
    if new == folder.resolve():
        raise NotWrittenError("FROM is this project itself: give the folder or the URL of the one with a newer kit.")
    if missing := [name for name in NEEDED if not (new / name).is_file()]:
        raise NotWrittenError(
            f"FROM={source} has no kit that can be upgraded to: it lacks {missing[0]}. Give the folder or the URL of a "
            "project with a newer one."
        )
    old, version = version_of(folder), version_of(new)
    if version_key(version) < version_key(old):
        raise NotWrittenError(f"The kit there has version {version}, which is older than {old} here.")
    if wrong := local_changes(folder, source):
        listed = "\n  ".join(wrong)
        raise NotWrittenError(
            f"These files of the kit were changed here. Undo that, or move it out of kit/:\n  {listed}"
        )


def replace(folder: Path, new: Path) -> None:
    """Replace the files of the kit in `folder` by those in `new`."""
    for name in kit_files(folder):
        (folder / name).unlink()
    for name in kit_files(new):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(new / name, folder / name)


def missing_packages(folder: Path, new: Path) -> str:
    """Return a remark with the dependencies of the new kit that `pyproject.toml` lacks; empty if there are none."""
    needed = tomllib.loads((new / "kit/pyproject.toml").read_text())["project"]["dependencies"]
    listed = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]
    missing = [package for package in needed if package not in listed]
    lines = "".join(f'    "{package}",\n' for package in missing)
    return f"\nWrite these dependencies into pyproject.toml, and run `make lock`:\n{lines}" if missing else ""


def has_changed_tables(folder: Path) -> bool:
    """Return whether the project's migrations, applied to an empty database, differ from its models."""
    with tempfile.TemporaryDirectory() as place:
        environment = {**os.environ, "DATABASE_URL": f"sqlite:///{place}/empty.db"}
        command = [sys.executable, "-m", "kit.database.migration_check"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)  # noqa: S603  no shell
    return done.returncode != 0


def run_tests(folder: Path) -> str | None:
    """Run all tests. Returns an error message if some fail, else None."""
    make = shutil.which("make") or "make"
    failed = [name for name in ("test-kit", "test") if subprocess.run([make, name], cwd=folder, check=False).returncode]  # noqa: S603
    hint = "adapt your code as the changelog says, or go back with `git restore . && git clean -d kit tests`"
    return f"make {' and make '.join(failed)} failed with the new kit: {hint}." if failed else None


def main(*arguments: str) -> str | None:
    """Upgrade the kit of the project in the current folder. Returns an error message, or None on success."""
    folder = Path.cwd()
    if arguments == ("--record",):
        write_record(folder)
        return None
    given = {name.lower(): value.strip() for name, _, value in (argument.partition("=") for argument in arguments)}
    if not given.get("from") or given.keys() - {"from", "to"}:
        return HELP
    try:
        sys.stdout.write(upgrade(folder, given["from"], given.get("to", "")) + "\n")
        if has_changed_tables(folder):
            write_migration(folder, f"kit {version_of(folder)}")
    except NotWrittenError as failure:
        return str(failure)
    except OSError as failure:
        return f"{failure.filename} cannot be replaced: {failure.strerror}. Go back with `git restore .`."
    return run_tests(folder)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
