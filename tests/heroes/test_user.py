"""Users: unique names and addresses, ignoring case, and passwords that no response or log contains."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from httpx import Response
from pwdlib import PasswordHash
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from heroes.user import MAX_BULK_USERS, User, UserCreate, UserReplace, UserUpdate
from kit.database.databases import Database
from tests.captured_log import CapturedLog, capturing
from tests.engines import Client
from tests.rows import Json, cheap_hashes, ids, new_user, read, user_body

SECRET = "Zq9-swordfish"  # noqa: S105  to be looked for
BAD_PASSWORDS = [SECRET[:5], SECRET * 11, f"{SECRET}\0", f"{SECRET}\ud800", [SECRET], {SECRET: SECRET}]
FIELDS = {"username", "email", "full_name", "is_active", "is_superuser"}
NO_ADDRESSES = (
    *(
        "",
        "a",
        "a@",
        "@example.com",
        "a@b@c.com",
        "a b@example.com",
        " a@example.com",
        "a@example.com\n",
        "a@localhost",
    ),
    *(
        "A <a@example.com>",
        "a@example..com",
        "a\0@example.com",
        "a\ud800@example.com",
        "ä@example.com",
        "a@exämple.com",
    ),
    *("a" * 65 + "@example.com", "@".join(["a", *[".".join("bcdef" * 13 for _ in range(4))]]), None, 5, True),
)
pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


@pytest.fixture
def log() -> Iterator[CapturedLog]:
    with capturing("kit", "uvicorn", "asyncio", level=logging.DEBUG) as log:
        yield log


def cased(word: str, number: int) -> str:
    """Return the word in one of its spellings by case."""
    return "".join(letter.upper() if number >> place & 1 else letter for place, letter in enumerate(word))


async def send(client: Client, method: str, path: str, body: Any) -> Response:
    """Send JSON in ASCII, which may contain a lone surrogate."""
    return await client.request(method, path, content=json.dumps(body), headers={"content-type": "application/json"})


async def hash_of(database: Database, user: Json) -> str:
    async with database.write() as session:
        return (await session.exec(select(User.hashed_password).where(User.id == user["id"]))).one()


@pytest.mark.parametrize(("field", "value"), [("username", "natasha"), ("email", "natasha@example.com")])
async def test_of_concurrent_registrations_with_one_name_ignoring_case_one_succeeds(
    client: Client, field: str, value: str
) -> None:
    bodies = [user_body(**{field: cased(value, number)}) for number in range(12)]  # one caller may wait for 15 hashes
    answers = await asyncio.gather(*(client.post("/users/", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 11]
    for answer in answers:
        assert answer.status_code == 201 or answer.json()["errors"][0]["pointer"] == f"#/{field}"
        assert answer.status_code == 201 or field in answer.json()["detail"]
    assert len(await read(client, "/users/")) == 1


@pytest.mark.parametrize(("field", "value"), [("username", "NATASHA"), ("email", "Natasha@EXAMPLE.com")])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_change_to_a_taken_name_is_a_conflict(client: Client, method: str, field: str, value: str) -> None:
    await new_user(client, username="natasha", email="natasha@example.com")
    other = await new_user(client)
    answer = await client.request(method, f"/users/{other['id']}", json={**identity(other), field: value})
    assert answer.status_code == 409
    assert field in answer.json()["detail"]
    assert await read(client, f"/users/{other['id']}") == other


def identity(user: Json) -> Json:
    return {"username": user["username"], "email": user["email"]}


async def test_names_keep_their_case_and_can_change_it(client: Client) -> None:
    user = await new_user(client, username="NaTaSha", email="NaTaSha@Example.COM")
    assert identity(user) == {"username": "NaTaSha", "email": "NaTaSha@Example.COM"}
    assert set(user) == FIELDS | {"id", "version", "created_at", "updated_at"}
    answer = await client.patch(f"/users/{user['id']}", json={"username": "natasha"})
    assert answer.json()["username"] == "natasha"
    assert (await read(client, "/users/"))[0]["email"] == "NaTaSha@Example.COM"


@pytest.mark.parametrize(
    "email", ["a@example.com", "first.last+tag@sub.example.co", "x@no-such-host.invalid.example", "o'hara@example.com"]
)
async def test_an_address_is_validated_without_network_access(
    client: Client, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("A name was looked up")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    assert (await new_user(client, email=email))["email"] == email


@pytest.mark.parametrize("email", NO_ADDRESSES)
async def test_an_invalid_address_is_refused(client: Client, email: Any) -> None:
    answer = await send(client, "POST", "/users/", user_body(email=email))
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/email"]


@pytest.mark.parametrize("username", ["ab", "a" * 51, "na tasha", "nätasha", "natasha\n", "a@b.com", "", None, 777])
async def test_a_username_is_3_to_50_plain_characters(client: Client, username: Any) -> None:
    answer = await client.post("/users/", json=user_body(username=username))
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {"#/username"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("password", [*BAD_PASSWORDS, 918273645546, True, None])
async def test_an_invalid_password_is_refused_without_repeating_it(
    client: Client, log: CapturedLog, method: str, password: Any
) -> None:
    path = f"/users/{(await new_user(client))['id']}" if method != "POST" else "/users/"
    answer = await send(client, method, path, user_body(password=password))
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {"#/password"}
    for told in (answer.text, log.text):
        assert "Zq9" not in told
        assert "918273645546" not in told


async def test_passwords_of_8_and_of_128_characters_are_accepted(client: Client) -> None:
    for password in ("x" * 8, "é" * 128):
        await new_user(client, password=password)


async def test_a_password_is_in_no_response_log_line_or_error(client: Client, log: CapturedLog) -> None:
    user = await new_user(client, password=SECRET)
    path, body = f"/users/{user['id']}", user_body(password=SECRET)
    asked = [
        await client.get("/users/", params={"q": user["username"]}),
        await client.get(path),
        await client.patch(path, json={"password": SECRET + "!"}),
        await client.put(path, json=body),
        await client.post("/users/", json=body | {"username": "?"}),
        await client.post("/users/", json=body),
        await client.post("/users/bulk", json=[user_body(password=SECRET), body]),
        await client.post("/users/bulk?on_error=skip", json=[user_body(password=SECRET), body, SECRET]),
        await client.get("/users/", params={"password": SECRET}),
    ]
    assert [answer.status_code for answer in asked] == [200, 200, 200, 200, 422, 409, 409, 207, 422]
    for told in (*(answer.text for answer in asked), log.text):
        assert "Zq9" not in told
        assert "argon2" not in told


@pytest.mark.parametrize("field", ["hashed_password", "hashedPassword", "password_hash"])
async def test_a_client_cannot_set_a_hash(client: Client, database: Database, field: str) -> None:
    answer = await client.post("/users/", json=user_body(**{field: "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA"}))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"#/{field}"


def test_a_password_is_in_no_repr() -> None:
    for variant in (UserCreate, UserReplace, UserUpdate):
        body: Any = variant.model_validate(user_body(password=SECRET))
        assert SECRET not in f"{body!r} {body} {body.model_dump()} {body.model_dump_json()}"
    user = User(**user_body(), hashed_password=f"$argon2id${SECRET}")
    assert SECRET not in f"{user!r} {user}"


async def test_a_database_error_does_not_contain_the_hash(database: Database) -> None:
    user: Json = {"username": "natasha", "email": "natasha@example.com", "hashed_password": f"$argon2id${SECRET}"}
    async with database.write() as session:
        session.add_all([User(**user), User(**user)])
        with pytest.raises(IntegrityError) as failure:
            await session.flush()
    assert SECRET not in str(failure.value)


async def test_a_password_is_stored_as_its_argon2id_hash(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    kept = await hash_of(database, await new_user(client, password=SECRET))
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,")
    assert PasswordHash.recommended().verify(SECRET, kept)
    async with database.connect() as connection:
        row = (await connection.execute(text('SELECT * FROM "user"'))).one()
    assert SECRET not in str(row)


async def test_equal_passwords_have_different_hashes(client: Client, database: Database) -> None:
    users = [await new_user(client, password=SECRET) for _ in range(2)]
    assert len({await hash_of(database, user) for user in users}) == 2


async def test_put_without_a_password_keeps_the_password(client: Client, database: Database) -> None:
    user = await new_user(client, full_name="Natasha Roman", is_superuser=True)
    before = await hash_of(database, user)
    answer = await client.put(f"/users/{user['id']}", json=identity(user))
    assert answer.json()["full_name"] is None
    assert answer.json()["is_superuser"] is False
    assert await hash_of(database, user) == before


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_new_password_is_a_new_hash_and_a_new_version(client: Client, database: Database, method: str) -> None:
    user = await new_user(client)
    answer = await client.request(method, f"/users/{user['id']}", json=identity(user) | {"password": SECRET})
    assert answer.json()["version"] == 2
    assert PasswordHash.recommended().verify(SECRET, await hash_of(database, user))


async def test_a_change_without_a_password_keeps_the_password(client: Client, database: Database) -> None:
    user = await new_user(client)
    before = await hash_of(database, user)
    await client.patch(f"/users/{user['id']}", json={"full_name": "Natasha"})
    assert await hash_of(database, user) == before


async def test_users_are_sorted_by_newest_first_by_default(client: Client) -> None:
    made_in_order = [(await new_user(client))["id"] for _ in range(3)]
    assert await ids(client, "/users/") == made_in_order[::-1]
    assert await ids(client, "/users/", sort="created_at") == made_in_order
    page = await client.get("/users/?limit=2")
    assert await ids(client, page.links["next"]["url"]) == made_in_order[:1]


async def test_the_name_of_a_deleted_user_is_free(client: Client) -> None:
    user = await new_user(client, username="natasha", email="natasha@example.com")
    await client.delete(f"/users/{user['id']}")
    again = await new_user(client, username="Natasha", email="Natasha@example.com")
    assert again["id"] > user["id"]


async def test_a_bulk_of_users_is_bounded(client: Client) -> None:
    answer = await client.post("/users/bulk", json=[user_body() for _ in range(MAX_BULK_USERS + 1)])
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#"]
