"""Passwords: hashed with argon2id outside of the event loop, a bounded number at the same time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body
from pwdlib import PasswordHash
from pydantic import SecretStr, TypeAdapter, ValidationError

from kit import Database, Password, Problem, allowing, hashed, verified
from kit.auth import passwords
from kit.http.fairness import CURRENT_CALLER
from tests import hashing
from tests.engines import Client
from tests.hashing import BlockingHasher
from tests.kit.probes import TIMEOUT_SECONDS, new_book
from tests.kit.service import client_of, create_runtime, create_service

blocking_hasher = hashing.blocking_hasher
SECRET = "Zq9-swordfish"  # noqa: S105  to be looked for


@pytest.mark.untraced
async def test_a_hash_is_argon2id_with_a_salt_of_its_own() -> None:
    first, second = [await hashed(SecretStr(SECRET)) for _ in range(2)]
    assert first != second
    assert first.startswith("$argon2id$v=19$m=65536,t=3,")
    assert PasswordHash.recommended().verify(SECRET, first)
    assert not PasswordHash.recommended().verify(SECRET.lower(), first)


router = APIRouter(prefix="/probes", tags=["probes"], route_class=allowing())


@router.post("/secrets", status_code=204)
async def hash_it(secret: Annotated[Password, Body(embed=True)]) -> None:
    await hashed(secret)


@pytest.fixture
async def probed(database: Database) -> AsyncIterator[Client]:
    async with client_of(create_service(create_runtime(database), router)) as client:
        yield client


async def test_other_requests_are_answered_while_a_password_is_hashed(
    probed: Client, blocking_hasher: BlockingHasher
) -> None:
    hashing = asyncio.create_task(probed.post("/probes/secrets", json={"secret": SECRET}))
    await blocking_hasher.has_started()
    book = await new_book(probed)
    assert (await probed.get("/books/")).json() == [book]
    assert not hashing.done()
    blocking_hasher.released.set()
    assert (await hashing).status_code == 204
    assert blocking_hasher.threads == {"argon2_0"}


async def test_a_bounded_number_of_hashes_waits(
    blocking_hasher: BlockingHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords.current_queues().others, "max_waiting", 2)
    waiting = [asyncio.create_task(hashed(SecretStr(SECRET))) for _ in range(3)]
    await blocking_hasher.has_started()
    with pytest.raises(Problem) as refused:
        await hashed(SecretStr(SECRET))
    assert refused.value.status_code == 503
    assert refused.value.headers == {"Retry-After": "1"}
    blocking_hasher.released.set()
    await asyncio.gather(*waiting)
    assert await hashed(SecretStr(SECRET))


async def test_a_caller_has_a_bounded_number_of_waiting_hashes(
    blocking_hasher: BlockingHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MAX_OF_CALLER", 2)
    waiting = [asyncio.create_task(hashed(SecretStr(SECRET))) for _ in range(3)]
    await blocking_hasher.has_started()
    with pytest.raises(Problem) as refused:
        await hashed(SecretStr(SECRET))
    assert (refused.value.status_code, refused.value.headers) == (429, {"Retry-After": "1"})
    login = asyncio.create_task(verified(SECRET, None))
    blocking_hasher.released.set()
    await asyncio.gather(*waiting, login)


async def test_a_cancelled_hash_releases_its_slot(
    blocking_hasher: BlockingHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords.current_queues().others, "max_waiting", 0)
    waiting = asyncio.create_task(hashed(SecretStr(SECRET)))
    await blocking_hasher.has_started()
    waiting.cancel()
    await asyncio.wait([waiting])
    blocking_hasher.released.set()
    assert await hashed(SecretStr(SECRET))


async def test_too_many_waiting_hashes_are_a_503(
    probed: Client, blocking_hasher: BlockingHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords.current_queues().others, "max_waiting", 0)
    hashing = asyncio.create_task(hashed(SecretStr(SECRET)))
    await blocking_hasher.has_started()
    answer = await probed.post("/probes/secrets", json={"secret": SECRET})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    blocking_hasher.released.set()
    assert await hashing


async def served(blocking_hasher: BlockingHasher, *works: tuple[str, Awaitable[object]]) -> list[str]:
    """Return the callers of these works, begun in this order, in the order in which their hashes were made."""
    done: list[str] = []

    async def note(caller: str, work: Awaitable[object]) -> None:
        CURRENT_CALLER.set(caller)
        await work
        done.append(caller)

    tasks = [asyncio.create_task(note(*work)) for work in works]
    await blocking_hasher.has_started()
    blocking_hasher.released.set()
    await asyncio.gather(*tasks)
    return done


def new(caller: str) -> tuple[str, Awaitable[object]]:
    return caller, hashed(SecretStr(SECRET))


def login(caller: str) -> tuple[str, Awaitable[object]]:
    return caller, verified(SECRET, None)


async def test_a_password_that_cannot_be_normalised_matches_nothing() -> None:
    assert await verified("x" + "\u0301" * 31, None) == (False, None)


@pytest.fixture
async def costs(blocking_hasher: BlockingHasher) -> passwords.Costs:
    """What callers cost lately: nothing, which is not halved while a test runs."""
    costs = passwords.current_queues().costs
    costs.clear()
    costs.next_halving = asyncio.get_running_loop().time() + 10 * TIMEOUT_SECONDS
    return costs


async def test_a_login_does_not_wait_for_new_passwords(
    blocking_hasher: BlockingHasher, costs: passwords.Costs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking_hasher, "verify_and_update", lambda *_: (True, None))
    waiting = [asyncio.create_task(hashed(SecretStr(SECRET))) for _ in range(3)]
    await blocking_hasher.has_started()
    assert await asyncio.wait_for(verified(SECRET, None), TIMEOUT_SECONDS) == (True, None)
    blocking_hasher.released.set()
    await asyncio.gather(*waiting)


async def test_a_login_does_not_wait_for_guesses(blocking_hasher: BlockingHasher, costs: passwords.Costs) -> None:
    blocking_hasher.released.set()
    blocking_hasher.is_right = False
    await served(blocking_hasher, *[login(caller) for caller in "abcd" for _ in range(5)])
    blocking_hasher.threads.clear()
    await served(blocking_hasher, login("a"), login("d"))
    assert blocking_hasher.threads == {"argon2_0"}
    await served(blocking_hasher, login("modest"))
    assert blocking_hasher.threads == {"argon2_0", "argon2-login_0"}


async def test_of_new_passwords_those_of_the_cheapest_caller_are_next(
    blocking_hasher: BlockingHasher, costs: passwords.Costs
) -> None:
    costs["new often"] = 40
    order = await served(blocking_hasher, new("first"), *[new("often") for _ in range(3)], new("other"), new("other"))
    assert order == ["first", "other", "other", "often", "often", "often"]


async def test_costs_are_halved_and_forgotten(blocking_hasher: BlockingHasher, costs: passwords.Costs) -> None:
    blocking_hasher.released.set()
    await served(blocking_hasher, *[new("often") for _ in range(4)], new("once"), login("once"))
    assert costs == {"new often": 80, "new once": 20, "login once": 1}
    costs.next_halving = 0
    await served(blocking_hasher, new("other"))
    assert costs == {"new often": 40, "new once": 10, "new other": 20}


async def test_a_failed_login_costs_more(blocking_hasher: BlockingHasher, costs: passwords.Costs) -> None:
    blocking_hasher.released.set()
    await served(blocking_hasher, login("good"))
    blocking_hasher.is_right = False
    await served(blocking_hasher, login("guessing"))
    assert costs == {"login good": 1, "login guessing": 20}


@pytest.mark.parametrize(
    "password", ["x" * 7, "x" * 129, "x" * 8 + "\u0301" * 31, "x" * 8 + "\0", "x" * 8 + "\udfff", 12345678, None]
)
def test_a_password_is_8_to_128_storable_characters(password: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[SecretStr](Password).validate_python(password)


def test_the_repr_of_a_password_does_not_show_it() -> None:
    password = TypeAdapter[SecretStr](Password).validate_python(SECRET)
    assert SECRET not in f"{password!r} {password}"


@pytest.mark.parametrize(
    ("length", "sentence"), [(7, "should have at least 8 characters"), (129, "should have at most 128 characters")]
)
def test_the_length_of_a_password_is_told_in_characters(length: int, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence) as refused:
        TypeAdapter[SecretStr](Password).validate_python("x" * length)
    assert refused.value.error_count() == 1
