"""The choice of the tests with which `make check` measures coverage."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests import conftest
from tests.tracing.__main__ import chosen, covered_by, durations, main, untraced

TABLES = """
CREATE TABLE context (id integer primary key, context text);
CREATE TABLE arc (file_id integer, context_id integer, fromno integer, tono integer);
INSERT INTO context VALUES (1, ''), (2, 'tests/test_a.py::test_1[x|y]|setup'), (3, 'tests/test_a.py::test_1[x|y]|run');
INSERT INTO arc VALUES (7, 1, -1, 1), (7, 2, 1, 2), (7, 3, 1, 3), (7, 3, 3, -1);
"""
REPORT = """<testsuites><testsuite>
<testcase classname="tests.kit.test_a" name="test_1[x|y]" time="1.5"/>
<testcase classname="tests.kit.test_a" name="test_2" time="0.25"/>
</testsuite></testsuites>"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "coverage") as database:
        database.executescript(TABLES)
    database.close()
    return tmp_path / "coverage"


def test_lines_and_branches_are_those_of_their_tests(data: Path) -> None:
    branches = {(7, 1, 2), (7, 1, 3)}
    assert covered_by(data) == {"": {(7, 1)}, "tests/test_a.py::test_1[x|y]": {(7, 1), (7, 2), (7, 3), *branches}}


def test_everything_is_covered_three_times_if_enough_short_tests_do() -> None:
    covered = {"": {(1,)}, "a": {(2,), (3,)}, "b": {(2,)}, "c": {(2,)}, "slow": {(2,), (3,), (4,)}, "d": {(3,)}}
    seconds = {"a": 0.1, "b": 5.0, "c": 0.1, "slow": 9.0, "d": 9.0}
    assert chosen(covered, seconds) == {"slow", "a"}
    assert chosen(covered | {"e": {(2,), (4,)}, "f": {(4,)}}, seconds | {"e": 0.5, "f": 0.5}) == {"a", "c", "e", "f"}


def test_tests_of_real_processes_are_always_chosen() -> None:
    test = "tests/kit/replicas/test_edges.py::test"
    assert chosen({"a": {(1,)}, test: {(1,)}}, {"a": 0.1, test: 9.0}) == {test}


def test_a_function_is_listed_with_its_traced_cases() -> None:
    tests = ["a.py::all[1]", "a.py::one[1]", "a.py::one[2]", "a.py::none", "a.py::alone"]
    listed = {"a.py::none": [], "a.py::one": ["2"]}
    assert untraced(tests, {"a.py::all[1]", "a.py::one[2]", "a.py::alone"}) == listed


def test_the_list_is_written_from_the_files_of_a_run(data: Path, tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT.replace("tests.kit", "tests"))
    assert durations(tmp_path / "report.xml") == {"tests/test_a.py::test_1[x|y]": 1.5, "tests/test_a.py::test_2": 0.25}
    main(data, tmp_path / "report.xml", tmp_path / "list")
    assert json.loads((tmp_path / "list").read_text()) == {"tests/test_a.py::test_2": []}


def test_a_listed_test_is_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(conftest.UNTRACED, request.node.nodeid, [])
    conftest.pytest_itemcollected(request.node)
    assert request.node.get_closest_marker("untraced")


def test_a_list_that_names_a_removed_module_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALL_TRACED", raising=False)
    listed: dict[str, list[str]] = {"tests/test_tracing.py::test": []}
    monkeypatch.setattr(json, "loads", lambda _: listed)
    assert conftest.listed_tests() == listed
    listed["tests/heroes/test_villain.py::test"] = []
    assert conftest.listed_tests() == {}
