"""Removal of resources: `python -m kit.scaffolding.removal "invoice,note"` removes their files, tests and tables."""

import ast
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.pages import removed_names, without_rows
from kit.scaffolding.project import Project, parsed
from kit.scaffolding.project_files import files_of, options_of
from kit.scaffolding.pruning import defined, pruned
from kit.scaffolding.relations import Relations, resource_of
from kit.scaffolding.words import in_words, plural_of
from kit.scaffolding.writing import formatted

HELP = (
    "Write `make remove RESOURCE=invoice`, with the name of a file of your resources, or with several names, as in "
    'RESOURCE="invoice,note".'
)
FIXES = (
    "check --quiet --fix-only --unsafe-fixes --select B007,F401,F841,PERF102,RET504,RUF059,I -",
    "format --quiet -",
)


@dataclass(frozen=True)
class Removal:
    """The removal of the resources `names` from a project. `files` are the changes; `remove` writes them."""

    project: Project
    names: frozenset[str]

    @cached_property
    def relations(self) -> Relations:
        return Relations(self.project)

    @cached_property
    def modules(self) -> frozenset[str]:
        return frozenset(f"{self.project.package}.{name}" for name in self.names)

    @property
    def tables(self) -> list[str]:
        return [self.project.known[name].table for name in sorted(self.names & self.project.known.keys())]

    @property
    def is_migrated(self) -> bool:
        """Return whether a migration creates one of the tables. Otherwise it would only have what others changed."""
        table = f"(?:{'|'.join(map(re.escape, self.tables))})"
        created = re.compile(rf"""create_table\(\s*["']{table}["']|rename_table\(\s*["']\w+["'],\s*["']{table}["']""")
        versions = (self.project.folder / "migrations/versions").glob("*.py")
        return bool(self.tables) and any(created.search(path.read_text()) for path in versions)

    def check(self) -> None:
        """Raise a NotWrittenError if there is no such resource, or if other code depends on it."""
        for name in sorted(self.names):
            self.check_name(name)
        folder, modules = self.project.folder, self.relations.modules
        users = set().union(*map(self.relations.dependents, self.names)) - self.names
        paths = [modules[name] for name in users] + [
            path for path in sorted(folder.glob("*.py")) if path.stem != "demo"
        ]
        wrong = sorted(path.relative_to(folder).as_posix() for path in paths if self.is_needed_by(path))
        if wrong:
            raise NotWrittenError(
                f"{', '.join(wrong)} cannot do without {' and '.join(sorted(self.names))}: change it there, or remove "
                f"that first or with it{self.together(users, wrong)}."
            )

    def check_name(self, name: str) -> None:
        """Raise a NotWrittenError if there is no such resource, or if the accounts or `main.py` need its name."""
        folder, modules = self.project.folder, self.relations.modules
        if name not in modules:
            listed = ", ".join(sorted(modules))
            raise NotWrittenError(f"There is no resource {name}: the resources are {listed}.")
        accounts = [one for one in options_of(folder).get("accounts", ()) if one in modules]
        if name in self.relations.with_needs(accounts):
            raise NotWrittenError(f"The accounts need {name}: without it nobody could log in.")
        if name in self.project.names_in_main:
            raise NotWrittenError(
                f"main.py uses the name {name} for something else too: give that another name there first, as in "
                f"`import … as other_{name}`."
            )

    def together(self, users: set[str], wrong: list[str]) -> str:
        """Return the argument that would remove the resources with those that need them; empty if other files do."""
        needed_by = {name for name in users if f"{self.project.package}/{name}.py" in wrong}
        return f', as in RESOURCE="{",".join(sorted(self.names | needed_by))}"' if len(needed_by) == len(wrong) else ""

    def is_needed_by(self, path: Path) -> bool:
        """Return whether a module uses the resources otherwise than by an import, or in a list of resources."""
        text = path.read_text()
        left = pruned(text, self.modules)
        if statements(text) != statements(left):
            return True
        classes = [
            node.name
            for name in self.names
            for node in parsed(self.relations.modules[name]).body
            if isinstance(node, ast.ClassDef)
        ]
        words = (classes if text != left else []) + [rf"{table}\.\w+" for table in self.tables]
        return bool(words) and any(re.search(rf"(?<![\w.])(?:{'|'.join(words)})(?!\w)", value) for value in texts(left))

    @cached_property
    def files(self) -> Mapping[Path, str | None]:
        """By path, the new text of each file that changes; None for a file that is removed."""
        removed = {*(self.relations.modules[name] for name in self.names), *self.own_tests}
        changed: dict[Path, str | None] = dict.fromkeys(removed)
        changed |= {
            path: formatted(path, text, self.project.folder, FIXES) for path, text in self.pruned_modules(removed)
        }
        return changed | dict(self.pages(removed))

    @property
    def own_tests(self) -> list[Path]:
        tests = (self.project.folder / "tests" / self.project.package).glob("test_*.py")
        return [path for path in tests if resource_of(path.stem, self.relations.modules) in self.names]

    def pruned_modules(self, removed: set[Path]) -> Iterator[tuple[Path, str]]:
        """Yield the path and the new text of each other module that uses the resources."""
        folder, package = self.project.folder, self.project.package
        paths = [
            folder / name
            for name in files_of(folder)
            if name.endswith(".py") and not name.startswith(("kit/", "tests/kit/"))
        ]
        texts = {path: path.read_text() for path in paths if path not in removed}
        gone = {*self.modules, *(f"tests.{package}.{path.stem}" for path in self.own_tests)}
        own = self.relations.paths_of(self.names)
        tests = {path for path in texts if path.is_relative_to(folder / "tests")}
        left, found = texts, gone
        while found:
            gone |= found
            exported = imported_names(left.values())
            left = {
                path: pruned(text, gone, own if path in tests else (), exported.get(module_of(folder, path), ()))
                for path, text in texts.items()
            }
            found = lost_names(folder, texts, left) - gone
        yield from ((path, text) for path, text in left.items() if text != texts[path])

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


def lost_names(folder: Path, before: Mapping[Path, str], after: Mapping[Path, str]) -> set[str]:
    """Return the definitions that were pruned from modules, such as `tests.shop.helpers.new_order`."""
    return {
        f"{module_of(folder, path)}.{name}"
        for path, text in after.items()
        if text != before[path]
        for name in definitions(before[path]) - definitions(text)
    }


def imported_names(texts: Iterable[str]) -> dict[str, set[str]]:
    """Return the names that modules import from each other, by module."""
    found: dict[str, set[str]] = defaultdict(set)
    for text in texts:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                found[str(node.module)] |= {alias.name for alias in node.names}
    return found


def module_of(folder: Path, path: Path) -> str:
    return ".".join(path.relative_to(folder).with_suffix("").parts)


def definitions(text: str) -> set[str]:
    return {name for node in ast.parse(text).body for name in defined(node)}


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


def remove(project: Project, *names: str) -> list[Path]:
    """Remove resources, and write a migration that drops their tables, if one creates them. Returns the changed files.

    If it fails, nothing is changed. Raises a NotWrittenError, also if the migration would have other changes too.
    """
    removal = Removal(project, frozenset(names))
    removal.check()
    if removal.is_migrated:
        refuse_pending(project.folder)
    before = {path: path.read_text() for path in removal.files}
    replace(removal.files)
    try:
        if removal.is_migrated:
            write_migration(project.folder, f"remove {', '.join(in_words(plural_of(name)) for name in names)}")
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


def main(text: str = "") -> str | None:
    """Remove resources from the project in the current folder. Returns an error message, or None on success."""
    given = list(dict.fromkeys(text.replace(",", " ").split()))
    if not given:
        return HELP
    try:
        paths = remove(Project(Path.cwd()), *given)
    except NotWrittenError as failure:
        return f"Nothing was removed. {failure}"
    names = ", ".join(os.path.relpath(path) for path in paths)
    sys.stdout.write(
        f"Removed {', '.join(given)} from {names}.\nRead the changes (git diff). Then: make migrate test\n"
    )
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
