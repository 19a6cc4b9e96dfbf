"""Retries: while the database is unavailable, or after a conflict, for a limited time."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from kit import Database, Problem, retried
from kit.database import retry
from kit.database.engines import Pool
from kit.database.errors import Unreachable
from kit.database.retry import CONFLICT_PAUSES, LONGEST_PAUSE, SHORTEST_PAUSE, after_conflict, while_unavailable
from kit.operations import unit_of_work
from tests.engines import Client, on_postgresql
from tests.kit.probes import BOOK, TIMEOUT_SECONDS, execute, new_book, read
from tests.kit.service import client_of, create_runtime, create_service

REFUSED = Unreachable("Connection refused")


class Clock:
    """A clock that only pauses advance, without waiting."""

    def __init__(self) -> None:
        self.now, self.pauses = 0.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("time", "asyncio"):
        monkeypatch.setattr(retry, module, clock)
    return clock


class Attempts:
    """An attempt that raises these failures, one per call, and then succeeds."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.number = iter(failures), 0

    async def __call__(self) -> str:
        self.number += 1
        for failure in self.failures:
            raise failure
        return "done"


def failure_of(code: str) -> DBAPIError:
    """Return an exception as SQLAlchemy raises it."""
    driver = Exception("It failed.")
    vars(driver)["sqlstate"] = code
    return DBAPIError("SELECT 1", None, driver)


def test_pauses_double_up_to_the_longest_and_none_is_shorter_than_half(clock: Clock) -> None:
    longest = [0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5]
    pauses = itertools.islice(while_unavailable(TIMEOUT_SECONDS), len(longest))
    for pause, most in zip(pauses, longest, strict=True):
        assert most / 2 <= pause <= most
    assert (longest[0], longest[-1]) == (SHORTEST_PAUSE, LONGEST_PAUSE)


def test_pauses_end_after_the_given_time(clock: Clock) -> None:
    for pause in while_unavailable(1.0):
        assert clock.now + pause <= 1.0
        clock.now += pause
    assert clock.now > 1.0 - LONGEST_PAUSE
    assert list(while_unavailable(0)) == []


def test_two_that_conflicted_do_not_pause_for_the_same_time() -> None:
    pauses = [list(after_conflict()) for _ in range(10)]
    for each in pauses:
        assert all(0 <= pause <= most for pause, most in zip(each, CONFLICT_PAUSES, strict=True))
    assert len({tuple(each) for each in pauses}) == 10


async def test_an_attempt_that_succeeds_is_not_repeated(clock: Clock) -> None:
    attempts = Attempts()
    assert await retried(attempts, TIMEOUT_SECONDS) == "done"
    assert (attempts.number, clock.pauses) == (1, [])


@pytest.mark.parametrize("failure", [REFUSED, *map(failure_of, ("08003", "25006", "57P03", "53300"))])
async def test_an_unavailable_database_is_retried(clock: Clock, failure: Exception) -> None:
    attempts = Attempts(*[failure] * 5)
    assert await retried(attempts, TIMEOUT_SECONDS) == "done"
    assert len(clock.pauses) == 5


async def test_a_database_that_stays_unavailable_is_a_503_after_the_given_time(clock: Clock) -> None:
    with pytest.raises(Problem) as raised:
        await retried(Attempts(*itertools.repeat(REFUSED, 1000)), 2.0)
    assert (raised.value.status_code, raised.value.extra) == (503, {"outcome": "not_applied"})
    assert 2.0 - LONGEST_PAUSE < clock.now <= 2.0


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_after_a_few_conflicts_the_failure_is_raised(clock: Clock, code: str) -> None:
    attempts = Attempts(*[failure_of(code)] * 100)
    with pytest.raises(Problem, match="503"):
        await retried(attempts, TIMEOUT_SECONDS)
    assert attempts.number == len(CONFLICT_PAUSES) + 1 == 4


async def test_conflicts_and_lost_connections_are_counted_separately(clock: Clock) -> None:
    failures = [failure_of("40001"), REFUSED, failure_of("40001"), REFUSED, REFUSED, failure_of("40P01")]
    assert await retried(Attempts(*failures), TIMEOUT_SECONDS) == "done"


@pytest.mark.parametrize("code", ["55P03", "53100", "57014", "23505", "3D000", "22003", "42601"])
async def test_a_permanent_failure_is_not_retried(clock: Clock, code: str) -> None:
    attempts = Attempts(failure_of(code))
    with pytest.raises((Problem, DBAPIError)) as raised:
        await retried(attempts, TIMEOUT_SECONDS)
    assert (attempts.number, clock.pauses) == (1, [])
    assert isinstance(raised.value, Problem) == (code != "42601")  # a programming error is raised unchanged


async def test_a_problem_is_no_failure_of_the_database(clock: Clock) -> None:
    attempts = Attempts(Problem(404, "The resource does not exist.", kind="not-found"))
    with pytest.raises(Problem, match="404"):
        await retried(attempts, TIMEOUT_SECONDS)
    assert attempts.number == 1


def test_a_read_waits_longer_than_a_write() -> None:
    assert retry.READ_SECONDS == 8
    assert retry.WRITE_SECONDS == 1


class UnavailableDatabase:
    """A PostgreSQL that refuses connections until the service has tried a few times."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch, tries: int) -> None:
        self.tries, self.asked = tries, 0
        self.database = Database(database.url, Pool())
        connect = self.database.writer.sync_engine.dialect.connect

        def refuse(*arguments: Any, **options: Any) -> Any:
            self.asked += 1
            if self.asked <= self.tries:
                options |= {"host": "127.0.0.1", "port": closed_port()}
            return connect(*arguments, **options)

        monkeypatch.setattr(self.database.writer.sync_engine.dialect, "connect", refuse)


def closed_port() -> int:
    with socket.socket() as anonymous:
        anonymous.bind(("127.0.0.1", 0))
        port: int = anonymous.getsockname()[1]
        return port


MakeUnavailable = Callable[[int], UnavailableDatabase]


def client_on(database: Database) -> Client:
    """Return a client of the bookshop on this database."""
    return client_of(create_service(create_runtime(database)))


@pytest.fixture
async def unavailable(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeUnavailable]:
    """Provide a PostgreSQL that refuses a number of connections, which are retried for as long as it takes."""
    for seconds in ("READ_SECONDS", "WRITE_SECONDS"):
        monkeypatch.setattr(unit_of_work, seconds, 20 * TIMEOUT_SECONDS)
    made: list[UnavailableDatabase] = []

    def go(tries: int) -> UnavailableDatabase:
        made.append(UnavailableDatabase(database, monkeypatch, tries))
        return made[-1]

    yield go
    for each in made:
        await each.database.dispose()


@on_postgresql
async def test_a_read_waits_for_an_unavailable_database(client: Client, unavailable: MakeUnavailable) -> None:
    book, gone = await new_book(client), unavailable(4)
    async with client_on(gone.database) as waiting:
        assert await read(waiting, "/books/") == [book]
    assert gone.asked == 5


@on_postgresql
async def test_a_write_before_its_commit_waits_too(client: Client, unavailable: MakeUnavailable) -> None:
    gone = unavailable(3)
    async with client_on(gone.database) as waiting:
        book = await new_book(waiting)
    assert gone.asked == 4
    assert await read(client, "/books/") == [book]


@on_postgresql
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_database_that_does_not_come_back_in_time_is_a_503(
    unavailable: MakeUnavailable, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    for seconds in ("READ_SECONDS", "WRITE_SECONDS"):
        monkeypatch.setattr(unit_of_work, seconds, 0.1)
    gone = unavailable(1000)
    async with client_on(gone.database) as waiting:
        answer = await waiting.request(method, "/books/", json=BOOK if method == "POST" else None)
    assert (answer.status_code, answer.json()["outcome"]) == (503, "not_applied")
    assert gone.asked > 1


@on_postgresql
async def test_connections_cut_while_idle_fail_no_request(database: Database) -> None:
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name"
    cut = Database(database.url, Pool(application_name="to-be-cut"))
    async with client_on(cut) as client:
        await asyncio.gather(*(new_book(client) for _ in range(5)))
        for ask in (read(client, "/books/"), new_book(client)):
            await execute(database, f"{others} = 'to-be-cut'")
            assert await ask
    await cut.dispose()


@pytest.mark.each_engine
@on_postgresql
async def test_a_connection_that_fails_during_its_setup_is_opened_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the setup of a new connection fail once with an unwrapped exception, as during a restart of the server."""
    set_up, failures = asyncpg.Connection.set_type_codec, [asyncpg.InterfaceError("connection is closed")]

    async def fail_once(self: Any, *arguments: Any, **options: Any) -> None:
        if failures:
            raise failures.pop()
        await set_up(self, *arguments, **options)

    monkeypatch.setattr(asyncpg.Connection, "set_type_codec", fail_once)
    new = Database(database.url)
    async with client_on(new) as client:
        assert await read(client, "/books/") == []
    assert not failures
    await new.dispose()
