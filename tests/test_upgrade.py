"""`make upgrade-kit`: a newer kit replaces the one that is here, unless somebody has changed it."""

import errno
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import kit
from kit.scaffolding import upgrade
from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.kit_files import MANIFEST, RECORD, kit_files, version_of, write_record
from kit.scaffolding.project_files import reason_of
from tests.test_new_service import PERSON, copied

pytestmark = pytest.mark.slow

NEWS = "## [1.1.0] - 2027-01-01\n\n### Added\n\n- Something new.\n\n"
REVISION = "migrations/versions/0001_heroes_and_teams.py"


def release(folder: Path, version: str = "1.1.0", news: str = NEWS) -> Path:
    """Make the kit in a folder a newer one: with a new file, and without one that was there."""
    change(folder / "kit/__init__.py", f'"{kit.__version__}"', f'"{version}"')
    change(folder / "kit/CHANGELOG.md", "## [1.0.0]", f"{news}## [1.0.0]")
    (folder / "kit/new.py").write_text('"""Something new."""\n')
    (folder / "kit/http/etags.py").unlink()
    return folder


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(copied(tmp_path_factory.mktemp("newer")))


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """Provide a service with the kit of this version, as `make new` records it."""
    folder = copied(tmp_path / "service")
    write_record(folder)
    return folder


def git(folder: Path, *commands: str) -> None:
    for command in commands:
        subprocess.run(["git", *command.split()], cwd=folder, check=True, env={**PERSON, "PATH": "/usr/bin:/bin"})  # noqa: S607


def test_a_newer_kit_replaces_the_files_of_the_kit_and_no_other(service: Path, newer: Path) -> None:
    (service / REVISION).write_text("# mine\n")
    (service / "heroes/post.py").write_text("# mine\n")
    said = upgrade.upgrade(service, str(newer))
    assert said.startswith("The kit was 1.0.0, and is 1.1.0 now.\n\n## [1.1.0]")
    assert "Something new." in said
    assert "## [1.0.0]" not in said
    assert version_of(service) == "1.1.0"
    assert (service / "kit/new.py").exists()
    assert not (service / "kit/http/etags.py").exists()
    assert {(service / name).read_text() for name in (REVISION, "heroes/post.py")} == {"# mine\n"}
    assert upgrade.upgrade(service, str(newer)).endswith("The changelog has nothing new.\n")


def test_changes_of_no_version_yet_are_printed_once(service: Path, tmp_path: Path) -> None:
    newer, entry = copied(tmp_path / "newer"), "- A change of no version,\n  in two lines.\n"
    change(newer / "kit/CHANGELOG.md", "## [Unreleased]\n", f"## [Unreleased]\n\n### Added\n\n{entry}")
    assert upgrade.upgrade(service, str(newer)).endswith(f"and is 1.0.0 now.\n\n## [Unreleased]\n\n{entry.strip()}\n")
    assert upgrade.upgrade(service, str(newer)).endswith("The changelog has nothing new.\n")


@pytest.mark.parametrize("what", ["changed", "added", "removed"])
def test_local_changes_are_listed_and_nothing_is_replaced(what: str, service: Path, newer: Path) -> None:
    path = service / ("kit/mine.py" if what == "added" else "kit/http/etags.py")
    path.unlink() if what == "removed" else path.write_text("# mine\n")
    with pytest.raises(NotWrittenError, match=re.escape(f"move it out of kit/:\n  {path.relative_to(service)}")):
        upgrade.upgrade(service, str(newer))
    assert version_of(service) == "1.0.0"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Provide a git repository of the project that has two tags."""
    folder = copied(tmp_path / "repository")
    git(folder, "init -q", "add .", "commit -q -m old", "tag v1.0.0")
    release(folder)
    git(folder, "add .", "commit -q -m new", "tag v1.1.0")
    return folder


def test_without_a_record_the_kit_is_compared_with_its_tag(service: Path, repository: Path) -> None:
    (service / RECORD).unlink()
    change(service / "kit/http/etags.py", '"""', '"""Mine: ')
    with pytest.raises(NotWrittenError, match=r"move it out of kit/:\n  kit/http/etags.py$"):
        upgrade.upgrade(service, str(repository), "v1.1.0")
    shutil.copy2(Path(upgrade.__file__).parents[1] / "http/etags.py", service / "kit/http/etags.py")
    assert upgrade.upgrade(service, repository.as_uri(), "v1.1.0").startswith("The kit was 1.0.0, and is 1.1.0 now.")


def test_without_a_record_and_a_tag_the_upgrade_is_refused(service: Path, newer: Path) -> None:
    (service / RECORD).unlink()
    with pytest.raises(NotWrittenError, match=r"FROM has no tag v1\.0\.0 either"):
        upgrade.upgrade(service, str(newer))


def test_changes_that_git_sees_are_local_changes(service: Path, newer: Path) -> None:
    git(service, "init -q", "add .", "commit -q -m all")
    (service / "kit/untracked.py").write_text("# mine\n")
    with pytest.raises(NotWrittenError, match=r"kit/untracked\.py"):
        upgrade.upgrade(service, str(newer))


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        ("itself", "FROM is this project itself"),
        ("older", "The kit there has version 0.9.0, which is older than 1.0.0 here."),
        ("unversioned", "has no version"),
        ("no kit", "has no kit that can be upgraded"),
        ("nothing", "git clone failed"),
        ("other", "FROM=.* has no kit that can be upgraded to: it lacks kit/__init__.py. Give the folder or the URL"),
        ("here", "There is no .*/service/kit/kit.toml"),
    ],
)
def test_a_source_that_is_no_newer_kit_is_refused(prepare: str, says: str, service: Path, tmp_path: Path) -> None:
    source = (
        service if prepare == "itself" else tmp_path / "none" if prepare == "nothing" else copied(tmp_path / "source")
    )
    init = source / "kit/__init__.py"
    if prepare == "older":
        change(init, '"1.0.0"', '"0.9.0"')
    elif prepare == "unversioned":
        change(init, "__version__", "version")
    elif prepare == "no kit":
        (source / MANIFEST).unlink()
    elif prepare == "other":
        shutil.rmtree(source / "kit")
    elif prepare == "here":
        (service / MANIFEST).unlink()
    with pytest.raises(NotWrittenError, match=says):
        upgrade.upgrade(service, str(source))


def test_packages_that_the_new_kit_needs_are_listed(service: Path, tmp_path: Path) -> None:
    source = release(copied(tmp_path / "source"))
    change(source / "kit/pyproject.toml", "alembic>=", "alembic>=99.")
    assert '\n    "alembic>=99.1.20",\n' in upgrade.upgrade(service, str(source))


def test_changed_tables_of_the_kit_get_a_migration(service: Path) -> None:
    assert not upgrade.has_changed_tables(service)
    keys = service / "kit/operations/idempotency.py"
    change(
        keys,
        "    status: int = Field(default=0, sa_type=Integer)\n",
        "    status: int = Field(default=0, sa_type=Integer)\n    reason: str | None = None\n",
    )
    assert upgrade.has_changed_tables(service)


def fail(*_: object) -> None:
    raise OSError(errno.ENOSPC, "Full", "kit/x.py")


def test_the_reason_of_a_failure_of_git_comes_before_its_advice() -> None:
    said = "fatal: Could not read from remote repository.\n\nPlease make sure\nthat the repository exists.\n"
    assert reason_of(said) == "fatal: Could not read from remote repository."
    assert reason_of("") == "it says nothing"


def test_the_command_upgrades_and_runs_the_tests(
    service: Path, newer: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(service)
    written: list[str] = []
    monkeypatch.setattr(upgrade, "has_changed_tables", lambda _: True)
    monkeypatch.setattr(upgrade, "write_migration", lambda _, message: written.append(message))
    (service / "Makefile").write_text("test-kit:\n\ntest:\n\tfalse\n")
    said = str(upgrade.main(f"FROM={newer}", "TO="))
    assert said.startswith("make test failed with the new kit: adapt your code")
    monkeypatch.setattr(upgrade, "has_changed_tables", lambda _: False)
    assert upgrade.main(f"FROM={newer}") == said
    assert written == ["kit 1.1.0"]
    assert "Something new." in capsys.readouterr().out
    assert upgrade.main("FROM=", "TO=") == upgrade.HELP
    assert upgrade.main(f"FROM={service}") == str(NotWrittenError(upgrade.main(f"FROM={service}")))
    monkeypatch.setattr(upgrade, "replace", fail)
    assert upgrade.main(f"FROM={newer}") == "kit/x.py cannot be replaced: Full. Go back with `git restore .`."
    (service / RECORD).unlink()
    assert upgrade.main("--record") is None
    assert (service / RECORD).exists()


def test_every_file_of_the_manifest_exists() -> None:
    project = Path(kit.__file__).parents[1]
    assert len(kit_files(project)) > 200


def test_the_manifest_has_all_that_the_tests_of_the_kit_import() -> None:
    project = Path(kit.__file__).parents[1]
    names = set(kit_files(project))
    sources = [(project / name).read_text() for name in names if name.startswith("tests/kit/")]
    used = {name for text in sources for name in re.findall(r"^from tests\.(\w+) import", text, re.MULTILINE)}
    used |= {
        name
        for text in sources
        for line in re.findall(r"^from tests import (.*)", text, re.MULTILINE)
        for name in line.split(", ")
    }
    assert "engines" in used
    assert [name for name in used - {"kit"} if f"tests/{name}.py" not in names] == []
