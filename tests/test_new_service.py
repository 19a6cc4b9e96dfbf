"""`make new`: a service of one's own. `tests/new_services` runs its tests and serves it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.scaffolding import new_service
from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.first_contents import first_possible
from kit.scaffolding.new_service import ServiceArguments, free_folder, make
from kit.scaffolding.project import Project
from kit.scaffolding.project_files import files_of
from kit.scaffolding.resource_arguments import ResourceArguments
from kit.scaffolding.service_names import NEUTRAL, first_resource, package_of, title_of
from kit.scaffolding.transfer import Transfer
from tests.live import PROJECT

pytestmark = pytest.mark.slow

PERSON = {f"GIT_{role}_{what}": "ann@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def copied(folder: Path) -> Path:
    """Return a copy of the project, without git."""
    for name in files_of(PROJECT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, folder / name)
    return folder


@pytest.fixture(scope="module", autouse=True)
def person() -> Iterator[None]:
    """Provide the author of the commit."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PERSON.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = copied(tmp_path_factory.mktemp("source") / "heroes")
    (source / "logo.png").write_bytes(b"\x89PNG\xff")
    (source.parent / "order-desks").mkdir()
    return source


@pytest.fixture(scope="module")
def made(source: Path) -> Path:
    """Provide a new service."""
    return make(source, ServiceArguments("order-desks"))


def texts(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text(errors="ignore") for name in files_of(folder)}


def test_no_word_of_the_demo_is_left(made: Path) -> None:
    found = [name for name, text in texts(made).items() if re.search("hero(?!ku)", name + text, re.IGNORECASE)]
    assert found == []


def test_a_new_service_is_beside_the_project_in_a_package_of_its_name(source: Path, made: Path) -> None:
    assert made == source.parent / "order-desks"
    assert {path.name for path in (made / "order_desks").glob("*.py")} == {
        *("__init__.py", "user.py", "token.py", "me.py", "order_desk.py")
    }
    assert (made / "logo.png").read_bytes() == b"\x89PNG\xff"
    assert "# Order desks\n" in (made / "README.md").read_text()
    assert 'NAME = "order_desks"' in (made / "settings.py").read_text()


def test_a_new_service_has_one_migration_and_one_commit(made: Path) -> None:
    (migration,) = (made / "migrations/versions").glob("*.py")
    tables = re.findall(r'create_table\(\s*"(\w+)"', migration.read_text())
    assert sorted(tables) == ["idempotency_key", "order_desk", "user"]
    log = subprocess.run(["git", "log", "--oneline"], cwd=made, capture_output=True, text=True, check=True)  # noqa: S607
    assert len(log.stdout.splitlines()) == 1


def test_nothing_in_a_new_service_refers_to_what_it_does_not_have(made: Path) -> None:
    names = set(files_of(made))
    for page in [name for name in names if name.endswith(".md")]:
        links = re.findall(r"\]\((?!https?:)([^)#]+)", (made / page).read_text())
        missing = [link for link in links if not ((made / page).parent / link).resolve().exists()]
        assert missing == [], page
    imports = {
        name for text in texts(made).values() for name in re.findall(r"^from tests\.([\w.]+)", text, re.MULTILINE)
    }
    assert [name for name in imports if not (made / "tests" / name.replace(".", "/")).with_suffix(".py").exists()] == [
        name for name in imports if (made / "tests" / name.replace(".", "/")).is_dir()
    ]
    help_text = subprocess.run(["make", "-s"], cwd=made, capture_output=True, text=True, check=True).stdout  # noqa: S607
    assert "make run " in help_text
    assert "bench" not in help_text


def test_the_pages_of_a_new_service_name_only_tests_and_commands_that_it_has(made: Path) -> None:
    pages = {page: text for page, text in texts(made).items() if page.startswith("docs/")}
    helped = subprocess.run(["make", "-s"], cwd=made, capture_output=True, text=True, check=True).stdout  # noqa: S607
    commands = set(re.findall(r"make [a-z-]+", helped))
    source = "".join(text for name, text in texts(made).items() if name.startswith("tests/"))
    for page, text in pages.items():
        assert set(re.findall(r"`(make [a-z-]+)[ `]", text)) <= commands, page
        files = [
            name for name in re.findall(r"`(tests/[\w/.]+)`", text) if "invoice" not in name
        ]  # the pages make these
        assert [name for name in files if not (made / name).exists()] == [], page
        assert [name for name in re.findall(r"`(test_\w+)`", text) if f"def {name}(" not in source] == [], page


def test_the_pages_of_a_new_service_keep_what_they_promise(made: Path) -> None:
    assert "`make migration RENAME=user.full_name:name` renames a column" in (made / "docs/migrations.md").read_text()
    assert "security" not in (made / "docs/permissions.md").read_text()


@pytest.mark.parametrize("kept", [(), ("item", "post")])
def test_a_page_with_requests_to_removed_resources_is_not_copied(kept: tuple[str, ...], source: Path) -> None:
    files = Transfer(Project(source), "orders", frozenset({"user", "token", "me", *kept})).files
    assert "docs/adding-a-resource.md" in files
    assert "docs/first-steps.md" not in files


def test_the_index_of_a_new_service_lists_only_its_own_pages(made: Path) -> None:
    items = re.findall(r"^- (.*)$", (made / "docs/README.md").read_text(), re.MULTILINE)
    pages = {path.name for path in (made / "docs").glob("*.md")} - {"README.md"}
    assert {link for item in items for link in re.findall(r"\(([\w-]+\.md)\)", item)} == pages
    assert [item for item in items if "](" not in item and "`" not in item] == []


def test_the_first_resource_has_a_neutral_name_if_that_of_the_service_is_impossible(source: Path) -> None:
    resource = first_possible([first_resource("classes"), NEUTRAL], ResourceArguments(""), Project(source))
    assert resource.name == NEUTRAL


def test_nothing_is_left_of_a_service_that_failed(source: Path, tmp_path: Path) -> None:
    with pytest.raises(NotWrittenError, match="cannot be the name of a resource"):
        make(source, ServiceArguments("shop", dir=str(tmp_path / "shop"), resource="class"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Orders", "write orders"),
        ("order desk", "write order_desk"),
        ("1st", "write a name such as orders"),
        ("bücher", "write b_cher"),
        ("orders_", "write orders"),
        ("", "write a name such as orders"),
        ("x" * 41, "at most 40"),
        ("class", "keyword"),
        ("match", "keyword"),
        ("json", "Python has a module json"),
        ("fastapi", "an installed library has it"),
        ("kit", "project already has"),
        ("tests", "project already has"),
        ("main", "project already has"),
        ("migrations", "project already has"),
    ],
)
def test_a_name_that_cannot_be_a_package_is_refused(name: str, says: str, source: Path) -> None:
    with pytest.raises(NotWrittenError, match=re.escape(says)):
        package_of(name, source, "heroes")


@pytest.mark.parametrize(("name", "package"), [("orders", "orders"), ("order-desk", "order_desk"), ("a2", "a2")])
def test_a_name_of_a_package_is_kept_with_underscores_for_dashes(name: str, package: str, source: Path) -> None:
    assert package_of(name, source, "heroes") == package


def test_titles_and_first_resources_follow_from_the_name() -> None:
    assert [title_of(name) for name in ("orders", "order_desk")] == ["Orders", "Order desk"]
    assert [first_resource(name) for name in ("orders", "order_desks", "billing")] == ["order", "order_desk", "note"]


@pytest.mark.parametrize(
    ("where", "says"), [("inside", "is inside of this project"), ("full", "is not empty"), ("file", "is a file")]
)
def test_a_folder_that_is_taken_is_refused(where: str, says: str, source: Path, tmp_path: Path) -> None:
    places = {"inside": source / "orders", "full": tmp_path, "file": tmp_path / "file"}
    (tmp_path / "file").touch()
    with pytest.raises(NotWrittenError, match=says):
        make(source, ServiceArguments("orders", dir=str(places[where])))


def test_a_folder_may_begin_with_a_tilde(source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert free_folder(source, "~/orders") == tmp_path / "orders"
    with pytest.raises(NotWrittenError, match="is inside of this project"):
        free_folder(source, "~nobody-here/orders")


def test_an_unknown_resource_to_keep_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(NotWrittenError, match="There is no resource villain: the resources are category,"):
        make(source, ServiceArguments("orders", dir=str(tmp_path / "orders"), with_="item, villain"))


def test_a_missing_git_is_refused(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotWrittenError, match="git is missing"):
        make(source, ServiceArguments("orders", dir=str(tmp_path / "orders")))


@pytest.mark.parametrize("what", ["name", "email"])
def test_an_unknown_author_is_refused(what: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PERSON:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text("[user]\n" + ("email = a@b.example" if what == "name" else "name = Ann"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    with pytest.raises(NotWrittenError, match=f"git config --global user.{what}"):
        make(source, ServiceArguments("orders", dir=str(tmp_path / "orders")))


@pytest.mark.parametrize(("name", "is_refused"), [("kit/__init__.py", True), ("main.py", True), ("README.md", False)])
def test_changes_that_would_be_taken_along_are_refused(name: str, is_refused: bool, tmp_path: Path) -> None:
    source = copied(tmp_path / "source")
    for command in ("init -q", "add .", "commit -q -m all"):
        subprocess.run(["git", *command.split()], cwd=source, check=True)  # noqa: S607
    with (source / name).open("a") as file:
        file.write("\n")
    says = f"{name} would be copied" if is_refused else "cannot be the name of a resource"
    with pytest.raises(NotWrittenError, match=says):
        make(source, ServiceArguments("orders", dir=str(tmp_path / "orders"), resource="class"))


def test_a_failing_command_in_the_new_service_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NotWrittenError, match="json failed in the new service"):
        new_service.run(tmp_path, "json", "nothing")


def test_the_command_says_what_it_made_or_why_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert str(new_service.main("NAME=")).startswith("Write `make new NAME=orders`")
    assert new_service.main("NAME=json") == (
        "Nothing was made. 'json' cannot be the name of the package: Python has a module json."
    )
    monkeypatch.setattr(new_service, "make", lambda *_: tmp_path)
    assert new_service.main("NAME=orders", "WITH=") is None
    assert os.path.relpath(tmp_path) in capsys.readouterr().out
    monkeypatch.setattr(new_service, "make", lambda *_: tmp_path / "my $orders")
    assert new_service.main("NAME=orders") is None
    assert f"  cd '{os.path.relpath(tmp_path)}/my $orders'\n" in capsys.readouterr().out

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/orders")

    monkeypatch.setattr(new_service, "make", full)
    assert new_service.main("NAME=orders") == "Nothing was made. /orders cannot be written: No space left on device."
