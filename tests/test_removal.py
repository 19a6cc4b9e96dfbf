"""`make remove`: a resource is taken out with all that is about it, or is refused because others need it."""

import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kit.scaffolding import new_service, removal, selection, upgrade
from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.project import Project
from kit.scaffolding.pruning import pruned
from kit.scaffolding.removal import Removal, remove
from kit.scaffolding.resource_arguments import ResourceArguments
from kit.scaffolding.writing import write
from tests.live import PROJECT
from tests.test_new_service import copied

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "hero",
            "heroes/dashboard.py, heroes/power_transfer.py, heroes/team.py cannot do without hero: change it there, or "
            'remove that first or with it, as in RESOURCE="dashboard,hero,power_transfer,team"',
        ),
        ("user", "The accounts need user"),
        ("token", "The accounts need token"),
        ("villain", "There is no resource villain: the resources are category, dashboard, hero,"),
        ("category", "heroes/product.py cannot do without category"),
    ],
)
def test_a_resource_that_others_need_is_refused(name: str, says: str) -> None:
    with pytest.raises(NotWrittenError, match=re.escape(says)):
        Removal(Project(PROJECT), frozenset({name})).check()


@pytest.mark.parametrize("name", ["post", "item", "power_transfer", "stock_transfer", "overview", "dashboard"])
def test_a_resource_that_no_other_needs_can_be_removed(name: str) -> None:
    Removal(Project(PROJECT), frozenset({name})).check()


@pytest.mark.parametrize("name", ["address", "resource", "service", "database"])
def test_a_name_inside_of_functions_of_main_is_no_use_of_a_resource(name: str, tmp_path: Path) -> None:
    project = Project(copied(tmp_path / "source"))
    write(project, ResourceArguments(name).resource(project))
    removal = Removal(Project(project.folder), frozenset({name}))
    removal.check()
    assert removal.files[project.main] == project.source


def test_a_name_that_main_has_twice_is_to_be_changed_there(tmp_path: Path) -> None:
    source = copied(tmp_path / "source")
    (source / "heroes/measure.py").write_text('"""Measures."""\n')
    with pytest.raises(
        NotWrittenError, match=r"for something else too: give that another name there first, as in `import"
    ):
        Removal(Project(source), frozenset({"measure"})).check()


def test_a_removed_resource_leaves_nothing_and_a_migration_drops_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = copied(tmp_path / "source")
    monkeypatch.chdir(source)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/removed.db")
    monkeypatch.setenv("ENVIRONMENT", "development")
    assert removal.main("post") is None
    assert "Removed post from demo.py, " in capsys.readouterr().out
    assert not (source / "heroes/post.py").exists()
    assert not (source / "tests/heroes/test_post.py").exists()
    modules = [path for folder in ("heroes", "tests/heroes") for path in (source / folder).glob("*.py")]
    left = [
        path.name for path in [*modules, source / "main.py", source / "demo.py"] if "heroes.post" in path.read_text()
    ]
    assert left == []
    (migration,) = (source / "migrations/versions").glob("*_remove_posts.py")
    assert 'op.drop_table("post")' in migration.read_text()


def test_nothing_is_removed_without_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = copied(tmp_path / "source")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/none/removed.db")
    with pytest.raises(NotWrittenError, match="The migration cannot be written"):
        remove(Project(source), "post")
    assert (source / "heroes/post.py").exists()


def test_nothing_is_removed_if_the_migration_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_migration(*_: object) -> None:
        assert not (source / "heroes/post.py").exists(), "the migration is that of the models without the resource"
        raise NotWrittenError("The disk is full.")

    source = copied(tmp_path / "source")
    monkeypatch.setattr(removal, "refuse_pending", lambda _: None)
    monkeypatch.setattr(removal, "write_migration", write_migration)
    before = (source / "main.py").read_text()
    with pytest.raises(NotWrittenError, match="disk is full"):
        remove(Project(source), "post")
    assert (source / "main.py").read_text() == before
    assert (source / "heroes/post.py").exists()


def test_changes_of_other_resources_get_a_migration_of_their_own_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = copied(tmp_path / "source")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/removed.db")
    team = source / "heroes/team.py"
    team.write_text(team.read_text().replace("max_length=200", "max_length=300"))
    with pytest.raises(NotWrittenError, match="The models have changes that no migration has: write their migration"):
        remove(Project(source), "post")
    assert (source / "heroes/post.py").exists()
    assert not list((source / "migrations/versions").glob("*_remove_posts.py"))


def test_a_module_without_a_table_needs_no_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = copied(tmp_path / "source")
    monkeypatch.setattr(sys, "executable", sys.executable)
    monkeypatch.setattr(removal, "write_migration", lambda *_: pytest.fail("There is no table."))
    assert source / "heroes/dashboard.py" in remove(Project(source), "dashboard")


def test_a_resource_that_was_never_migrated_needs_no_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(copied(tmp_path / "source"))
    for name in ("invoice", "shop"):
        write(project, ResourceArguments(name).resource(project))
        project = Project(project.folder)
    monkeypatch.setattr(removal, "write_migration", lambda *_: pytest.fail("There is no table."))
    remove(project, "invoice")
    assert not (project.folder / "heroes/invoice.py").exists()


def test_resources_that_need_each_other_are_removed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = copied(tmp_path / "source")
    monkeypatch.chdir(source)
    messages: list[str] = []
    monkeypatch.setattr(removal, "write_migration", lambda _, message: messages.append(message))
    assert removal.main("team, hero dashboard,power_transfer") is None
    assert messages == ["remove teams, heroes, dashboards, power transfers"]
    assert not any((source / f"heroes/{name}.py").exists() for name in ("hero", "team", "dashboard", "power_transfer"))
    assert "Removed team, hero, dashboard, power_transfer from " in capsys.readouterr().out


def test_a_helper_of_tests_that_goes_takes_its_users_along_and_no_other_helper(tmp_path: Path) -> None:
    source = copied(tmp_path / "source")
    (source / "tests/heroes/writers.py").write_text(
        "from heroes.post import Post\n\n\ndef title():\n    return 1\n\n\ndef write():\n    return Post(title())\n"
    )
    (source / "tests/heroes/test_writers.py").write_text(
        "from tests.heroes.writers import title, write\n\n\ndef test_one():\n    assert write()\n\n\n"
        "def test_two():\n    assert title()\n"
    )
    files = Removal(Project(source), frozenset({"post"})).files
    assert files[source / "tests/heroes/writers.py"] == "def title():\n    return 1\n"
    left = files[source / "tests/heroes/test_writers.py"]
    assert left == "from tests.heroes.writers import title\n\n\ndef test_two():\n    assert title()\n"


def test_the_command_says_why_nothing_was_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    assert removal.main("") == removal.HELP
    assert removal.main("user") == "Nothing was removed. The accounts need user: without it nobody could log in."


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from shop import a, b\nALL = (a, b)", "from shop import b\n\nALL = (b,)"),
        ("import shop.a\nimport os\nuse(os)", "import os\nuse(os)"),
        ("import shop.a, os\nuse(os)", "import os\nuse(os)"),
        ("from shop.a import A\nX = {A: 1, 2: 3}\nY = [A, 4]\nZ = {A}", "X = {2: 3}\nY = [4]"),
        ("from shop.a import A\nB = A\n'''What B is.'''\nC = 1", "C = 1"),
        (
            "from shop.a import A\ndef f():\n    return A()\ndef g():\n    x = f()\n    return 1",
            "def g():\n    return 1",
        ),
        ("from shop.a import A\nfor each in (A, B):\n    use(each)", "for each in (B,):\n    use(each)"),
        ("from shop.a import A\nfor each in A:\n    use(each)\nuse()", "use()"),
        ("from shop.a import A\nif x:\n    A()\nelse:\n    use()", ""),
        ("from shop.a import A\nif x:\n    use()\nelse:\n    A()", "if x:\n    use()\nelse:\n    pass"),
        ("from shop.a import A\nif x:\n    use()\nelif A:\n    use()", "if x:\n    use()"),
        ("from shop.a import A\ntry:\n    use()\nexcept A:\n    use()\nB = 1", "B = 1"),
        ("from shop.a import A\nclass B(A):\n    x = 1\nclass C:\n    y = 2\n    z = A()", "class C:\n    y = 2"),
        ("from shop.a import A\n@A\ndef f():\n    use()\nwith A() as b:\n    use()\nC = 1", "C = 1"),
        ("from shop.a import A\ndef h():\n    use()\ndef f():\n    h(A)\ndef g():\n    use()", "def g():\n    use()"),
        ("from shop.a import A\nx, y = A, 1\nuse(y)\nz = (1, *A)", "z = (1,)"),
        ("from shop import a\nALL = (a, 1)\nx = [a.b for a in ALL]", "ALL = (1,)\nx = [a.b for a in ALL]"),
        ("from shop import a\ndef f(x):\n    a = x\n    use(a)", "def f(x):\n    a = x\n    use(a)"),
        ("from shop import a\ndef f(a):\n    use(a)", "def f(a):\n    use(a)"),
        (
            "from shop.a import A\ndef f():\n    return A()\ndef test_f(f):\n    use(f)\ndef g():\n    use()",
            "def g():\n    use()",
        ),
        (
            "from shop.a import A\ndef f():\n    with A() as b:\n        c = b\n    assert c\n    use()",
            "def f():\n    use()",
        ),
        (
            "from shop.a import A\nB, C = 1, 2\ndef f():\n    A(B)\ndef g():\n    use(C)",
            "B, C = 1, 2\ndef g():\n    use(C)",
        ),
        ("from shop.a import A\ndef f():\n    for x in (A,):\n        use(x)\n    use()", "def f():\n    use()"),
        ("from shop.a import A\ndef f():\n    x = 1\n    yield A(x)\ndef g():\n    yield 1", "def g():\n    yield 1"),
        (
            "from shop.a import A\ndef f():\n    for x in y:\n        use(x)\n        yield A(x)\n    yield 1",
            "def f():\n    yield 1",
        ),
        ("from shop.a import A\nB = 1\nwhile B:\n    A()\n    await c.sleep(1)\nuse(B)", "B = 1\nuse(B)"),
        (
            "from shop.a import A\nclass C:\n    def f(self):\n        A()\n    def g(self):\n        self.f()\n"
            "        use()",
            "class C:\n    def g(self):\n        use()",
        ),
    ],
)
def test_what_depends_on_a_removed_module_is_pruned(before: str, after: str) -> None:
    lines = [line for line in pruned(before, {"shop.a"}).splitlines() if line.strip()]
    assert lines == [line for line in after.splitlines() if line.strip()]


def test_a_path_of_a_removed_resource_is_pruned_in_tests() -> None:
    source = "async def test():\n    await post('/as/1')\n    await post('/assets')\n    await post(f'/as/{x}')\n"
    assert pruned(source, set(), ["/as"]) == "async def test():\n    await post('/assets')\n"


@pytest.mark.parametrize("module", [new_service, removal, selection, upgrade], ids=lambda module: module.__name__)
def test_each_command_ends_with_its_message(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(sys, "argv", [str(module.__file__), "no such thing"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(module.__file__), run_name="__main__")
    assert str(end.value)[:5] in ("Write", "Nothi", "RESOU")
