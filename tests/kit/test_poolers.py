"""PgBouncer in transaction mode: a real one before the PostgreSQL of the tests, with two connections to the server."""

import asyncio
import runpy
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from kit import Database
from kit.database import role
from kit.database.engines import Pool
from kit.database.errors import DriverFailure
from kit.database.role import commands, main
from kit.http.principals import CURRENT_PRINCIPAL, UNRESTRICTED
from tests.engines import Client, url_for
from tests.kit.bookshop import Shelf
from tests.kit.service import FAST_PATH, client_of, create_runtime, create_service, create_tables
from tests.pgbouncer import MISSING, PROGRAM, PgBouncer
from tests.waiting import TIMEOUT_SECONDS

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
TIMEOUTS = "SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout')"


@pytest.fixture(scope="module")
async def direct(new_postgres: Any) -> str:
    """Provide the URL of a database on the server, with the tables of the bookshop."""
    url = make_url(await new_postgres())
    database = Database(url_for(url.render_as_string(hide_password=False)))
    await create_tables(database)
    await database.dispose()
    return str(url.database)


@pytest.fixture(scope="module")
def pgbouncer(postgres_server: str) -> Iterator[PgBouncer]:
    with PgBouncer(make_url(postgres_server), size=2) as pooler:
        yield pooler


@pytest.fixture
def url(pgbouncer: PgBouncer, direct: str) -> URL:
    return url_for(pgbouncer.url.set(database=direct).render_as_string(hide_password=False))


@pytest.fixture
async def database(url: URL) -> AsyncIterator[Database]:
    database = Database(url, Pool(timeout=TIMEOUT_SECONDS, statement_timeout=7, lock_timeout=3))
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    yield database
    await database.dispose()


@pytest.fixture(params=[False, FAST_PATH] if FAST_PATH else [False])
async def client(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Client]:
    async with client_of(create_service(create_runtime(database), fast=request.param)) as client:
        yield client


async def value_of(database: Database, statement: str) -> Any:
    async with database.connect() as connection:
        return (await connection.execute(text(statement))).scalar_one()


@pytest.mark.untraced
async def test_clients_that_share_connections_of_the_server_get_their_own_rows(client: Client) -> None:
    async def create_and_read(number: int) -> None:
        made = (await client.post("/shelves/", json={"name": f"Shelf {number}", "room": str(number)})).json()
        for _ in range(5):
            assert (await client.get(f"/shelves/{made['id']}")).json()["room"] == str(number)
            listed = (await client.get("/shelves/", params={"name": f"Shelf {number}", "limit": 1})).json()
            assert [shelf["room"] for shelf in listed] == [str(number)]
        assert (await client.delete(f"/shelves/{made['id']}")).status_code == 204

    await asyncio.gather(*map(create_and_read, range(40)))


@pytest.mark.untraced
async def test_a_bulk_and_a_change_are_stored(client: Client) -> None:
    shelves = [{"name": f"Bulk {number}", "room": "Here"} for number in range(90)]
    made = await client.post("/shelves/bulk", json=shelves)
    assert made.status_code == 201
    changed = await client.patch(f"/shelves/{made.json()[0]['id']}", json={"room": "There"})
    assert changed.json()["room"] == "There"
    await asyncio.gather(*(client.delete(f"/shelves/{shelf['id']}") for shelf in made.json()))


async def test_a_transaction_has_the_timeouts_of_the_service_and_leaves_none_behind(database: Database) -> None:
    async with database.write() as session, session.begin():
        assert (await session.execute(text(TIMEOUTS))).scalar_one() == "7s 3s"
    assert await value_of(database, TIMEOUTS) == "0 0"


async def test_a_single_row_is_inserted_with_the_timeouts_of_the_service(client: Client, database: Database) -> None:
    function = "CREATE FUNCTION note_timeouts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.room := "
    async with database.writer.begin() as connection:
        await connection.execute(text(f"{function} ({TIMEOUTS}); RETURN NEW; END $$"))
        trigger = "CREATE TRIGGER timeouts BEFORE INSERT ON kit_shelf FOR EACH ROW EXECUTE FUNCTION note_timeouts()"
        await connection.execute(text(trigger))
    made = await client.post("/shelves/", json={"name": "Slow", "room": "Here"})
    async with database.writer.begin() as connection:
        await connection.execute(text("DROP FUNCTION note_timeouts CASCADE"))
    assert (await client.get(made.headers["location"])).json()["room"] == "7s 3s"
    await client.delete(made.headers["location"])


async def test_reads_have_the_timeouts_of_the_role_that_the_printed_commands_give_it(
    postgres_server: str, url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(url, Pool(timeout=TIMEOUT_SECONDS, statement_timeout=7, lock_timeout=3))
    assert await value_of(database, TIMEOUTS) == "0 0"
    assert "execute what `make database-role` prints" in caplog.text
    caplog.clear()
    connection = await asyncpg.connect(postgres_server)
    for command in commands(database):
        await connection.execute(command)
    await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", url.database)
    later = Database(url, Pool(statement_timeout=7, lock_timeout=3))
    assert await value_of(later, TIMEOUTS) == "7s 3s"
    assert not caplog.records
    await connection.execute(f"ALTER ROLE postgres IN DATABASE {url.database} RESET ALL")
    for each in (connection.close(), database.dispose(), later.dispose()):
        await each


async def test_a_stream_of_rows_comes_from_one_transaction(database: Database) -> None:
    async with database.write() as session, session.begin():
        session.add_all([Shelf(name=f"Row {number}", room="Stream") for number in range(200)])
        await session.flush()
        rows = await session.stream(select(Shelf.name).where(Shelf.room == "Stream").execution_options(yield_per=10))
        assert len([row async for row in rows]) == 200
        await session.rollback()


async def test_without_the_setting_the_refusal_says_what_to_set(url: URL) -> None:
    database = Database(url.difference_update_query(["pgbouncer"]))
    with pytest.raises((DBAPIError, DriverFailure), match="set DATABASE_POOLER=transaction"):
        await value_of(database, "SELECT 1")
    await database.dispose()


async def test_a_pooler_that_ignores_settings_is_noticed(
    postgres_server: str, direct: str, caplog: pytest.LogCaptureFixture
) -> None:
    ignored = "pgbouncer, jit, statement_timeout, lock_timeout"
    with PgBouncer(make_url(postgres_server), ignored=ignored) as pooler:
        text_of_url = pooler.url.set(database=direct, query={}).render_as_string(hide_password=False)
        database = Database(url_for(text_of_url))
        assert await value_of(database, "SELECT 1") == 1
        await database.dispose()
    assert "There is a pooler before PostgreSQL: set DATABASE_POOLER=transaction" in caplog.text


def application(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """Make an importable application with this database. Returns its name."""
    module: Any = ModuleType("pooled_application")
    module.app = SimpleNamespace(runtime=SimpleNamespace(database=Database(make_url(url))))
    monkeypatch.setitem(sys.modules, "pooled_application", module)
    return "pooled_application:app"


def test_the_commands_name_the_role_and_the_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = 'postgresql+asyncpg://a"b:secret@host/books'
    assert main(application(monkeypatch, url)) is None
    assert capsys.readouterr().out.splitlines() == [
        """ALTER ROLE "a""b" IN DATABASE "books" SET jit = 'off';""",
        """ALTER ROLE "a""b" IN DATABASE "books" SET statement_timeout = '10000';""",
        """ALTER ROLE "a""b" IN DATABASE "books" SET lock_timeout = '5000';""",
    ]
    assert main(application(monkeypatch, "postgresql+asyncpg:///")) is None
    assert capsys.readouterr().out.startswith("ALTER ROLE CURRENT_USER SET jit")


def test_the_module_is_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["role", application(monkeypatch, "postgresql+asyncpg://a@host/books")])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(role.__file__), run_name="__main__")
    assert end.value.code is None
    assert capsys.readouterr().out.count("ALTER ROLE") == 3


def test_sqlite_has_no_role(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "has no roles" in str(main(application(monkeypatch, f"sqlite+aiosqlite:///{tmp_path}/file.db")))
