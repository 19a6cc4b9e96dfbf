"""Violations: the columns and keys are found in the text of a statement, and in the rows of SQLite."""

import sqlite3
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Integer, MetaData, Table, UniqueConstraint

from kit.database.error_responses import problem_of
from kit.database.references import _keys_that_keep
from kit.database.violations import is_of_referred
from kit.database.written import assignments_of, clause, column_of_argument
from kit.http.principals import CURRENT_PRINCIPAL, Principal
from tests.kit.test_errors import failure_of

pytestmark = pytest.mark.no_fast_path

INSERT = "INSERT INTO t (name, \"a b\", year) VALUES ($1::VARCHAR, 'x, (?', $2::INTEGER), ($3, 'y', $4) RETURNING id"
UPDATE = 'UPDATE t SET name=lower($1), "a b"=(SELECT 1 WHERE 1 = 1), year=$2 WHERE t.id = $3 RETURNING id'


@pytest.mark.parametrize(
    ("statement", "number", "column"),
    [(INSERT, 2, "year"), (INSERT, 4, "year"), (INSERT, 3, "name"), (UPDATE, 1, "name"), (UPDATE, 2, "year")],
)
def test_the_column_of_a_refused_argument_is_found(statement: str, number: int, column: str) -> None:
    assert column_of_argument(f"invalid input for query argument ${number}: 'x'", statement) == column


@pytest.mark.parametrize("statement", [UPDATE, "SELECT $3", "INSERT INTO t (a) SELECT $3"])
def test_an_argument_of_no_column_has_none(statement: str) -> None:
    assert column_of_argument("invalid input for query argument $3: 'x'", statement) is None


def test_clauses_and_assignments_end_outside_of_parentheses_and_quotes() -> None:
    assert [name for name, _ in assignments_of(UPDATE)] == ["name", "a b", "year"]
    assert (clause(UPDATE, "WHERE"), clause("DELETE FROM t", "WHERE")) == ("t.id = $3", "")


@pytest.fixture
def family() -> dict[str, Table]:
    """Provide a table, one whose rows are deleted with its rows, and one that keeps those."""
    metadata = MetaData()
    key: Any = {name: Column("id", Integer, primary_key=True) for name in ("old", "middle", "loose", "young")}
    tables = [
        Table("old", metadata, key["old"], Column("peer", ForeignKey("old.id"))),
        Table("middle", metadata, key["middle"], Column("up", ForeignKey("old.id", ondelete="cascade"))),
        Table("loose", metadata, key["loose"], Column("up", ForeignKey("old.id", ondelete="set null"))),
        Table("young", metadata, key["young"], Column("up", ForeignKey("middle.id", ondelete="restrict"))),
    ]
    return {table.name: table for table in tables}


def test_a_row_that_would_be_deleted_too_may_be_kept_by_others(family: dict[str, Table]) -> None:
    with sqlite3.connect(":memory:") as connection:
        for name in ("old (id, peer)", "middle (id, up)", "loose (id, up)", "young (id, up)"):
            connection.execute(f"CREATE TABLE {name}")
        connection.execute("INSERT INTO old VALUES (1, 1)")
        connection.execute("INSERT INTO middle VALUES (2, 1)")
        assert list(_keys_that_keep(connection.cursor(), family["old"], [{"id": 1}], set())) == []
        connection.execute("INSERT INTO young VALUES (3, 2)")
        (found,) = _keys_that_keep(connection.cursor(), family["old"], [{"id": 1}], set())
    assert found.table is family["young"]


def test_a_key_with_the_same_names_in_both_tables_is_told_by_the_table_of_the_statement() -> None:
    metadata = MetaData()
    columns = [[Column("tenant", Integer), Column("code", Integer)] for _ in range(2)]
    parent = Table("parent", metadata, *columns[0], UniqueConstraint("tenant", "code"))
    key = ForeignKeyConstraint(["tenant", "code"], ["parent.tenant", "parent.code"])
    child = Table("child", metadata, *columns[1], key)
    assert [is_of_referred("tenant, code", key, table) for table in (parent, child, None)] == [True, False, False]


def test_members_do_not_learn_which_value_of_a_table_with_private_fields_is_excluded() -> None:
    failure = failure_of("23P01", "INSERT INTO kit_member (username) VALUES ('x')")
    token = CURRENT_PRINCIPAL.set(Principal(2))
    problem = problem_of(failure)
    CURRENT_PRINCIPAL.reset(token)
    assert problem is not None
    assert (problem.kind, " or " in problem.detail, "excludes" in problem.detail) == ("taken", True, False)


def test_a_deletion_that_would_leave_null_where_it_is_not_allowed_is_refused_as_in_use() -> None:
    problem = problem_of(failure_of("23502", "DELETE FROM kit_shelf WHERE id = 1"))
    assert problem is not None
    assert (problem.status_code, problem.kind) == (409, "in-use")
