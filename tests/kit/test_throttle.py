"""How often may it be tried: some failures for an account and for an address, and no more within the window."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from httpx import Response
from limits.errors import StorageError

from kit.database.databases import Database
from tests.conftest import url_of
from tests.live import PATIENCE, free_port, serving
from tests.people import PASSWORD, client_of, join, opened, production
from tests.shop import cheap_hashes

WRONG = "wrong password"
pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


@pytest.fixture
async def url(database: Database) -> str:
    """Of a database without rows."""
    return url_of(database)


@pytest.fixture
async def strict(url: str) -> AsyncIterator[FastAPI]:
    """A service that forgives three failures of an account, and five from an address."""
    async with opened(production(url, login_failures=3, login_failures_address=5, login_window=60)) as app:
        await join(app, username="natasha")
        await join(app, username="steve")
        yield app


async def log_in(app: FastAPI, username: str, password: str, address: str = "10.0.0.1") -> Response:
    async with client_of(app, address=address) as client:
        return await client.post("/auth/token", data={"username": username, "password": password})


async def statuses(app: FastAPI, username: str, *attempts: str, address: str = "10.0.0.1") -> list[int]:
    return [(await log_in(app, username, password, address)).status_code for password in attempts]


async def test_an_account_is_closed_after_some_failures_even_to_its_password(strict: FastAPI) -> None:
    assert await statuses(strict, "natasha", *[WRONG] * 3, PASSWORD, WRONG) == [401, 401, 401, 429, 429]
    answer = await log_in(strict, "natasha", PASSWORD)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:problem:too-many-attempts"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


async def test_it_is_closed_from_every_address_and_whatever_its_case(strict: FastAPI) -> None:
    await statuses(strict, "natasha", *[WRONG] * 2)
    assert await statuses(strict, "NATASHA", WRONG, address="10.0.0.2") == [401]
    for username in ("natasha", "Natasha", "nAtAsHa"):
        assert await statuses(strict, username, PASSWORD, address="10.0.0.3") == [429]


async def test_other_accounts_stay_open(strict: FastAPI) -> None:
    assert await statuses(strict, "natasha", *[WRONG] * 3, PASSWORD) == [401, 401, 401, 429]
    assert await statuses(strict, "steve", PASSWORD, PASSWORD) == [200, 200]


async def test_an_address_is_closed_after_some_failures_of_whichever_accounts(strict: FastAPI) -> None:
    for number in range(5):
        assert await statuses(strict, f"stranger{number}", WRONG) == [401]
    assert await statuses(strict, "steve", PASSWORD) == [429]
    assert await statuses(strict, "steve", PASSWORD, address="10.0.0.2") == [200]


async def test_success_does_not_count_and_forgives_nothing(strict: FastAPI) -> None:
    assert await statuses(strict, "natasha", *[PASSWORD] * 7) == [200] * 7
    attempts = [WRONG, WRONG, PASSWORD, WRONG, PASSWORD]
    assert await statuses(strict, "natasha", *attempts) == [401, 401, 200, 401, 429]


async def test_an_account_that_is_not_there_is_closed_like_any_other(strict: FastAPI) -> None:
    assert await statuses(strict, "nobody", *[WRONG] * 4) == [401, 401, 401, 429]


async def test_attempts_while_it_is_closed_do_not_keep_it_closed(strict: FastAPI) -> None:
    await statuses(strict, "natasha", *[WRONG] * 3)
    first = int((await log_in(strict, "natasha", WRONG)).headers["Retry-After"])
    await statuses(strict, "natasha", *[WRONG] * 5)
    assert int((await log_in(strict, "natasha", WRONG)).headers["Retry-After"]) <= first
    assert await statuses(strict, "steve", PASSWORD) == [200]


async def test_the_right_password_works_after_the_window(url: str) -> None:
    async with opened(production(url, login_failures=2, login_window=1)) as app:
        await join(app, username="natasha")
        assert await statuses(app, "natasha", WRONG, WRONG, PASSWORD) == [401, 401, 429]
        answer = await log_in(app, "natasha", PASSWORD)
        assert answer.headers["Retry-After"] == "1"
        await asyncio.sleep(1.1)
        assert await statuses(app, "natasha", PASSWORD) == [200]


async def test_only_logins_are_counted(strict: FastAPI) -> None:
    async with client_of(strict, "nonsense", "10.0.0.1") as client:
        assert {(await client.get("/heroes/")).status_code for _ in range(10)} == {401}
    assert await statuses(strict, "natasha", PASSWORD) == [200]


@asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Redis of our own on a free port."""
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
        process.wait(PATIENCE)


async def until_it_listens(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
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
async def counting_in(url: str, limits_url: str) -> AsyncIterator[FastAPI]:
    async with opened(production(url, login_failures=3, limits_url=limits_url)) as app:
        try:
            yield app
        finally:
            await app.state.throttle.window.storage.bridge.storage.aclose()


async def test_workers_that_share_a_redis_share_the_count(url: str, tmp_path: Path) -> None:
    async with redis(tmp_path) as (there, _), counting_in(url, there) as one, counting_in(url, there) as other:
        await join(one, username="natasha")
        assert await statuses(one, "natasha", WRONG, WRONG) == [401, 401]
        assert await statuses(other, "natasha", WRONG, PASSWORD) == [401, 429]
        answer = await log_in(one, "natasha", PASSWORD)
        assert (answer.status_code, answer.headers["Retry-After"].isdigit()) == (429, True)


async def test_without_its_redis_the_service_lets_nobody_try(url: str, tmp_path: Path) -> None:
    async with redis(tmp_path) as (there, process), counting_in(url, there) as app:
        await join(app, username="natasha")
        assert await statuses(app, "natasha", WRONG, PASSWORD) == [401, 200]
        process.terminate()
        process.wait(PATIENCE)
        answer = await log_in(app, "natasha", PASSWORD)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["type"] == "urn:problem:unavailable"


async def test_a_redis_that_was_never_there_is_a_503_too(url: str) -> None:
    async with counting_in(url, f"redis://127.0.0.1:{free_port()}") as app:
        assert await statuses(app, "natasha", WRONG) == [503]


async def test_a_redis_that_goes_meanwhile_is_a_503_too(strict: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> bool:
        raise StorageError(OSError())

    monkeypatch.setattr(strict.state.throttle.window, "hit", away)
    assert await statuses(strict, "natasha", PASSWORD, WRONG) == [200, 503]


LIVE = {"LOGIN_FAILURES": "100", "LOGIN_FAILURES_ADDRESS": "2", "REQUIRE_AUTH": "true"}


def tried(url: str, forwarded: str, number: int) -> int:
    form = {"username": f"stranger{number}", "password": WRONG}
    return httpx.post(f"{url}/auth/token", data=form, headers={"X-Forwarded-For": forwarded}).status_code


@pytest.fixture
def secret() -> dict[str, str]:
    return {"SECRET_KEY": "0123456789abcdef0123456789abcdef"}


async def test_behind_a_trusted_proxy_the_address_is_the_one_that_it_names(
    url: str, log_file: Path, secret: dict[str, str]
) -> None:
    with serving(url, log_file, **LIVE, **secret, FORWARDED_ALLOW_IPS="127.0.0.1") as server:
        first = [tried(server.url, "203.0.113.7", number) for number in range(3)]
        assert first == [401, 401, 429]
        assert tried(server.url, "203.0.113.8", 4) == 401
        assert tried(server.url, "198.51.100.1, 203.0.113.7", 5) == 429  # what the proxy saw comes last


async def test_without_a_trusted_proxy_a_forged_address_does_not_help(
    url: str, log_file: Path, secret: dict[str, str]
) -> None:
    with serving(url, log_file, **LIVE, **secret, FORWARDED_ALLOW_IPS="192.0.2.1") as server:
        attempts = [tried(server.url, f"203.0.113.{number}", number) for number in range(4)]
        assert attempts == [401, 401, 429, 429]


async def test_many_guesses_at_once_are_no_way_around(strict: FastAPI) -> None:
    async def guess(number: int) -> int:
        return (await log_in(strict, "natasha", WRONG, address=f"10.0.1.{number}")).status_code

    told = await asyncio.gather(*(guess(number) for number in range(30)))
    assert sorted(told) == [401] * 3 + [429] * 27
