"""The benchmark's calculations and reports, without servers and clocks."""

from benchmarks.chart import svg
from benchmarks.check import plain
from benchmarks.loads import LOADS
from benchmarks.plan import QUICK, Plan
from benchmarks.report import HEAD, footer, markdown, row
from benchmarks.rounds import OURS, Contest, turns
from benchmarks.server import PEERS
from benchmarks.targets import slower, verdicts
from benchmarks.wrk import Sample, parsed

OUTPUT = """Running 2s test @ http://127.0.0.1:1
  412 requests in 2.00s
RESULT {"requests": 412, "microseconds": 2000000, "p50": 1500, "p99": 9000, "refused": 12, "broken": 3}
"""
HOUR = {
    "date": "2026-11-21",
    "processor": "Z80",
    "versions": ["Python 3"],
    "left_out": [],
    "cores": 2,
    "server_core": 0,
    "other_core": 1,
}


def contest(*rates: tuple[float, float], load: str = "get", peer: str = "seed") -> Contest:
    pairs = [(Sample(ours, 1, 2, 0), Sample(theirs, 3, 4, 1)) for ours, theirs in rates]
    return Contest("postgresql", load, 32, peer, pairs)


def test_the_output_of_wrk_is_parsed_and_refused_requests_are_not_counted() -> None:
    assert parsed(OUTPUT) == Sample(rate=200, p50=1.5, p99=9, errors=15)
    assert parsed(OUTPUT, rows=1000).rate == 200_000


def test_our_service_runs_before_each_peer_in_every_round() -> None:
    order = [(turn, who) for turn, _, who in turns(["seed", "limit"], 2)]
    one = [OURS, "seed", OURS, "limit"]
    assert order == [(turn, who) for turn in (1, 2) for who in one]


def test_the_ratio_is_the_median_of_the_rounds_and_not_of_the_best() -> None:
    ratio = contest((600, 100), (900, 100), (100, 100)).ratio()
    assert (ratio.median, ratio.least, ratio.most) == (6, 1, 9)
    assert str(ratio) == "6.00 (1.00–9.00)"
    assert str(contest((600, 0)).ratio()) == "∞ (∞–∞)"


def test_a_row_has_a_cell_for_every_column() -> None:
    cells = dict(zip(HEAD, row(contest((600, 100))), strict=True))
    assert cells["against"] == "seed"
    assert cells["ratio"] == "6.00 (6.00–6.00)"
    assert cells["errors"] == "0 / 1"


def test_a_target_is_reached_or_missed_and_latencies_must_be_low() -> None:
    fast, cursor = contest((600, 100)), contest((1, 1), load="cursor", peer="cursor-first")
    assert [verdict.said for verdict in verdicts([fast, cursor])] == ["reached", "reached"]
    assert [verdict.said for verdict in verdicts([contest((599, 100))])] == ["missed"]


def test_a_faster_python_peer_is_listed() -> None:
    assert slower([contest((1, 2)), contest((1, 2), peer="limit"), contest((2, 1))]) == [
        "get at 32 on postgresql, seed (0.50)"
    ]


def test_the_report_describes_the_machine_and_the_results() -> None:
    written = markdown(QUICK, HOUR, [contest((600, 100))])
    assert "2026-11-21, Z80, 2 cores" in written
    assert "| GET by random id, 32 connections | seed | ≥ 6 | 6.00 | reached |" in written
    assert "No Python peer was faster" in written


def test_stored_results_can_be_read_again() -> None:
    one = contest((600, 100), (900, 100))
    assert Contest.from_json(one.as_json()) == one


def test_the_chart_has_a_bar_for_each_service() -> None:
    drawn = svg([contest((600, 100)), contest((600, 700), peer="limit")], footer(HOUR))
    assert drawn.count("<rect") == 3
    assert "one worker on one core of Z80, 2026-11-21" in drawn
    assert drawn.index("limit</text>") < drawn.index("ours</text>") < drawn.index("seed</text>")


def test_long_requests_are_measured_over_few_connections() -> None:
    assert (LOADS["bulk"].at_once(32), LOADS["bulk"].seconds(2)) == (4, 4)
    assert (LOADS["post"].at_once(32), LOADS["post"].seconds(2)) == (32, 2)


def test_responses_are_compared_by_value() -> None:
    assert plain([{"id": 1, "created_at": "2026-01-01T00:00:00Z"}]) == plain(
        [{"created_at": "2026-01-01T00:00:00.000+00:00", "id": 1}]
    )


def test_a_full_run_measures_every_load_of_every_peer_in_about_an_hour() -> None:
    whole = Plan(peers=PEERS)
    held = {(one.load, one.peer) for group in whole.groups("postgresql") for one in group}
    assert {load for load, _ in held} == set(LOADS) - {"cursor-first"}
    assert {peer for _, peer in held} == {*PEERS, "cursor-first", "post"}
    assert whole.duration() < 65 * 60
    assert QUICK.duration() < 150
