"""The benchmark's calculations, reports and rows, without servers and clocks."""

import argparse
import asyncio
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import before, bulk, chart, database, growth, growth_chart, quotes, report, searches, versions
from benchmarks.__main__ import listed
from benchmarks.arena import sample
from benchmarks.before import Comparison, compared
from benchmarks.check import plain
from benchmarks.contestants import BARE, CONTESTANTS, OURS, PEERS, WITH_LOG, WITH_TOKEN, left_out
from benchmarks.loads import BULK, LOADS, Choices, script
from benchmarks.plan import QUICK, Plan
from benchmarks.rounds import Group, Sample, order
from benchmarks.rows import postgres_checksum
from benchmarks.store import Results, continued, read
from benchmarks.targets import slower, verdicts
from benchmarks.tokens import Tokens
from benchmarks.versions import VersionError
from benchmarks.wrk import Outcome, parsed

pytestmark = pytest.mark.untraced

OUTPUT = """Running 2s test @ http://127.0.0.1:1
  412 requests in 2.00s
RESULT {"requests": 412, "microseconds": 2000000, "p50": 1500, "p99": 9000, "refused": 12, "broken": 3, "bytes": 800}
"""
FACTS: dict[str, Any] = {
    "date": "2026-11-21",
    "commit": "abc1234",
    "processor": "Z80",
    "kernel": "6.1",
    "cores": 2,
    "server_core": 0,
    "other_core": 1,
    "versions": ["Python 3"],
    "left_out": [],
    "settings": {"production": {"LOG_LEVEL": "INFO", "SECRET_KEY": "s3cret"}, "pool": {"POOL_SIZE": "30"}},
    "databases": {"postgresql": "PostgreSQL 18.4"},
    "rows": {"postgresql": "ab" * 32, "sqlite": "ab" * 32},
    "imports": {"ours": 1.2, "seed": 1.0},
}


def ran(rate: float, p50: float = 1, p99: float = 2) -> Sample:
    return Sample(rate, p50, p99, errors=0, memory=90, busy=0.9, server=200, database=30, received=600)


def group(*rounds: dict[str, float], load: str = "get") -> Group:
    """Return a group over 32 connections on PostgreSQL, with a rate of each contestant in each round."""
    samples = [{name: ran(rate) for name, rate in rates.items()} for rates in rounds]
    return Group("postgresql", load, 32, list(rounds[0]), samples)


def test_the_output_of_wrk_is_parsed_and_refused_requests_are_not_counted() -> None:
    assert parsed(OUTPUT) == Outcome(done=400, seconds=2, p50=1.5, p99=9, errors=15, received=800)
    with pytest.raises(ValueError, match="no result"):
        parsed("Running 2s test")


def test_a_bulk_request_counts_all_of_its_rows_and_no_errors() -> None:
    seen = bulk.outcome([(10, 500), (30, 700), (20, 0)], seconds=2)
    assert seen == Outcome(done=2, seconds=2, p50=20, p99=30, errors=1, received=1200)
    result = sample(seen, LOADS["bulk"], server=1, database=0.5, memory=90)
    assert (result.rate, result.server, result.database) == (BULK, 500, 250)
    assert bulk.outcome([(10, 0)], seconds=2).done == 0


def test_processor_time_and_bytes_are_those_of_a_request() -> None:
    result = sample(Outcome(400, 2, 1.5, 9, 0, 80_000), LOADS["get"], server=1, database=0.1, memory=90)
    assert (result.rate, result.server, result.database, result.received) == (200, 2500, 250, 200)
    assert sample(Outcome(0, 2, 0, 0, 32, 0), LOADS["get"], server=1, database=0, memory=90).server == 0


def test_each_round_begins_with_another_contestant() -> None:
    assert [list(order("abc", turn)) for turn in range(3)] == [list("abc"), list("bca"), list("cab")]


def test_the_ratio_is_that_of_the_medians_with_the_least_and_the_most_of_a_round() -> None:
    found = group({OURS: 600, "seed": 100}, {OURS: 900, "seed": 100}, {OURS: 100, "seed": 100}).ratio(OURS, "seed")
    assert (found.value, found.least, found.most) == (6, 1, 9)
    assert str(found) == "6.00 (1.00–9.00)"


def test_a_contestant_that_answers_nothing_has_stalled() -> None:
    stalled = group({OURS: 600, "template": 0}, {OURS: 600, "template": 0}, {OURS: 600, "template": 3})
    assert report.row(stalled, "template")[3] == "stalled"
    assert "∞" not in "".join(report.row(stalled, "template"))
    once = group({OURS: 600, "template": 0}, {OURS: 600, "template": 3}, {OURS: 600, "template": 3})
    assert report.row(once, "template")[3] == "3 (stalled in 1 of 3)"
    assert "stalled</text>" in chart.svg([group({OURS: 9, BARE: 9, "template": 0})])


def test_a_row_has_a_cell_for_every_column() -> None:
    cells = dict(zip(report.HEAD, report.row(group({OURS: 600, BARE: 900, "seed": 100}), "seed"), strict=True))
    assert (cells["against"], cells["ratio"], cells["bare ratio"]) == ("seed", "6.00 (6.00–6.00)", "9.00")
    assert (cells["server µs"], cells["database µs"], cells["bytes"], cells["p99 / p50"]) == ("200", "30", "600", "2.0")


def test_targets_are_reached_or_missed() -> None:
    found = group({OURS: 600, BARE: 1000, WITH_TOKEN: 910, WITH_LOG: 940, "seed": 100, "limit": 1000})
    said = {(verdict.what.partition(",")[0], verdict.against): verdict.said for verdict in verdicts([found], {})}
    assert said == {
        ("GET by random id", "seed"): "reached",
        ("GET by random id", "limit"): "missed",
        ("cost of a token", BARE): "reached",
        ("cost of a log line", BARE): "missed",
        ("GET by random id", "its median"): "reached",
    }
    assert [verdict.said for verdict in verdicts([], {OURS: 1.6, "seed": 1})] == ["missed"]
    page = group({OURS: 1, f"{OURS}:cursor-first": 1}, load="cursor")
    assert verdicts([page], {})[0].against == "page 1, p50"


def test_faster_frameworks_are_listed_and_those_without_an_orm_apart() -> None:
    found = group({OURS: 100, "ninja": 200, "robyn": 400, "limit": 500, "fastcrud": 50})
    assert slower([found], has_orm=True) == ["GET by random id, 32 connections, PostgreSQL: ninja (0.50)"]
    assert slower([found], has_orm=False) == ["GET by random id, 32 connections, PostgreSQL: robyn (0.25)"]
    said = report.comparison([found])
    assert "A Python framework with an ORM was faster: " in said
    assert "asyncpg by hand (`limit`) has this much of our rate: GET by random id 5.00." in said
    assert report.comparison([group({OURS: 100, "fastcrud": 50})]).startswith("No Python framework with an ORM was")
    assert report.comparison([group({OURS: 100})]) == "No Python framework took part."


def test_the_report_describes_the_machine_and_its_settings_without_secrets() -> None:
    written = report.markdown(QUICK, FACTS, [group({OURS: 600, BARE: 700, "seed": 100})])
    assert "2026-11-21, commit abc1234, Z80, 2 cores" in written
    assert "100,000 heroes, the same on both engines (SHA-256 abababababababab…)" in written
    assert "`LOG_LEVEL=INFO` `SECRET_KEY=…`" in written
    assert "| import, processor time | seed | ≤ 1.50 | 1.20 | reached |" in written
    assert f"| seed | {CONTESTANTS['seed'].what} |" in written
    assert report.footer(FACTS) == "PostgreSQL 18.4, one worker on one core of Z80, 2026-11-21"


def test_the_chart_has_a_panel_for_each_load_and_a_bar_for_each_contestant() -> None:
    rates = {OURS: 600.0, BARE: 700.0, WITH_TOKEN: 650.0, "seed": 100.0, "limit": 900.0}
    drawn = chart.svg([group(rates), group(rates, load="patch"), group(rates, load="bulk")], report.footer(FACTS))
    assert drawn.count("<rect") == 12
    assert [LOADS[load].title in drawn for load in ("get", "patch", "bulk")] == [True, True, True]
    assert drawn.index("asyncpg by hand</text>") < drawn.index("ours, bare</text>") < drawn.index("seed</text>")
    assert "32 connections, PostgreSQL 18.4, one worker on one core of Z80, 2026-11-21" in drawn


def test_an_interrupted_run_continues_under_the_same_conditions_only(tmp_path: Path) -> None:
    plan, file = Plan(engines=("postgresql",), loads=("get",), connections=(32,), rounds=2), tmp_path / "r.json"
    (planned,) = plan.groups("postgresql")
    results = Results(plan, FACTS)
    stored = results.group(planned)
    stored.rounds.append({name: ran(7) for name in planned.contestants})
    results.write(file)
    assert continued(file, plan, FACTS).measured == [stored]
    assert plan.duration(results.groups) < plan.duration()
    assert continued(file, replace(plan, rounds=3), FACTS).measured == []
    assert continued(file, plan, FACTS | {"commit": "other"}).measured == []
    stored.rounds *= 2
    results.write(file)
    assert read(file).complete
    assert continued(file, plan, FACTS).measured == []


def test_stored_results_are_rendered_again(tmp_path: Path) -> None:
    results = Results(
        QUICK, FACTS, [group({OURS: 600, BARE: 700, "seed": 100}), group({OURS: 1, "seed": 1}, load="post")]
    )
    results.write(tmp_path / "results.json")
    results.render(tmp_path)
    written = (tmp_path / "results.md").read_text()
    read(tmp_path / "results.json").render(tmp_path)
    assert (tmp_path / "results.md").read_text() == written
    assert json.loads((tmp_path / "results.json").read_text())["facts"] == FACTS


def test_the_report_is_that_of_the_stored_results() -> None:
    stored = quotes.REPORT.with_suffix(".json")
    if stored.exists():
        results = read(stored)
        assert report.markdown(results.plan, results.facts, results.measured) == quotes.REPORT.read_text()


def test_pages_quote_the_figures_of_the_report() -> None:
    written = quotes.REPORT.read_text()
    assert {page.name for page in quotes.pages()} >= {"README.md", "compared.md", "speed.md"}
    for page in quotes.pages():
        assert quotes.corrected(page.read_text(), written) == page.read_text(), page


def test_a_figure_is_quoted_in_both_directions() -> None:
    written = report.markdown(QUICK, FACTS, [group({OURS: 600, BARE: 700, "limit": 1200})])
    text = "it has <!--get: ours/limit-->9 of the rate, and that <!--get: limit/ours-->9.9 times ours"
    new = "it has <!--get: ours/limit-->0.5 of the rate, and that <!--get: limit/ours-->2.0 times ours"
    assert quotes.corrected(text, written) == new
    with pytest.raises(KeyError):
        quotes.corrected("<!--post: ours/limit-->1", written)


@pytest.mark.parametrize(
    ("rate", "lead"),
    [
        (50, "no Python framework with an ORM was faster at any load"),
        (200, "a Python framework with an ORM was faster: GET by random id, 32 connections, PostgreSQL: ninja (0.50)"),
    ],
)
def test_pages_say_whether_a_framework_was_faster(rate: float, lead: str) -> None:
    written = report.markdown(QUICK, FACTS, [group({OURS: 100, BARE: 110, "ninja": rate, "robyn": 400})])
    assert quotes.corrected("Here <!--lead-->is what was\nwritten<!--/lead-->.", written) == (
        f"Here <!--lead-->{lead}<!--/lead-->."
    )


def test_responses_are_compared_by_value() -> None:
    assert plain([{"id": 1, "created_at": "2026-01-01T00:00:00Z"}]) == plain(
        [{"created_at": "2026-01-01T00:00:00.000+00:00", "id": 1}]
    )


def test_tokens_are_used_by_turns_and_writes_have_those_of_superusers() -> None:
    tokens = Tokens(("m1", "m2"), ("s1", "s2"))
    assert tokens.of(LOADS["get"], 1) == ("m1",)
    assert tokens.of(LOADS["patch"], 32) == ("s1", "s2")
    written = script(LOADS["patch"], "host:1", Choices(rows=9, seed=1, tokens=("s1", "s2")))
    assert '{"s1", "s2"}' in written
    assert "Authorization: Bearer" in written


def test_bulk_requests_are_measured_over_few_connections() -> None:
    assert (LOADS["bulk"].at_once(32), LOADS["bulk"].seconds(1)) == (4, 2)
    assert (LOADS["post"].at_once(32), LOADS["post"].seconds(1)) == (32, 1)


def test_a_full_run_measures_every_load_in_twenty_minutes() -> None:
    whole = Plan(peers=PEERS)
    groups = list(whole.groups("postgresql"))
    assert {group.load for group in groups} | {"cursor-first"} == set(LOADS)
    assert set(groups[0].contestants) == {OURS, BARE, WITH_TOKEN, WITH_LOG, *PEERS}
    assert [set(group.contestants) for group in groups[1:6]] == [{OURS, BARE, *PEERS}] * 5
    assert whole.duration() < 20 * 60
    assert QUICK.duration() < 3 * 60
    assert {name for group in whole.groups("sqlite") for name in group.contestants} == {OURS, BARE, "seed"}


def test_every_server_has_thirty_connections_and_production_has_logs_and_tokens() -> None:
    for contestant in CONTESTANTS.values():
        settings = contestant.environment("sqlite://")
        assert (settings["POOL_SIZE"], settings["POOL_OVERFLOW"]) == ("30", "0")
    ours = CONTESTANTS[OURS].environment("sqlite://")
    assert (ours["ENVIRONMENT"], ours["LOG_LEVEL"]) == ("production", "INFO")
    assert "REQUIRE_AUTH" not in CONTESTANTS[OURS].settings
    assert CONTESTANTS[BARE].settings == {"REQUIRE_AUTH": "false", "LOG_LEVEL": "WARNING"}


def test_peers_that_cannot_run_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("benchmarks.contestants.NEEDED", {"robyn": (tmp_path / "none", "missing")})
    assert left_out(["seed", "robyn"]) == {"robyn": "missing"}
    assert left_out(["seed"]) == {}
    monkeypatch.setattr("benchmarks.contestants.shutil.which", lambda _: None)
    monkeypatch.setattr("benchmarks.contestants.NEEDED", {"fastify": (tmp_path, "missing")})
    assert left_out(["fastify"]) == {"fastify": "missing"}


def test_unknown_names_are_refused() -> None:
    assert listed(["get", "post"])("post,get") == ["post", "get"]
    with pytest.raises(argparse.ArgumentTypeError, match="put is none of get, post"):
        listed(["get", "post"])("put")


@pytest.mark.parametrize(
    ("speeds", "tries", "is_slower"), [([1.0], 1, False), ([0.5, 0.9], 2, False), ([0.5, 0.84, 0.8], 3, True)]
)
def test_a_load_is_slower_if_three_tries_say_so(speeds: list[float], tries: int, is_slower: bool) -> None:
    found = compared("GET", iter([*speeds, 0.1]).__next__)
    assert (len(found.tries), found.slower) == (tries, is_slower)


def test_the_comparison_with_the_commit_before_fails_for_slower_loads() -> None:
    good, bad = Comparison("GET", (1.1,)), Comparison("POST", (0.5, 0.6, 0.7))
    assert before.report([good]) is None
    assert before.report([good, bad]) == "Slower than the commit before in 3 tries: POST."


def git(folder: Path, *words: str) -> str:
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    command = [shutil.which("git") or "git", "-C", str(folder), *author, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def committed(folder: Path, many: int) -> str:
    """Create this number of commits. Returns the last one."""
    for _ in range(many):
        git(folder, "commit", "--quiet", "--allow-empty", "-m", "change")
    return git(folder, "rev-parse", "HEAD")


def test_the_commit_before_is_the_parent_or_where_the_branch_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    origin.mkdir()
    monkeypatch.setattr("benchmarks.versions.PROJECT", origin)
    assert versions.commit_before() == ""
    git(origin, "init", "--quiet")
    first = committed(origin, 1)
    assert versions.commit_before() == ""
    second = committed(origin, 1)
    assert versions.commit_before() == first
    git(tmp_path, "clone", "--quiet", str(origin), str(clone))
    monkeypatch.setattr("benchmarks.versions.PROJECT", clone)
    assert versions.commit_before() == first
    committed(clone, 2)
    assert versions.commit_before() == second


def test_a_shallow_clone_has_no_commit_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "--quiet", "origin")
    committed(tmp_path / "origin", 2)
    git(tmp_path, "clone", "--quiet", "--depth=1", (tmp_path / "origin").as_uri(), "clone")
    monkeypatch.setattr("benchmarks.versions.PROJECT", tmp_path / "clone")
    assert versions.commit_before() == ""


def test_a_commit_is_checked_out_beside_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "--quiet", "origin")
    monkeypatch.setattr("benchmarks.versions.PROJECT", tmp_path / "origin")
    (tmp_path / "origin/file").write_text("here")
    git(tmp_path / "origin", "add", "file")
    with versions.checked_out(committed(tmp_path / "origin", 1), tmp_path / "before") as folder:
        assert (folder / "file").read_text() == "here"
    assert not folder.exists()


def test_a_version_that_cannot_be_migrated_is_named(tmp_path: Path) -> None:
    with pytest.raises(VersionError, match="alembic upgrade head` failed") as caught:
        versions.prepare("before", tmp_path, "sqlite://")
    assert caught.value.name == "before"


def filled_file(file: Path, rows: int) -> tuple[str, set[str]]:
    """Fill a SQLite database. Returns the checksum of its rows, and the names of the heroes."""
    checksum = database.sqlite_file(file, rows)
    with closing(sqlite3.connect(file)) as connection:
        return checksum, {name for (name,) in connection.execute("SELECT name FROM hero")}


@pytest.mark.slow
async def test_both_engines_are_filled_with_the_same_rows(tmp_path: Path, new_postgres: Callable[[], Any]) -> None:
    url = await new_postgres()
    checksum, names = await asyncio.to_thread(filled_file, tmp_path / "base.sqlite", 1500)
    assert len(names) > 1400
    await asyncio.to_thread(database.migrate, url)
    await database.fill(url, 1500)
    assert await postgres_checksum(url) == checksum


def test_the_growth_is_drawn_once_and_the_page_shows_the_picture_if_there_is_one() -> None:
    page = growth.PAGE.read_text()
    assert growth.MARK in page
    assert (growth.SHOWN in page) == growth.PICTURE.exists()
    assert growth.with_picture(growth.with_picture(growth.MARK)) == growth.SHOWN


def test_the_growth_has_a_line_for_each_load_and_labels_that_do_not_overlap() -> None:
    values = dict.fromkeys(growth_chart.COLOURS, 1.0)
    drawn = growth_chart.svg({"sqlite 1000": values, "sqlite 10000": values | {"q": 200.0}}, "here & now")
    assert drawn.count('class="line"') == len(growth_chart.COLOURS)
    assert "10,000 rows</text>" in drawn
    assert "here &amp; now" in drawn
    assert growth_chart.apart([5.0, 5.0, 0.0]) == [26.0, 39.0, 13.0]


def test_an_interrupted_growth_measures_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    results = tmp_path / "growth.json"
    monkeypatch.setattr(growth, "filled", lambda engine, rows, folder: nullcontext("url"))

    def measured(url: str, folder: Path, rows: int, requests: int) -> dict[str, float]:
        asked.append(rows)
        return {"GET": 1.0}

    monkeypatch.setattr(growth, "measured", measured)
    growth.execute(results, (10,), 1)
    assert set(growth.execute(results, (10, 20), 1)) == {
        f"{engine} {rows}" for engine in growth.ENGINES for rows in (10, 20)
    }
    assert asked == [10, 10, 20, 20]


def test_reads_beside_searches_are_compared_by_their_medians() -> None:
    def run(done: int, p99: float) -> Outcome:
        return Outcome(done=done, seconds=2.0, p50=1.0, p99=p99, errors=0, received=0)

    alone, beside = [run(1000, 4.0), run(2000, 5.0), run(9000, 9.0)], [run(1000, 10.0)]
    told = "sqlite: 1,000 -> 500 GETs per second (0.50), p99 5.0 -> 10.0 ms (2.00)\n"
    assert searches.line("sqlite", alone, beside) == told
