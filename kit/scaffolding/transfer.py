"""Transfer: selects the files of a project that are copied to a new service, and changes their text."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from kit.scaffolding.kit_files import kit_files
from kit.scaffolding.pages import linked, removed_names, without_dead_links, without_removed
from kit.scaffolding.project import Project
from kit.scaffolding.project_files import files_of, is_below, options_of
from kit.scaffolding.pruning import pruned
from kit.scaffolding.relations import Relations, resource_of
from kit.scaffolding.renaming import Renaming
from kit.scaffolding.words import singular_of

TARGET = re.compile(r"^([a-z][a-z-]*):(?!=)", re.MULTILINE)
REVISIONS = "migrations/versions"
"""The folder of the migrations, whose files are not copied: the new service has one of its own."""
COMMAND = re.compile(r"\bmake ([a-z][a-z-]*)")


@dataclass(frozen=True)
class Transfer:
    """The transfer from a project to a new service with the package name `package` and the resources `kept`."""

    project: Project
    package: str
    kept: frozenset[str]

    @cached_property
    def relations(self) -> Relations:
        return Relations(self.project)

    @property
    def old(self) -> str:
        return self.project.package

    @cached_property
    def renaming(self) -> Renaming:
        return Renaming(self.old, self.package)

    @cached_property
    def removed(self) -> frozenset[str]:
        """The resources that the new service does not have."""
        return frozenset(self.relations.modules) - self.kept

    @cached_property
    def removed_modules(self) -> frozenset[str]:
        names = {f"{self.old}.{name}" for name in self.removed}
        kept = {*self.kept_tests, *self.kept_helpers}
        return frozenset(names | {f"tests.{self.old}.{name}" for name in self.tests if name not in kept})

    @cached_property
    def files(self) -> list[str]:
        """The paths of the files that are copied. A picture is copied if a copied page links to it."""
        names = [name for name in files_of(self.project.folder) if self.copies(name)]
        pictures = {picture for name in names if name.endswith(".md") for picture in self.linked(name)}
        return [name for name in names if not is_picture(name) or name in pictures]

    def copies(self, name: str) -> bool:
        """Return whether a file is copied. It does not decide on pictures: see `files`."""
        path = PurePosixPath(name)
        if name == "README.md" or is_below(name, [*self.excluded, REVISIONS]):
            return False
        if path.parent == PurePosixPath(self.old):
            return path.stem not in self.removed
        if path.parent == PurePosixPath("tests", self.old) and path.suffix == ".py":
            return path.stem in {"__init__", "conftest", *self.kept_tests, *self.kept_helpers}
        return path.suffix != ".md" or not self.is_about_the_example(name)

    @cached_property
    def tests(self) -> dict[str, Path]:
        """The modules in the folder of the domain's tests, by name."""
        return {path.stem: path for path in (self.project.folder / "tests" / self.old).glob("[!_]*.py")}

    @cached_property
    def kept_tests(self) -> set[str]:
        """The names of the test modules of kept resources, and of the modules next to `main.py`."""
        programs = {path.stem for path in self.project.folder.glob("*.py")}
        subjects = {*self.relations.modules, *programs}
        tests = (name for name in self.tests if name.startswith("test_"))
        return {name for name in tests if resource_of(name, subjects) in self.kept | programs}

    @cached_property
    def kept_helpers(self) -> set[str]:
        """The names of the helper modules that `kept_tests` use, directly or indirectly."""
        found, waiting = set[str](), ["conftest", *self.kept_tests]
        while waiting:
            path = self.tests.get(waiting.pop())
            used = re.findall(rf"tests\.{self.old}(?:\.| import )(\w+)", path.read_text() if path else "")
            waiting += [name for name in used if name in self.tests and name not in found]
            found |= {name for name in used if name in self.tests}
        return found - self.kept_tests

    @cached_property
    def kit_files(self) -> frozenset[str]:
        return frozenset(kit_files(self.project.folder))

    @cached_property
    def removed_paths(self) -> list[str]:
        return self.relations.paths_of(self.removed)

    @cached_property
    def example_names(self) -> re.Pattern[str]:
        """Matches a mention of the example: the paths and files of removed resources, or the name of the project."""
        files = [f"{self.old}/{name}\\.py" for name in self.removed]
        named = (self.old, singular_of(self.old) or self.old)
        return re.compile(
            "|".join(
                [
                    *(rf"(?<![a-z]){path}\b" for path in self.removed_paths),
                    *files,
                    *(rf"(?i:(?<![a-z]){name}(?![a-z]))" for name in named),
                ]
            )
        )

    def is_about_the_example(self, name: str) -> bool:
        """Return whether a page mentions a removed resource or the project, so that it is not copied."""
        text = (self.project.folder / name).read_text()
        package = rf"(?:(?<![\w/])|(?<=tests/)){self.old}[/.]"  # and not a path of a URL
        others = rf"{package}(?!(?:{'|'.join(self.removed)})\b)" if self.removed else package
        return bool(self.example_names.search(re.sub(others, "", text)))

    def linked(self, name: str) -> Iterator[str]:
        """Yield the paths of the files to which a page links."""
        return linked(name, (self.project.folder / name).read_text())

    def text_of(self, name: str, copied: Iterable[str]) -> str | None:
        """Return the text of a file for the new service; None for a file that is not UTF-8."""
        try:
            text = (self.project.folder / name).read_bytes().decode()
        except UnicodeDecodeError:
            return None
        if name in self.kit_files:
            return text  # the same in every service
        if name.endswith(".py"):
            paths = self.removed_paths if name.startswith("tests/") else ()
            return self.renaming.code(pruned(text, self.removed_modules, paths))
        if name.endswith(".md"):
            return self.renaming.text(without_removed(without_dead_links(name, text, set(copied)), self.removed_names))
        return self.renaming.text(self.without_excluded(name, text))

    @cached_property
    def excluded(self) -> list[str]:
        """The files and folders that are never copied: `leave_out` in `tool.kit` of `pyproject.toml`."""
        names: list[str] = options_of(self.project.folder).get("leave_out", [])
        return names

    def without_excluded(self, name: str, text: str) -> str:
        """Return a configuration file without the lines that mention files in `excluded`, or missing make targets."""
        if name == "pyproject.toml":
            text = self.renaming.project(text)
        if name.endswith("Makefile"):
            return text
        lines = text.splitlines(keepends=True)
        lines = [line for line in lines if not any(mentions(line, path) for path in self.excluded)]
        if name.startswith((".ci/", ".github/")):
            lines = [line for line in lines if self.targets.issuperset(COMMAND.findall(line))]
        return "".join(lines)

    @cached_property
    def targets(self) -> set[str]:
        """The make targets of the new service."""
        folder = self.project.folder
        copied = [path for path in self.makefiles if not is_below(path.relative_to(folder).as_posix(), self.excluded)]
        return targets_in(copied)

    @property
    def makefiles(self) -> list[Path]:
        folder = self.project.folder
        return [folder / "Makefile", *folder.glob("*/targets.mk"), *folder.glob("tests/*/targets.mk")]

    @cached_property
    def removed_names(self) -> set[str]:
        """The files and folders that are not copied, the names of the tests in them, and the commands that are missing.

        A command has the form `make bench`.
        """
        folders = {f"{name}/" for name in self.excluded if name != REVISIONS}
        commands = {f"make {target}" for target in targets_in(self.makefiles) - self.targets}
        return removed_names(self.project.folder, files_of(self.project.folder), self.files) | folders | commands


def targets_in(makefiles: Iterable[Path]) -> set[str]:
    return {target for path in makefiles for target in TARGET.findall(path.read_text())}


def is_picture(name: str) -> bool:
    return name.startswith("docs/") and not name.endswith((".md", ".py", ".css"))


def mentions(line: str, path: str) -> bool:
    return re.search(rf"(?<![\w/]){re.escape(path)}(?![\w])", line) is not None
