"""Creating the first superuser: from input or from the environment, without a default password."""

import asyncio
import runpy
from typing import Any

import pytest
from sqlalchemy import make_url
from sqlmodel import select

import superuser
from heroes.user import User
from kit.database.databases import Database
from settings import Settings
from tests.engines import url_of
from tests.rows import PASSWORD, cheap_hashes

ANSWERS = {"username": "natasha", "email": "natasha@example.com", "password": PASSWORD}
pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


@pytest.fixture
async def database(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Provide a database without users, set as `DATABASE_URL`."""
    for name in (*Settings.model_fields, *(f"superuser_{field}" for field in ANSWERS)):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATABASE_URL", url_of(database))
    return database


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Provide the questions at the terminal, each of which is answered."""
    questions: list[str] = []

    def answer(question: str) -> str:
        questions.append(question)
        return ANSWERS[question.removesuffix(": ").lower()]

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr(superuser, "getpass", answer)
    return questions


async def made_by(database: Database) -> list[User]:
    async with database.write() as session:
        return list((await session.exec(select(User))).all())


async def run() -> str | None:
    """Run the program, in a thread because it runs its own event loop."""
    return await asyncio.to_thread(superuser.main)


async def test_the_program_asks_for_all_fields(
    database: Database, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run() is None
    assert asked == ["Username: ", "Email: ", "Password: "]
    printed = capsys.readouterr().out
    assert printed == "natasha is a superuser now.\n"
    (user,) = await made_by(database)
    assert (user.username, user.email, user.is_superuser, user.is_active) == ("natasha", ANSWERS["email"], True, True)
    assert user.hashed_password.startswith("$argon2id$")


async def test_the_program_reads_the_environment_and_asks_for_missing_fields(
    database: Database, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERUSER_USERNAME", "steve")
    monkeypatch.setenv("SUPERUSER_PASSWORD", PASSWORD)
    assert await run() is None
    assert asked == ["Email: "]
    assert [user.username for user in await made_by(database)] == ["steve"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("password", "short"), ("password", ""), ("email", "nonsense"), ("email", ""), ("username", "x y")],
)
async def test_an_invalid_field_is_reported_without_its_value(
    database: Database, field: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SUPERUSER_{field.upper()}", value)
    told = await run()
    assert told is not None
    assert told.startswith(f"{field}: ")
    assert "\n" not in told
    assert PASSWORD not in told
    assert await made_by(database) == []


async def test_a_taken_name_is_reported(database: Database) -> None:
    assert await run() is None
    assert await run() == "The username or the e-mail address is taken."
    assert len(await made_by(database)) == 1


async def test_the_program_works_in_production(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRET_KEY", "0123456789abcdef0123456789abcdef")
    assert await run() is None
    assert [user.is_superuser for user in await made_by(database)] == [True]


async def test_the_program_fails_with_exit_code_1(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> Any:
        return runpy.run_path(str(superuser.__file__), run_name="__main__")

    monkeypatch.setenv("SUPERUSER_USERNAME", "natasha")
    monkeypatch.setenv("SUPERUSER_EMAIL", ANSWERS["email"])
    monkeypatch.setenv("SUPERUSER_PASSWORD", "short")
    with pytest.raises(SystemExit) as end:
        await asyncio.to_thread(program)
    assert str(end.value.code).startswith("password: ")  # a message on stderr, and the exit code 1
    monkeypatch.setenv("SUPERUSER_PASSWORD", PASSWORD)
    with pytest.raises(SystemExit) as end:
        await asyncio.to_thread(program)
    assert end.value.code is None


async def test_an_unreachable_database_is_reported_without_its_password(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    url = make_url("postgresql://natasha:Zq9-swordfish@127.0.0.1:9/none")
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    try:
        told = str(await run())
    except OSError as failure:
        told = str(failure)
    assert "Zq9" not in told


@pytest.mark.usefixtures("asked")
async def test_a_database_without_tables_is_to_be_migrated(
    database: Database, new_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", await new_database())
    assert await run() == "The database lacks the table of the users: run `make migrate`."


async def test_without_input_the_program_names_the_variables(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anonymous(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", anonymous)
    assert "SUPERUSER_USERNAME" in str(await run())
    assert await made_by(database) == []
