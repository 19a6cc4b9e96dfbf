"""Statements: slow ones are logged, with their text and without values, on either path."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kit import Database, Service
from kit.database import statements
from kit.database.engines import Pool
from kit.database.statements import end_failed, kind_of, without_values
from kit.http.events import COUNTS
from tests.engines import Client, url_for
from tests.kit.service import FAST_PATH, client_of, create_runtime, create_service

SHELF = {"name": "Zq9-secret", "room": "Zq9-room"}


@pytest.fixture
async def slow(library_url: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Provide a client of the bookshop, to which every statement is slow."""
    monkeypatch.setattr(statements, "MIN_SLOW_SECONDS", 0)
    if FAST_PATH:
        monkeypatch.setattr("kit.fast.driver.MIN_SLOW_SECONDS", 0)
    own = Database(url_for(library_url), Pool(slow_statement=0))
    async with client_of(create_service(create_runtime(own))) as client:
        yield client
    await own.dispose()


@pytest.mark.untraced
async def test_slow_statements_are_logged_with_their_text_and_without_values(
    slow: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await slow.post("/shelves/", json=SHELF)).status_code == 201
    assert (await slow.get("/shelves/1")).status_code == 200
    assert (await slow.get("/shelves/?name=Zq9-secret")).status_code == 200
    assert (await slow.patch("/shelves/1", json={"room": "Zq9-attic"})).status_code == 200
    logged = [record for record in caplog.records if record.getMessage().startswith("Slow statement, ")]
    texts = [record.__dict__["statement"] for record in logged]
    for kind in ("SELECT", "INSERT", "UPDATE"):
        assert [line for line in texts if line.startswith(kind) and "kit_shelf" in line], kind
    assert "Zq9" not in caplog.text
    assert all(record.levelname == "WARNING" and record.__dict__["duration_ms"] >= 0 for record in logged)


async def test_fast_statements_are_not_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    await client.post("/shelves/", json=SHELF)
    await client.get("/shelves/1")
    assert "Slow statement" not in caplog.text


async def test_a_statement_that_fails_is_counted_and_may_be_slow(
    app: Service, database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "MIN_SLOW_SECONDS", 0)
    monkeypatch.setattr(statements, "SLOW", "of this test")
    before = COUNTS["statements", "select"]
    async with database.read() as session:
        with pytest.raises(DBAPIError):
            await session.execute(text("SELECT nothing FROM nowhere WHERE name = 'Zq9-secret' AND age > 42"))
    assert COUNTS["statements", "select"] > before
    assert "SELECT nothing FROM nowhere WHERE name = ? AND age > ?" in caplog.text
    assert "Zq9" not in caplog.text.partition("Slow statement")[2].partition("\n")[0]


@pytest.mark.parametrize(("context", "statement"), [(None, "SELECT 1"), (SimpleNamespace(started=0.0), None)])
def test_a_failure_without_a_statement_is_none(context: Any, statement: str | None) -> None:
    before = dict(COUNTS)
    end_failed(cast("Any", SimpleNamespace(execution_context=context, statement=statement, original_exception=None)))
    assert before == COUNTS


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT 1", "select"),
        ("  (select 1) UNION (SELECT 2)", "select"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "select"),
        ("INSERT INTO a VALUES (1)", "insert"),
        ("update a set b = 1", "update"),
        ("DELETE FROM a", "delete"),
        ("BEGIN IMMEDIATE", "other"),
        ("", "other"),
    ],
)
def test_the_kind_of_a_statement_is_its_first_word(statement: str, kind: str) -> None:
    assert kind_of(statement) == kind


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("SELECT a.b1, $1 FROM a WHERE c = $2", "SELECT a.b1, $1 FROM a WHERE c = $2"),
        ("SELECT 'it''s', E'a\\'b', 1.5e3, 0x1F", "SELECT ?, ?, ?, ?"),
        ("SELECT 1\n  FROM a -- 7", "SELECT ? FROM a -- ?"),
        ("SELECT $$a 'b'$$, $tag$ $$ $tag$", "SELECT ?, ?"),
        ("SELECT 'never closed", "SELECT ?"),
        ('SELECT "t2"."c3" FROM t4', 'SELECT "t2"."c3" FROM t4'),
        ("x" * 3000, "x" * 2000 + "…"),
    ],
)
def test_values_within_a_statement_are_not_shown(statement: str, shown: str) -> None:
    assert without_values(statement) == shown
