"""The choice of the tests with which `make check` measures coverage, and the further tests that run after a gap."""

import json
import secrets
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest, coverage_gaps
from tests.tracing.__main__ import chosen, covered_by, durations, main, reliable, untraced

TABLES = """
CREATE TABLE file (id integer primary key, path text);
CREATE TABLE context (id integer primary key, context text);
CREATE TABLE arc (file_id integer, context_id integer, fromno integer, tono integer);
INSERT INTO file VALUES (7, 'f.py');
INSERT INTO context VALUES (1, ''), (2, 'tests/test_a.py::test_1[x|y]|setup'), (3, 'tests/test_a.py::test_1[x|y]|run');
INSERT INTO arc VALUES (7, 1, -1, 1), (7, 2, 1, 2), (7, 3, 1, 3), (7, 3, 3, -1);
"""
ANOTHER = """
INSERT INTO context VALUES (4, 'tests/test_a.py::test_2|run');
INSERT INTO arc VALUES (7, 4, 1, 3), (7, 4, 8, 9);
"""
REPORT = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="test_1[x|y]" time="1.5"/>
<testcase classname="tests.test_a" name="test_2" time="0.25"/>
<testcase classname="tests.test_a" name="test_3" time="0.25"/>
</testsuite></testsuites>"""


def written_run(directory: Path, tables: str) -> Path:
    directory.mkdir()
    with sqlite3.connect(directory / "coverage") as database:
        database.executescript(tables)
    database.close()
    (directory / "durations.xml").write_text(REPORT)
    return directory


def test_lines_and_branches_are_those_of_their_tests(tmp_path: Path) -> None:
    branches = {("f.py", 1, 2), ("f.py", 1, 3)}
    lines = {("f.py", 1), ("f.py", 2), ("f.py", 3)}
    covered = covered_by(written_run(tmp_path / "1", TABLES) / "coverage")
    assert covered == {"": {("f.py", 1)}, "tests/test_a.py::test_1[x|y]": lines | branches}


def test_a_test_is_relied_on_for_what_it_covers_in_every_run() -> None:
    runs = [{"a": {(1,), (2,)}, "b": {(2,)}}, {"a": {(1,)}, "b": {(2,)}, "c": {(3,)}}]
    assert reliable(runs) == ({"a": {(1,)}, "b": {(2,)}, "c": {(3,)}}, {(3,)})


def test_everything_is_covered_by_three_functions_if_enough_short_ones_do() -> None:
    covered = {"": {(1,)}, "a": {(2,), (3,)}, "b": {(2,)}, "c": {(2,)}, "slow": {(2,), (3,), (4,)}, "d": {(3,)}}
    seconds = {"a": 0.1, "b": 5.0, "c": 0.1, "slow": 9.0, "d": 9.0}
    assert chosen(covered, seconds) == {"slow", "a"}
    assert chosen(covered | {"e": {(2,), (4,)}, "f": {(4,)}}, seconds | {"e": 0.5, "f": 0.5}) == {"a", "c", "e", "f"}


def test_cases_of_one_function_count_once() -> None:
    covered = {"a[1]": {(1,)}, "a[2]": {(1,)}, "a[3]": {(1,)}, "b": {(1,)}, "c": {(1,)}}
    tests = chosen(covered, dict.fromkeys(covered, 0.1))
    assert {test.partition("[")[0] for test in tests} == {"a", "b", "c"}
    assert len(tests) == 3


def test_tests_of_real_processes_are_always_chosen() -> None:
    test = "tests/kit/replicas/test_edges.py::test"
    assert chosen({"a": {(1,)}, test: {(1,)}}, {"a": 9.0, test: 9.0}) == {test}


def test_a_function_is_listed_with_its_traced_cases() -> None:
    tests = ["a.py::all[1]", "a.py::one[1]", "a.py::one[2]", "a.py::none", "a.py::alone"]
    listed = {"a.py::none": [], "a.py::one": ["2"]}
    assert untraced(tests, {"a.py::all[1]", "a.py::one[2]", "a.py::alone"}) == listed


def test_the_list_is_written_from_the_files_of_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [written_run(tmp_path / "1", TABLES), written_run(tmp_path / "2", TABLES + ANOTHER)]
    assert durations(runs[0] / "durations.xml")["tests/test_a.py::test_1[x|y]"] == 1.5
    main(tmp_path / "list", *runs)
    assert json.loads((tmp_path / "list").read_text()) == {"tests/test_a.py::test_3": []}
    assert capsys.readouterr().out.splitlines() == [
        "f.py, [8]: no test covers this in every run. Write one that does.",
        "f.py, [9]: no test covers this in every run. Write one that does.",
        "2 of 3 tests are traced. They take 88% of the time.",
    ]


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


def replaced_reports(monkeypatch: pytest.MonkeyPatch, *gaps: list[str]) -> list[list[str]]:
    """Replace coverage reports by these lists of files, and `subprocess.run` by a function that stores the commands.

    Returns the list of the stored commands.
    """
    left, commands = list(gaps), list[list[str]]()

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(coverage_gaps, "missing", lambda: left.pop(0))
    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_nothing_more_runs_if_everything_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = replaced_reports(monkeypatch, [])
    assert (coverage_gaps.main(["pytest"]), commands) == (0, [])


@pytest.mark.parametrize(("left", "code"), [([], 0), (["kit/http/etags.py"], 1)])
def test_the_tests_that_mention_a_module_with_a_gap_run_too(
    monkeypatch: pytest.MonkeyPatch, left: list[str], code: int
) -> None:
    commands = replaced_reports(monkeypatch, ["kit/operations/idempotency_keys.py"], left)
    assert coverage_gaps.main(["pytest", "-q"]) == code
    ((*command, append), *tests) = [commands[0][:3], *commands[0][3:]]
    assert (command, append) == (["pytest", "-q"], "--cov-append")
    assert "tests/kit/test_idempotency.py" in tests
    assert "tests/kit/test_tokens.py" not in tests


def test_groups_of_tests_with_requirements_do_not_run_after_a_gap(tmp_path: Path) -> None:
    for folder in ("plain", "group"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test_etags.py").touch()
    (tmp_path / "group/targets.mk").touch()
    assert coverage_gaps.tests_of(["kit/http/etags.py"], tmp_path) == [tmp_path / "plain/test_etags.py"]


def test_a_gap_that_no_test_mentions_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = replaced_reports(monkeypatch, [f"kit/{secrets.token_hex()}.py"])
    assert (coverage_gaps.main(["pytest"]), commands) == (1, [])


def test_files_that_are_not_completely_covered_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half.py").write_text("def called():\n    return 1\n\ndef not_called():\n    return 2\ncalled()\n")
    (tmp_path / "whole.py").write_text("VALUE = 1\n")
    (tmp_path / "all.py").write_text("import half, whole\n")
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-m", "coverage", "run", "--branch", "all.py"], check=True, cwd=tmp_path)
    assert coverage_gaps.missing() == ["half.py"]
