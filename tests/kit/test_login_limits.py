"""Login limits: a number of failures for an account and for an address within the window; then a 429."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

import httpx
import pytest
from httpx import Response
from limits.errors import StorageError
from starlette.exceptions import HTTPException

from kit import Database, LoginLimits, Service
from kit.auth.counters import Counters
from tests.engines import url_of
from tests.kit.logins import PASSWORD, with_logins
from tests.kit.service import client_of
from tests.live import free_port, serving
from tests.waiting import TIMEOUT_SECONDS

WRONG = "wrong password"
SERVE = "tests.kit.logins:serve"


def limits(url: str = "memory://", *, per_account: int = 3, window: int = 60) -> LoginLimits:
    """Return limits of three failures for an account, and five from an address."""
    return LoginLimits(url, per_account=per_account, per_address=5, window=window)


@pytest.fixture
def strict(database: Database) -> Service:
    return with_logins(database, limits())


async def log_in(app: Service, account: str, password: str, address: str = "10.0.0.1") -> Response:
    async with client_of(app, address=address) as client:
        return await client.post("/logins/", json={"account": account, "password": password})


async def statuses(app: Service, account: str, *attempts: str, address: str = "10.0.0.1") -> list[int]:
    return [(await log_in(app, account, password, address)).status_code for password in attempts]


async def test_an_account_is_locked_after_failures_even_for_its_password(strict: Service) -> None:
    assert await statuses(strict, "natasha", *[WRONG] * 3, PASSWORD, WRONG) == [401, 401, 401, 429, 429]
    answer = await log_in(strict, "natasha", PASSWORD)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:problem:too-many-attempts"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


async def test_an_account_is_locked_for_every_address_ignoring_case(strict: Service) -> None:
    await statuses(strict, "natasha", *[WRONG] * 2)
    assert await statuses(strict, "NATASHA", WRONG, address="10.0.0.2") == [401]
    for username in ("natasha", "Natasha", "nAtAsHa"):
        assert await statuses(strict, username, PASSWORD, address="10.0.0.3") == [429]


async def test_an_ipv6_address_is_locked_with_its_network(strict: Service) -> None:
    for number in range(5):
        assert await statuses(strict, f"stranger{number}", WRONG, address=f"2001:db8::{number}") == [401]
    assert await statuses(strict, "steve", PASSWORD, address="2001:db8::1:2") == [429]
    assert await statuses(strict, "steve", PASSWORD, address="2001:db8:0:1::") == [204]


async def test_registrations_are_limited_for_each_network() -> None:
    limited = LoginLimits("memory://", per_account=3, per_address=5, window=60, registrations=2)
    for address in ("2001:db8::1", "2001:db8::2", "10.0.0.1"):
        await limited.count_registration(address)
    with pytest.raises(HTTPException) as refused:
        await limited.count_registration("2001:db8::3")
    assert refused.value.status_code == 429
    assert 1 <= int((refused.value.headers or {})["Retry-After"]) <= 60


async def test_other_accounts_are_not_locked(strict: Service) -> None:
    assert await statuses(strict, "natasha", *[WRONG] * 3, PASSWORD) == [401, 401, 401, 429]
    assert await statuses(strict, "steve", PASSWORD, PASSWORD) == [204, 204]


async def test_an_address_is_locked_after_failures_of_any_accounts(strict: Service) -> None:
    for number in range(5):
        assert await statuses(strict, f"stranger{number}", WRONG) == [401]
    assert await statuses(strict, "steve", PASSWORD) == [429]
    assert await statuses(strict, "steve", PASSWORD, address="10.0.0.2") == [204]


async def test_success_neither_counts_nor_resets_failures(strict: Service) -> None:
    assert await statuses(strict, "natasha", *[PASSWORD] * 7) == [204] * 7
    attempts = [WRONG, WRONG, PASSWORD, WRONG, PASSWORD]
    assert await statuses(strict, "natasha", *attempts) == [401, 401, 204, 401, 429]


async def test_an_unknown_account_is_locked_like_any_other(strict: Service) -> None:
    assert await statuses(strict, "nobody", *[WRONG] * 4) == [401, 401, 401, 429]


async def test_attempts_on_a_locked_account_do_not_extend_the_lock(strict: Service) -> None:
    await statuses(strict, "natasha", *[WRONG] * 3)
    first = int((await log_in(strict, "natasha", WRONG)).headers["Retry-After"])
    await statuses(strict, "natasha", *[WRONG] * 5)
    assert int((await log_in(strict, "natasha", WRONG)).headers["Retry-After"]) <= first
    assert await statuses(strict, "steve", PASSWORD) == [204]


async def test_the_right_password_works_after_the_window(strict: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await statuses(strict, "natasha", WRONG, WRONG, WRONG, PASSWORD) == [401, 401, 401, 429]
    wait = int((await log_in(strict, "natasha", PASSWORD)).headers["Retry-After"])
    later = time.time() + wait
    monkeypatch.setattr(time, "time", lambda: later - 30)
    assert await statuses(strict, "natasha", PASSWORD) == [429]
    monkeypatch.setattr(time, "time", lambda: later)
    assert await statuses(strict, "natasha", PASSWORD) == [204]


async def test_only_logins_are_counted(strict: Service) -> None:
    async with client_of(strict, "nonsense", "10.0.0.1") as client:
        assert {(await client.get("/books/")).status_code for _ in range(10)} == {401}
    assert await statuses(strict, "natasha", PASSWORD) == [204]


@asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[tuple[str, subprocess.Popen[bytes]]]:
    """Provide a Redis server on a free port."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("NOT TRIED WITH REDIS: there is no redis-server here; on Debian: apt install redis-server")
    port = free_port()
    process = subprocess.Popen(  # noqa: ASYNC220  it does not wait
        [program, "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
    )
    try:
        await until_it_listens(port)
        yield f"redis://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


async def until_it_listens(port: int) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return
    raise AssertionError("Redis does not listen")


@asynccontextmanager
async def counting_in(database: Database, url: str) -> AsyncIterator[Service]:
    """Provide a service that counts failures in this Redis."""
    counted = limits(url)
    yield with_logins(database, counted)
    await counted.close()


@pytest.mark.untraced
async def test_workers_that_share_a_redis_share_the_count(database: Database, tmp_path: Path) -> None:
    async with (
        redis(tmp_path) as (there, _),
        counting_in(database, there) as one,
        counting_in(database, there) as other,
    ):
        assert await statuses(one, "natasha", WRONG, WRONG) == [401, 401]
        assert await statuses(other, "natasha", WRONG, PASSWORD) == [401, 429]
        answer = await log_in(one, "natasha", PASSWORD)
        assert (answer.status_code, answer.headers["Retry-After"].isdigit()) == (429, True)


async def test_without_its_redis_the_service_refuses_every_login(database: Database, tmp_path: Path) -> None:
    async with redis(tmp_path) as (there, process), counting_in(database, there) as app:
        assert await statuses(app, "natasha", WRONG, PASSWORD) == [401, 204]
        process.terminate()
        process.wait(TIMEOUT_SECONDS)
        answer = await log_in(app, "natasha", PASSWORD)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["type"] == "urn:problem:unavailable"


async def test_an_unreachable_redis_is_a_503(database: Database) -> None:
    async with counting_in(database, f"redis://127.0.0.1:{free_port()}") as app:
        assert await statuses(app, "natasha", WRONG) == [503]


async def test_a_redis_that_fails_later_is_a_503(strict: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> bool:
        raise StorageError(OSError())

    monkeypatch.setattr(strict.runtime.login_limits.window, "hit", away)
    assert await statuses(strict, "natasha", PASSWORD, WRONG) == [204, 503]
    with pytest.raises(HTTPException, match="503"):
        await strict.runtime.login_limits.count_registration("10.0.0.1")


def tried(url: str, forwarded: str, number: int) -> int:
    login = {"account": f"stranger{number}", "password": WRONG}
    return httpx.post(
        f"{url}/logins/", json=login, headers={"X-Forwarded-For": forwarded}, timeout=TIMEOUT_SECONDS
    ).status_code


@pytest.mark.untraced
async def test_behind_a_trusted_proxy_the_forwarded_address_counts(database: Database, log_file: Path) -> None:
    with serving(url_of(database), log_file, "--factory", app=SERVE, FORWARDED_ALLOW_IPS="127.0.0.1") as server:
        first = [tried(server.url, "203.0.113.7", number) for number in range(3)]
        assert first == [401, 401, 429]
        assert tried(server.url, "203.0.113.8", 4) == 401
        assert tried(server.url, "198.51.100.1, 203.0.113.7", 5) == 429  # the proxy appends the address of its client


@pytest.mark.untraced
async def test_without_a_trusted_proxy_a_forged_address_does_not_help(database: Database, log_file: Path) -> None:
    with serving(url_of(database), log_file, "--factory", app=SERVE, FORWARDED_ALLOW_IPS="192.0.2.1") as server:
        attempts = [tried(server.url, f"203.0.113.{number}", number) for number in range(4)]
        assert attempts == [401, 401, 429, 429]


async def test_concurrent_attempts_do_not_exceed_the_limit(strict: Service) -> None:
    async def guess(number: int) -> int:
        return (await log_in(strict, "natasha", WRONG, address=f"10.0.1.{number}")).status_code

    codes = await asyncio.gather(*(guess(number) for number in range(30)))
    assert sorted(codes) == [401] * 3 + [429] * 27


@contextmanager
def redis_beside() -> Iterator[str]:
    """Provide a Redis server outside of any event loop."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("NOT TRIED WITH REDIS: there is no redis-server here; on Debian: apt install redis-server")
    port = free_port()
    command = [program, "--port", str(port), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            asyncio.run(until_it_listens(port))
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()


async def fail_at_once(counted: LoginLimits, times: int) -> list[int]:
    """Return the statuses of concurrent failed attempts, which wait for each other's locks."""

    async def fail() -> int:
        try:
            async with counted.attempt("natasha", "10.0.0.1") as failed:
                await asyncio.sleep(0.01)
                await failed()
        except HTTPException as refused:
            return refused.status_code
        return 401

    return sorted(await asyncio.gather(*(fail() for _ in range(times))))


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_each_event_loop_sees_the_counts_of_the_others(kind: str) -> None:
    with redis_beside() if kind == "redis" else nullcontext("memory://") as url:
        counted = LoginLimits(url, per_account=6, per_address=100, window=60)
        results = [asyncio.run(fail_at_once(counted, 3)) for _ in range(3)]
    assert results == [[401] * 3, [401] * 3, [429] * 3]


@pytest.mark.parametrize("url", ["memcached://127.0.0.1", "redis+cluster://127.0.0.1", "memory://elsewhere"])
def test_a_storage_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="memory://, redis://"):
        limits(url)


async def test_a_redis_without_a_port_has_the_usual_one() -> None:
    assert await Counters("redis://127.0.0.1.invalid", "fixed").is_reachable() is False
