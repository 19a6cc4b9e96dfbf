"""Removal of resources: `python -m kit.scaffolding.removal invoice` removes its file, its tests and its table."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.pages import removed_names, without_rows
from kit.scaffolding.project import Project, parsed
from kit.scaffolding.project_files import files_of, options_of
from kit.scaffolding.pruning import pruned
from kit.scaffolding.relations import Relations, resource_of
from kit.scaffolding.words import in_words, plural_of
from kit.scaffolding.writing import formatted

HELP = "Write `make remove RESOURCE=invoice`, with the name of a file of your resources."
FIXES = ("check --quiet --fix-only --unsafe-fixes --select F401,F841,RUF059,I -", "format --quiet -")


@dataclass(frozen=True)
class Removal:
    """The removal of the resource `name` from a project. `files` are the changes; `remove` writes them."""

    project: Project
    name: str

    @cached_property
    def relations(self) -> Relations:
        return Relations(self.project)

    @property
    def module(self) -> str:
        return f"{self.project.package}.{self.name}"

    @property
    def has_table(self) -> bool:
        return self.name in self.project.known

    @property
    def is_migrated(self) -> bool:
        """Return whether a migration creates the table. Otherwise a migration would only have what others changed."""
        table = re.escape(self.project.known[self.name].table) if self.has_table else None
        created = re.compile(rf"""create_table\(\s*["']{table}["']|rename_table\(\s*["']\w+["'],\s*["']{table}["']""")
        versions = (self.project.folder / "migrations/versions").glob("*.py")
        return self.has_table and any(created.search(path.read_text()) for path in versions)

    def check(self) -> None:
        """Raise a NotWrittenError if there is no such resource, or if other code depends on it."""
        folder, modules = self.project.folder, self.relations.modules
        if self.name not in modules:
            listed = ", ".join(sorted(modules))
            raise NotWrittenError(f"There is no resource {self.name}: the resources are {listed}.")
        accounts = [name for name in options_of(folder).get("accounts", ()) if name in modules]
        if self.name in self.relations.with_needs(accounts):
            raise NotWrittenError(f"The accounts need {self.name}: without it nobody could log in.")
        if self.name in self.project.names_in_main:
            raise NotWrittenError(
                f"main.py uses the name {self.name} for something else too: give that another name there first, as in "
                f"`import … as other_{self.name}`."
            )
        users = [*self.relations.dependents(self.name)]
        paths = [modules[name] for name in users] + [
            path for path in sorted(folder.glob("*.py")) if path.stem != "demo"
        ]
        wrong = sorted(path.relative_to(folder).as_posix() for path in paths if self.is_needed_by(path))
        if wrong:
            raise NotWrittenError(
                f"{', '.join(wrong)} cannot do without {self.name}: change it there, or remove that first."
            )

    def is_needed_by(self, path: Path) -> bool:
        """Return whether a module uses the resource otherwise than by an import, or in a list of resources."""
        text = path.read_text()
        left = pruned(text, {self.module})
        if statements(text) != statements(left):
            return True
        classes = [
            node.name for node in parsed(self.relations.modules[self.name]).body if isinstance(node, ast.ClassDef)
        ]
        table = self.project.known[self.name].table if self.has_table else None
        words = (classes if text != left else []) + ([rf"{table}\.\w+"] if table else [])
        return (
            any(re.search(rf"(?<![\w.])(?:{'|'.join(words)})(?!\w)", value) for value in texts(left))
            if words
            else False
        )

    @cached_property
    def files(self) -> Mapping[Path, str | None]:
        """By path, the new text of each file that changes; None for a file that is removed."""
        removed = {self.relations.modules[self.name], *self.own_tests}
        changed: dict[Path, str | None] = dict.fromkeys(removed)
        changed |= {path: text for path, text in self.pruned_modules() if path not in removed}
        return changed | dict(self.pages(removed))

    @property
    def own_tests(self) -> list[Path]:
        tests = (self.project.folder / "tests" / self.project.package).glob("test_*.py")
        return [path for path in tests if resource_of(path.stem, self.relations.modules) == self.name]

    def pruned_modules(self) -> Iterator[tuple[Path, str]]:
        """Yield the path and the new text of each module that uses the resource."""
        folder, package = self.project.folder, self.project.package
        names = [
            name for name in files_of(folder) if name.endswith(".py") and not name.startswith(("kit/", "tests/kit/"))
        ]
        gone = {self.module, *(f"tests.{package}.{path.stem}" for path in self.own_tests)}
        own = self.relations.paths_of({self.name})
        for name in names:
            text, path = (folder / name).read_text(), folder / name
            left = pruned(text, gone, own if name.startswith("tests/") else ())
            if left != text:
                yield path, formatted(path, left, folder, FIXES)

    def pages(self, removed: set[Path]) -> Iterator[tuple[Path, str]]:
        """Yield the path and the new text of each page with table rows about removed files or tests."""
        folder = self.project.folder
        names = files_of(folder)
        gone = {path.relative_to(folder).as_posix() for path in removed}
        names_removed = removed_names(folder, names, set(names) - gone)
        for path in [folder / name for name in names if name.endswith(".md")]:
            text = path.read_text()
            if (left := without_rows(text, names_removed)) != text:
                yield path, left


def statements(text: str) -> int:
    """Return the number of statements in a module, without imports."""
    kinds = (ast.Import, ast.ImportFrom)
    return len(
        [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt) and not isinstance(node, kinds)]
    )


def texts(text: str) -> Iterator[str]:
    """Yield the string literals in a module that are not docstrings."""
    tree = ast.parse(text)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def remove(project: Project, name: str) -> list[Path]:
    """Remove a resource, and write the migration that drops its table, if one creates it. Returns the changed files.

    If it fails, nothing is changed. Raises a NotWrittenError, also if the migration would have other changes too.
    """
    removal = Removal(project, name)
    removal.check()
    if removal.is_migrated:
        refuse_pending(project.folder)
    before = {path: path.read_text() for path in removal.files}
    replace(removal.files)
    try:
        if removal.is_migrated:
            write_migration(project.folder, f"remove {in_words(plural_of(name))}")
    except NotWrittenError:
        replace(before)
        raise
    return sorted(before)


def replace(files: Mapping[Path, str | None]) -> None:
    for path, text in files.items():
        if text is None:
            path.unlink()
        else:
            path.write_text(text)


def refuse_pending(folder: Path) -> None:
    """Raise a NotWrittenError if the models have changes that no migration has: the next one would have them too."""
    run_module(folder, "kit.database.pending_changes")


def write_migration(folder: Path, message: str) -> None:
    sys.stdout.write(run_module(folder, "kit.database.new_migration", message))


def run_module(folder: Path, *command: str) -> str:
    """Run a module of Python in a folder, and return what it prints. Raises a NotWrittenError if it fails."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  no shell
    if done.returncode:
        raise NotWrittenError(f"The migration cannot be written: {done.stderr.strip()[-500:]}")
    return done.stdout


def main(name: str = "") -> str | None:
    """Remove a resource from the project in the current folder. Returns an error message, or None on success."""
    if not name:
        return HELP
    try:
        paths = remove(Project(Path.cwd()), name.strip())
    except NotWrittenError as failure:
        return f"Nothing was removed. {failure}"
    names = ", ".join(os.path.relpath(path) for path in paths)
    sys.stdout.write(f"Removed {name} from {names}.\nRead the changes (git diff). Then: make migrate test\n")
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
