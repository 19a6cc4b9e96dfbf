"""The log writer: nothing is lost at the end of a process, and nothing waits for an output that blocks."""

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import Service
from kit.http.events import COUNTS
from kit.server import log_lines, log_writer, request_log
from kit.server.log_lines import JSONLines, configure_logging, json_line, text_line
from kit.server.log_writer import DROPPED, LogWriter, SentResponse
from kit.server.trace_context import trace_id_of
from tests.engines import Client, on_sqlite
from tests.live import serving
from tests.waiting import TIMEOUT_SECONDS, until

pytestmark = pytest.mark.no_fast_path

PROJECT = Path(__file__).parents[2]
SENT: SentResponse = (1_764_400_000.25, "GET", "/books/{book_id}", 200, 0.0012, 300, 7, "an-id", None)
SCRIPT = """
import logging, os, sys
from kit.server import log_writer, request_log
from kit.server.log_lines import configure_logging
writer = configure_logging(as_json=True, level="INFO")
log_writer.start()
for number in range(1000):
    logging.getLogger("kit").info("%s", number)
    request_log.log_response((0.0, "GET", "/", 200, 0.1, 3, None, "an-id", None))
{end}
"""
ENDS = {"the end": "", "an exception": "raise RuntimeError", "an exit": "sys.exit(3)"}


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Provide what the writer of the process has written, by a thread."""
    log, stream = logging.getLogger("kit"), io.StringIO()
    writer = configure_logging(as_json=True, level="INFO")
    writer.stream, log.handlers = stream, [writer]
    log_writer.start()
    yield stream
    writer.stop()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.untraced
@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_lost_when_a_process_ends(end: str) -> None:
    script = SCRIPT.format(end=ENDS[end])
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False)
    written = lines(done.stdout)
    assert [line["message"] for line in written if "message" in line] == [str(number) for number in range(1000)]
    assert sum("route" in line for line in written) == 1000


@pytest.mark.untraced
@on_sqlite
async def test_nothing_is_lost_when_a_server_is_stopped(new_database: Any, log_file: Path) -> None:
    with serving(await new_database(), log_file, app="tests.kit.server.served:app") as server:
        for _ in range(20):
            subprocess.run(["curl", "-s", f"{server.url}/process"], check=True, capture_output=True)  # noqa: ASYNC221, S607
        server.stop()
        assert server.log.count("GET /process 200") == 20


def test_a_process_goes_on_while_its_output_blocks_and_says_what_it_has_dropped() -> None:
    script = SCRIPT.format(end="print('went on', file=sys.stderr, flush=True); sys.stdin.read()").replace(
        "range(1000)", "range(30_000)"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "went on\n"  # nobody has read its output
        written = lines(process.communicate("")[0])
    (dropped,) = (line["message"] for line in written if "dropped" in line.get("message", ""))
    assert 60_000 - int(dropped.split()[0]) == len(written) - 1 <= 40_000


@pytest.mark.untraced
def test_a_process_ends_although_its_output_blocks() -> None:
    script = SCRIPT.format(end="").replace("log_writer.start()", "log_writer.start(); log_writer.STOP_SECONDS = 0.2")
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.wait(TIMEOUT_SECONDS) == 0
        assert process.stdout is not None
        process.stdout.close()


async def test_a_thread_writes_the_lines_of_requests_and_of_others_in_their_order(
    written: io.StringIO, client: Client
) -> None:
    log = logging.getLogger("kit")
    log.handlers = [handler for handler in log.handlers if isinstance(handler, LogWriter)]
    log.info("before")
    trace = {"traceparent": f"00-{'0af7651916cd43dd8448eb211c80319c'}-b7ad6b7169203331-01"}
    await client.get("/books/7", headers={"X-Request-ID": "mine", **trace})
    log_writer.stop()
    before, request = lines(written.getvalue())
    assert before["message"] == "before"
    assert (request["route"], request["status"], request["caller"]) == ("/books/{book_id}", 404, None)
    assert (request["request_id"], request["trace_id"]) == ("mine", "0af7651916cd43dd8448eb211c80319c")
    assert request["bytes"] > 100


def test_both_ways_make_the_same_line() -> None:
    record = logging.LogRecord("kit", logging.INFO, "", 0, "", None, None)
    for sent in (SENT, (*SENT[:2], None, 404, 0.1, 0, None, 'x"y', "0af7")):
        record.__dict__ |= {**log_lines.fields_of(sent), "created": sent[0]}
        log_lines.REQUEST_ID.set(sent[7])
        log_lines.CURRENT_TRACE.set(sent[8])
        assert json.loads(JSONLines().format(record)) == json.loads(json_line()(sent))
    log_lines.REQUEST_ID.set(None)
    log_lines.CURRENT_TRACE.set(None)


def test_a_line_for_people_is_short() -> None:
    assert text_line(SENT).endswith(" INFO    GET /books/{book_id} 200 1.2 ms  [an-id]\n")


def test_a_handler_of_the_application_gets_the_records_of_requests(
    written: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("kit").addHandler(caplog.handler)
    request_log.log_response(SENT)
    logging.getLogger("kit").removeHandler(caplog.handler)
    (record,) = caplog.records
    assert record.__dict__["route"] == "/books/{book_id}"
    log_writer.stop()
    assert lines(written.getvalue())[0]["route"] == "/books/{book_id}"


def alone() -> LogWriter:
    """Return the writer of the process, as the only handler: pytest adds its own when a test begins."""
    (writer,) = log_writer.writers
    logging.getLogger("kit").handlers = [writer]
    return writer


async def test_lines_are_written_without_a_further_call(written: io.StringIO) -> None:
    alone()
    for _ in range(3):
        request_log.log_response(SENT)
        await asyncio.sleep(0.03)  # the first one wakes the thread; those that follow are written with the next batch
    log_writer.start()  # a second time, which changes nothing
    await until(lambda: len(lines(written.getvalue())) == 3)


def test_a_file_is_written_by_its_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        writer = LogWriter(stream, JSONLines(), json_line())
        writer.start()
        writer.emit(logging.LogRecord("kit", logging.INFO, "", 0, "é", None, None))
        writer.stop()
        assert lines((tmp_path / "log").read_text())[0]["message"] == "é"


def test_lines_of_the_same_second_share_their_time() -> None:
    line_of = json_line()
    assert line_of(SENT) == line_of(SENT)


def test_a_full_queue_drops_lines_and_says_so(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = alone()
    writer.is_idle = False  # so that nobody wakes the thread
    monkeypatch.setattr(log_writer, "MAX_PENDING", 2)
    monkeypatch.setattr(request_log, "MAX_PENDING", 2)
    before = COUNTS[DROPPED]
    for number in range(3):
        logging.getLogger("kit").info("%s", number)
        request_log.log_response(SENT)
    assert COUNTS[DROPPED] - before == 4
    log_writer.stop()
    assert lines(written.getvalue())[-1]["message"] == "4 log lines were dropped: the output blocked."


def test_a_line_that_arrives_while_the_thread_falls_asleep_is_written(written: io.StringIO) -> None:
    (writer,) = log_writer.writers
    for number in range(200):
        writer.is_idle = number % 2 == 0
        logging.getLogger("kit").info("%s", number)
    log_writer.stop()
    assert len(lines(written.getvalue())) == 200


def test_arguments_that_do_not_fit_their_message_end_nothing(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logging.getLogger("kit").info("%d", "no number")
    log_writer.stop()
    assert written.getvalue() == ""


def test_a_closed_output_is_no_reason_to_fail() -> None:
    stream = io.StringIO()
    writer = LogWriter(stream, JSONLines(), json_line())
    stream.close()
    writer.write("a line\n")
    writer.is_stuck = True
    before = COUNTS[DROPPED]
    writer.write("a line\n")
    assert COUNTS[DROPPED] == before + 1


def test_a_pipe_in_non_blocking_mode_gets_every_line() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    read: list[bytes] = []

    def drain() -> None:
        time.sleep(0.1)
        while part := os.read(reading, 65536):
            read.append(part)

    thread = threading.Thread(target=drain)
    thread.start()
    log_writer.write_all(writing, b"x" * 300_000)
    os.close(writing)
    thread.join()
    os.close(reading)
    assert len(b"".join(read)) == 300_000


def test_a_forked_process_writes_by_itself(written: io.StringIO) -> None:
    (writer,) = log_writer.writers
    thread, wake = writer.thread, writer.wake
    log_writer.forget_threads()
    assert writer.thread is None
    logging.getLogger("kit").info("in the child")
    assert lines(written.getvalue())[-1]["message"] == "in the child"
    writer.thread = thread
    writer.stopping.set()
    wake.set()


@pytest.mark.parametrize("level", ["INFO", "ERROR"])
def test_other_loggers_have_levels_of_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    monkeypatch.setattr(logging.getLogger("elsewhere"), "propagate", False)  # pytest has handlers above it
    configure_logging(as_json=True, level="INFO", levels={"elsewhere": level, "elsewhere.inside": "DEBUG"})
    for name in ("elsewhere", "elsewhere.inside"):
        logging.getLogger(name).info("said")
    said = [line["logger"] for line in lines(capsys.readouterr().out)]
    assert said == (["elsewhere", "elsewhere.inside"] if level == "INFO" else ["elsewhere.inside"])
    configure_logging(as_json=True, level="INFO")
    assert logging.getLogger("elsewhere").handlers == []


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        (b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "0af7651916cd43dd8448eb211c80319c"),
        (b"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later", "0af7651916cd43dd8448eb211c80319c"),
        (b"00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
        (b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
        (b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", None),
        (b"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-" + 500 * b"x", None),
        (b'00-"},{"injected', None),
    ],
)
def test_only_valid_trace_ids_are_believed(header: bytes, trace_id: str | None) -> None:
    assert trace_id_of([header]) == trace_id
    assert trace_id_of([header, header]) is None


async def test_a_problem_has_the_id_of_its_trace(app: Service, client: Client) -> None:
    trace = {"traceparent": f"00-{'0af7651916cd43dd8448eb211c80319c'}-b7ad6b7169203331-01"}
    assert (await client.get("/books/7", headers=trace)).json()["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert "trace_id" not in (await client.get("/books/7")).json()
