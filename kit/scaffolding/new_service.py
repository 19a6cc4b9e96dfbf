"""Generator of services: `python -m kit.scaffolding.new_service NAME=orders DIR=../orders WITH=item,post`."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.first_contents import add_resource, write_readme
from kit.scaffolding.kit_files import write_record
from kit.scaffolding.project import Project
from kit.scaffolding.project_files import changed, git, options_of
from kit.scaffolding.relations import Relations
from kit.scaffolding.resource_arguments import ResourceArguments
from kit.scaffolding.service_names import package_of, title_of
from kit.scaffolding.transfer import Transfer

HELP = (
    """Write `make new NAME=orders`, and where you want DIR=../orders, WITH="item,post", RESOURCE=order, FIELDS="…"."""
)
FIELDS = "name:str description:text?"
"""The default fields of the first resource."""
FIXES = "check --fix-only --quiet --unsafe-fixes --select F401,F841,RUF059,I ."


@dataclass(frozen=True)
class ServiceArguments:
    """The arguments of `make new`. An empty string stands for a missing one."""

    name: str
    dir: str = ""
    with_: str = ""
    resource: str = ""
    fields: str = ""
    plural: str = ""


def make(source: Path, arguments: ServiceArguments) -> Path:
    """Make a new service from the project in `source`. Returns its folder.

    If a step fails, nothing is written. Raises a NotWrittenError.
    """
    project = Project(source)
    package = package_of(arguments.name, source, project.package)
    target = free_folder(source, arguments.dir or f"../{arguments.name}")
    check_git(source)
    accounts, more = options_of(source).get("accounts", []), re.split(r"[,\s]+", arguments.with_)
    kept = Relations(project).with_needs([*accounts, *filter(None, more)])
    transfer = Transfer(project, package, frozenset(kept))
    refuse_changes(transfer)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{package}-", dir=target.parent) as folder:
        made = Path(folder) / "service"
        copy(transfer, made)
        resource = add_resource(
            made, ResourceArguments(arguments.resource, arguments.fields or FIELDS, plural=arguments.plural), kept
        )
        write_readme(made, transfer, resource)
        run(made, "ruff", *FIXES.split())
        run(made, "ruff", "format", "--quiet", ".")
        write_migration(made)
        write_record(made)
        commit(made, package)
        with suppress(FileNotFoundError):
            target.rmdir()
        made.rename(target)
    return target


def free_folder(source: Path, text: str) -> Path:
    target = (source / os.path.expanduser(text)).resolve()  # noqa: PTH111  without an error for an unknown user
    if target.is_relative_to(source.resolve()):
        raise NotWrittenError(f"DIR={text} is inside of this project: give a folder next to it, as in DIR=../orders.")
    if target.exists() and not target.is_dir():
        raise NotWrittenError(f"{target} is a file: give another DIR=.")
    if target.is_dir() and any(target.iterdir()):
        raise NotWrittenError(f"{target} is not empty: give another DIR=, or remove it.")
    return target


def check_git(source: Path) -> None:
    """Raise a NotWrittenError if git is missing, or has no name and e-mail address for commits."""
    git(source, "--version")
    for name in ("name", "email"):
        if f"GIT_COMMITTER_{name.upper()}" in os.environ and f"GIT_AUTHOR_{name.upper()}" in os.environ:
            continue
        if not git(source, "config", "--default", "", "--get", f"user.{name}").strip():
            example = "'Ann Example'" if name == "name" else "ann@example.com"
            raise NotWrittenError(
                f"git does not know your {name}, which a commit needs: git config --global user.{name} {example}"
            )


def refuse_changes(transfer: Transfer) -> None:
    """Raise a NotWrittenError if files that would be copied have uncommitted changes."""
    wrong = [name for name in changed(transfer.project.folder) if transfer.copies(name)]
    if wrong:
        raise NotWrittenError(f"{', '.join(wrong[:5])} would be copied with changes: commit them, or undo them.")


def copy(transfer: Transfer, made: Path) -> None:
    """Copy the files of the project to the new service, with the changes of `Transfer.text_of`."""
    copied = transfer.files
    for name in copied:
        old, new = transfer.project.folder / name, made / transfer.renaming.path(name)
        new.parent.mkdir(parents=True, exist_ok=True)
        text = transfer.text_of(name, copied)
        new.write_bytes(old.read_bytes() if text is None else text.encode())
        shutil.copymode(old, new)
    (made / "migrations/versions").mkdir(parents=True, exist_ok=True)


def write_migration(made: Path) -> None:
    """Write the first migration, by a comparison of the models with an empty SQLite database, and apply it there."""
    with tempfile.TemporaryDirectory() as folder:
        run(made, "kit.database.migration_check", "first", DATABASE_URL=f"sqlite:///{folder}/empty.db")


def run(made: Path, module: str, *arguments: str, **settings: str) -> None:
    """Run a module in the new service. Raises a NotWrittenError with the end of its output if it fails."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command, environment = (
        [sys.executable, "-m", module, *arguments],
        {**kept, "PYTHONDONTWRITEBYTECODE": "1"} | settings,
    )
    done = subprocess.run(command, cwd=made, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  no shell
    if done.returncode:
        raise NotWrittenError(f"{module} failed in the new service:\n{(done.stdout + done.stderr)[-2000:]}")


def commit(made: Path, package: str) -> None:
    shutil.rmtree(made / ".ruff_cache", ignore_errors=True)
    git(made, "init", "--quiet", "--initial-branch=main")
    git(made, "add", "--all")
    quiet = ("-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null")
    git(made, *quiet, "commit", "--quiet", "--message", f"{title_of(package)}: a new service")


def main(*arguments: str) -> str | None:
    """Make a new service from the project in the current folder. Returns an error message, or None on success."""
    given = {name.lower(): value.strip() for name, _, value in (argument.partition("=") for argument in arguments)}
    given["with_"] = given.pop("with", "")
    if not given.get("name") or given.keys() - ServiceArguments.__dataclass_fields__.keys():
        return HELP
    try:
        target = make(Path.cwd(), ServiceArguments(**given))
    except NotWrittenError as failure:
        return f"Nothing was made. {failure}"
    except OSError as failure:
        return f"Nothing was made. {failure.filename} cannot be written: {failure.strerror}."
    folder = shlex.quote(os.path.relpath(target))
    sys.stdout.write(f"Made, with one commit: {target}\nNext:\n  cd {folder}\n  make run\n")
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
