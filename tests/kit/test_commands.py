"""Commands: a prompt with a session, the client of the database, and a progress bar."""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, func, make_url, select

from kit.commands.clients import environment_of, open_client
from kit.commands.errors import CommandFailedError
from kit.commands.postgresql_backup import backup, restore
from kit.commands.progress import Progress
from kit.commands.shell import run_shell
from kit.database.poolers import pooled

pytestmark = pytest.mark.no_fast_path

POSTGRESQL = make_url("postgresql+asyncpg://ann:hidden@db.example:5433/shop?sslmode=require")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_progress_bar_ends_full_and_with_a_new_line() -> None:
    out = Terminal()
    progress = Progress("rows", 4, out)
    for _ in range(9):
        progress.step()
    progress.end()
    assert out.getvalue().count("\r") == 4
    assert out.getvalue().endswith("100 %\n")


def test_in_a_file_there_is_one_line() -> None:
    out = io.StringIO()
    progress = Progress("rows", 0, out)
    progress.step()
    progress.end()
    assert out.getvalue() == "rows: 0\n"


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Provide what would replace this process."""
    calls: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *given: calls.append(given))
    monkeypatch.setattr(os, "execve", lambda *given: calls.append(given))
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    return calls


def test_psql_gets_no_password_as_an_argument(executed: list[Any]) -> None:
    open_client(POSTGRESQL)
    ((path, arguments, environment),) = executed
    assert (path, arguments) == ("/bin/psql", ["psql"])
    wanted = {"PGHOST": "db.example", "PGPORT": "5433", "PGUSER": "ann", "PGPASSWORD": "hidden", "PGDATABASE": "shop"}
    assert wanted.items() <= environment.items()
    assert environment_of(POSTGRESQL)["PGSSLMODE"] == "require"


async def test_a_backup_does_not_lead_through_pgbouncer(tmp_path: Path) -> None:
    for command in (backup, restore):
        with pytest.raises(CommandFailedError, match="needs the URL of PostgreSQL itself"):
            await command(pooled(POSTGRESQL), tmp_path / "file")


def test_sqlite3_gets_the_file(executed: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.db").touch()
    monkeypatch.setattr(os, "execve", lambda *_: None)
    open_client(URL.create("sqlite+aiosqlite", database=str(tmp_path / "shop.db")))
    assert executed[0][1][-1] == str(tmp_path / "shop.db")


def test_a_missing_client_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandFailedError, match="psql is missing; on Debian: apt install postgresql-client"):
        open_client(POSTGRESQL)


def test_the_prompt_awaits_and_survives_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = iter(["1 / 0", "answer = await session.scalar(select(func.abs(-42)))", "answer", "exit()"])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    with pytest.raises(SystemExit):
        run_shell(make_url(f"sqlite+aiosqlite:///{tmp_path}/shell.db"), {"select": select, "func": func})
    said = capsys.readouterr()
    assert "42" in said.out
    assert "ZeroDivisionError" in said.err
    assert "Names: func, select." in said.err
