"""The steps of docs/adding-a-resource.md: its commands alone produce resources that pass the contract tests."""

import os
import re
import shutil
import subprocess
import sysconfig
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import demo
from kit import Database
from kit.database.migrations import upgrade
from tests.application import settings_for
from tests.live import PROJECT

MODULES = ("main.py", "settings.py", "commands.py", "demo.py", "serve.py")
COPIED = ("heroes", "kit", "migrations", *MODULES, "pyproject.toml", "Makefile")
BIN = sysconfig.get_path("scripts")
"""The folder with the commands of this environment, which the copy does not have."""
PAGE = (PROJECT / "docs/adding-a-resource.md").read_text()
SECTION = PAGE.partition("## The steps")[2].partition("\n## ")[0]
STEPS = re.findall(r"^\d\. (.*(?:\n(?:   .*)?)*)", SECTION, re.MULTILINE)
SHELL = r"```sh\n((?:(?! *```).*\n)+)"


def copied(folder: Path, *others: str) -> Path:
    """Return a copy of the project without its tests, but with these files and folders."""
    for name in (*COPIED, *others):
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(PROJECT / name, folder / name)
    return folder


COMMANDS = [
    re.sub(r"\s*\\\n\s*", " ", command).strip("` ")
    for step in STEPS
    for command in re.findall(r"^ +make (?:.*\\\n)*.*$|^`make [^`]*`", step, re.MULTILINE)
]
"""The commands of the steps, in order."""
*WRITE, MIGRATE, TEST = COMMANDS
NEW = (
    "heroes/invoice.py",
    "heroes/invoice_line.py",
    "tests/heroes/test_invoice.py",
    "tests/heroes/test_invoice_line.py",
)
TESTS = f"tests/contract {' '.join(NEW[2:])} tests/test_architecture.py"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.untraced,
    pytest.mark.usefixtures("anyio_backend"),  # for the fixtures, which are asynchronous
]


@dataclass(frozen=True)
class Project:
    """A copy of the project, to which the steps have added invoices, and the database that they migrated."""

    folder: Path
    database_url: str
    postgres: str

    def run(self, command: str) -> str:
        """Run a command with the programs of this environment, and return its output. It must not fail."""
        settings = {"DATABASE_URL": self.database_url, "TEST_POSTGRES_URL": self.postgres}
        environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(self.folder)} | settings
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-5000:]}{done.stderr[-2000:]}"
        return done.stdout

    def make(self, command: str) -> str:
        return self.run(f"{command} BIN={BIN} --assume-old=.venv/dev --assume-old=.venv/run")

    def texts(self) -> dict[str, str]:
        paths = [path for path in self.folder.rglob("*.py") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_text() for path in paths}


Changed = tuple[Project, set[str]]


@pytest.fixture(scope="module")
async def rows(new_database: Any) -> str:
    """Provide the URL of a database with the rows of the demo."""
    url = str(await new_database())
    await upgrade(settings_for(url).database)
    database = Database(settings_for(url).database)
    await demo.fill(database)
    await database.dispose()
    return url


@pytest.fixture(scope="module")
async def changed(
    rows: str, postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Project, set[str]]:
    """Provide the project after the steps but the last, and the files that they have changed."""
    folder = copied(tmp_path_factory.mktemp("copy"), "tests", "superuser.py")
    project = Project(folder, rows, postgres_server)
    before = project.texts()
    for command in (*WRITE, MIGRATE):
        project.make(command)
    return project, {name for name, source in project.texts().items() if before.get(name) != source}


@pytest.fixture(scope="module")
def project(changed: Changed) -> Project:
    return changed[0]


def test_the_steps_write_migrate_and_test() -> None:
    words = [command.split()[:2] for command in COMMANDS]
    assert words == [["make", "resource"], ["make", "resource"], ["make", "migration"], ["make", "test"]]


def test_the_steps_write_two_resources_their_tests_and_one_migration(changed: Changed) -> None:
    project, files = changed
    (migration,) = files - {*NEW, "main.py"}
    tables = re.findall(r'create_table\(\s*"(\w+)"', project.texts()[migration])
    assert tables == ["invoice", "invoice_line"]


def test_the_docs_show_what_is_written(project: Project) -> None:
    page = (PROJECT / "docs/adding-a-resource.md").read_text()
    shown = dict(re.findall(r"^## `(heroes/\w+\.py)`$.*?^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    assert shown == {name: (project.folder / name).read_text() for name in NEW[:2]}
    readme, docs = (textwrap.dedent(re.findall(SHELL, source)[0]) for source in (SECTION, page))
    assert readme == docs


async def test_the_migration_keeps_the_rows_that_are_there(project: Project) -> None:
    project.make("make migrate")
    database = Database(settings_for(project.database_url).database)
    async with database.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM hero"))
        assert await connection.scalar(text("SELECT count(*) FROM invoice_line")) == 0
    await database.dispose()
    project.run("alembic check")


def test_what_was_written_has_no_fault_of_format_or_style_or_type(project: Project, engine: str) -> None:
    files = f"{' '.join(NEW)} main.py migrations/versions"
    project.run(f"ruff format --check {files} && ruff check {files}")
    if engine == "sqlite":  # mypy takes half a minute
        project.run("mypy main.py heroes tests/heroes")


def test_the_new_resources_keep_the_contract_and_the_architecture(project: Project, engine: str) -> None:
    chosen = f"invoice and {engine} or architecture"
    project.make(f"{TEST} ARGS='-q -n 0 -p no:schemathesis -p no:cacheprovider {TESTS} -k \"{chosen}\"'")


def test_the_routes_say_who_may_use_them(project: Project) -> None:
    assert re.search(r"PATCH +/invoices/\{invoice_id\} +owners", project.make("make routes"))


IMPORTS = """
from kit import Service
from tests.engines import Client
from tests.people import Person
from tests.rows import made, new_user
"""
LIMITED = {
    "    allowing,\n": "    allowing,\n    conflict,\n",
    "APIRouter, Depends": "APIRouter, Depends, Request",
    "create_invoice(new: InvoiceCreate, session: Session)": "create_invoice(\n"
    "    new: InvoiceCreate, session: Session, request: Request\n)",
    "    invoice = Invoice.model_validate(new)": "    if new.total > request.app.state.largest_invoice:\n"
    '        raise conflict("total", "The total is too large.", "too-large")\n'
    "    invoice = Invoice.model_validate(new)",
}
"""The changes of `heroes/invoice.py` that the setting of `docs/settings.md` needs."""


def test_the_tests_of_your_own_pass(project: Project) -> None:
    (tests,) = re.findall(r"^## Tests of your own$.*?^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (project.folder / "tests/heroes/test_own.py").write_text(IMPORTS + tests)
    main, invoice = project.folder / "main.py", project.folder / "heroes/invoice.py"
    state = "    service.state.largest_invoice = 10_000\n    if settings.fast_path:\n"
    main.write_text(main.read_text().replace("    if settings.fast_path:\n", state))
    for old, new in LIMITED.items():
        invoice.write_text(invoice.read_text().replace(old, new))
    project.run("pytest -q -p no:schemathesis tests/heroes/test_own.py")
