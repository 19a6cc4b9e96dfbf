"""Tokens: issued for a username and a password; forged, expired and invalidated tokens are refused."""

import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from httpx import Response
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import select

from heroes.user import User
from kit import Service
from kit.auth import passwords
from settings import NAME
from tests.accounts import PASSWORD, join
from tests.application import KEY, opened, production
from tests.clients import client_of
from tests.engines import Client, url_of
from tests.people import Person
from tests.rows import Json, cheap_hashes, made, read, user_body

SERVICE = "/users/"
OTHER_KEY = "fedcba9876543210fedcba9876543210"
FORM = {"username": "natasha", "password": PASSWORD}
ENCODED = {"content-type": "application/x-www-form-urlencoded"}
BOUNDARY = {"content-type": "multipart/form-data; boundary=x"}
HOSTILE: list[tuple[bytes, dict[str, str]]] = [
    (b"", {}),
    (b"", ENCODED),
    (b"username=natasha", ENCODED),
    (b"password=x", ENCODED),
    (b"username=&password=", ENCODED),
    (b"username=natasha&password=x&grant_type=implicit", ENCODED),
    (b"username=a&username=natasha&password=x&password=y", ENCODED),
    (b"username=natasha%00&password=%00", ENCODED),
    (b"username=%ED%A0%80&password=%ED%B0%80", ENCODED),
    (b"username=%ff%fe&password=%zz", ENCODED),
    (b"username=natasha'--&password=%27%20OR%201=1", ENCODED),
    (b"username=natasha&password=" + b"x" * 15_000, ENCODED),
    (b"&&&===;;;", ENCODED),
    (b"username=" + "ſteve".encode() + b"&password=x", ENCODED),
    (json.dumps(FORM).encode(), {"content-type": "application/json"}),
    (json.dumps(FORM).encode(), ENCODED),
    (b"\xff\xfe\x00", {"content-type": "text/plain"}),
    (b"nonsense", BOUNDARY),
    (b"--x\r\nnonsense", BOUNDARY),
    (b"--x\r\n\r\n\r\n--x--\r\n", BOUNDARY),
    (b"--x", {"content-type": "multipart/form-data"}),
    (b'--x\r\nContent-Disposition: form-data; name="username"; filename="a"\r\n\r\nb\r\n--x--\r\n', BOUNDARY),
    (b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\n\xff\x00\r\n--x--\r\n', BOUNDARY),
]
pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


async def log_in(client: Client, username: str = "natasha", password: str = PASSWORD) -> Response:
    return await client.post("/auth/token", data={"username": username, "password": password})


async def token_for(client: Client, username: str = "natasha", password: str = PASSWORD) -> str:
    answer = await log_in(client, username, password)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


async def status_with(app: Service, token: str) -> int:
    async with client_of(app, token) as client:
        return (await client.get("/users/me")).status_code


def claims(**changes: Any) -> Json:
    """Return the claims of a token. A claim that is None is left out."""
    now = datetime.now(UTC)
    sound = {"iss": NAME, "aud": NAME, "iat": now, "exp": now + timedelta(hours=1), "jti": uuid.uuid4().hex}
    content = sound | {"sub": "1", "gen": 0} | changes
    return {name: value for name, value in content.items() if value is not None}


def signed(content: Json, key: str = KEY, algorithm: str = "HS256", **headers: Any) -> str:
    return jwt.encode(content, key, algorithm, headers=headers)


def part(content: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


def unsigned(user: str) -> str:
    times = {"iat": int(ago(minutes=1).timestamp()), "exp": int(ago(hours=-1).timestamp())}
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims(sub=user) | times)}."


BAD_TOKENS: dict[str, Callable[[str], str]] = {
    "expired": lambda user: signed(claims(sub=user, exp=ago(seconds=10))),
    "of another audience": lambda user: signed(claims(sub=user, aud="villains")),
    "of no audience": lambda user: signed(claims(sub=user, aud=None)),
    "of another issuer": lambda user: signed(claims(sub=user, iss="villains")),
    "signed with another key": lambda user: signed(claims(sub=user), OTHER_KEY),
    "signed with nothing": unsigned,
    "signed with none, and a signature": lambda user: unsigned(user) + signed(claims(sub=user)).rpartition(".")[2],
    "of a stronger algorithm": lambda user: signed(claims(sub=user), KEY * 2, "HS512"),
    "of a stronger algorithm, same key": lambda user: forged(user, "HS512"),
    "of an algorithm with public keys": lambda user: forged(user, "RS256"),
    "of an unknown algorithm": lambda user: forged(user, "XY"),
    "with a critical header": lambda user: signed(claims(sub=user), crit=["x"], x=1),
    "not issued yet": lambda user: signed(claims(sub=user, iat=ago(hours=-1))),
    "not valid yet": lambda user: signed(claims(sub=user, nbf=ago(hours=-1))),
    "of a subject that is no number": lambda user: signed(claims(sub="natasha")),
    "of a subject beyond all numbers": lambda user: signed(claims(sub="9" * 30)),
    "of a subject below them": lambda user: signed(claims(sub="-" + "9" * 30)),
    "of an endless subject": lambda user: signed(claims(sub="9" * 5000)),
    "of nobody": lambda user: signed(claims(sub=str(int(user) + 1000))),
    "of another generation": lambda user: signed(claims(sub=user, gen=1)),
    "of a generation that is no number": lambda user: signed(claims(sub=user, gen="x")),
    "of a list of generations": lambda user: signed(claims(sub=user, gen=[0])),
    "with nonsense for a time": lambda user: signed(claims(sub=user, exp="tomorrow")),
    "changed": lambda user: signed(claims(sub="999")).rpartition(".")[0] + "." + signed(claims(sub=user)).split(".")[2],
    "cut short": lambda user: signed(claims(sub=user))[:-5],
    "nonsense": lambda user: "nonsense",
    "dots": lambda user: "...",
    "empty": lambda user: "",
    "blank": lambda user: "   ",
    "not ASCII": lambda user: "tökén.ÿ.ÿ",
    "10 kB": lambda user: "x" * 10_000,
    "10 kB of parts": lambda user: "e30." * 2_500,
    "JSON": lambda user: part({"alg": "HS256"}) + "." + part([1]) + ".AAAA",  # type: ignore[arg-type]  # no object
}
BAD_TOKENS |= {
    f"without {name}": lambda user, name=name: signed(claims(**{"sub": user, name: None}))  # type: ignore[misc]  # a lambda has no types
    for name in ("iss", "exp", "iat", "jti", "sub", "gen")
}


def forged(user: str, algorithm: str) -> str:
    """Return a token with another `alg` in its header, and a valid signature of the service."""
    _, body, signature = signed(claims(sub=user)).split(".")
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{body}.{signature}"


async def test_a_username_and_a_password_get_a_token(anonymous: Client, guarded: Service, natasha: Person) -> None:
    answer = await log_in(anonymous)
    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "token_type", "expires_in"}
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 3600)
    assert answer.headers["Cache-Control"] == "no-store"
    async with client_of(guarded, answer.json()["access_token"]) as client:
        assert (await read(client, "/users/me"))["id"] == natasha.id


async def test_a_token_has_the_required_claims_and_no_private_data(anonymous: Client, natasha: Person) -> None:
    first, second = [await token_for(anonymous) for _ in range(2)]
    content = jwt.decode(first, KEY, ["HS256"], audience=NAME, issuer=NAME)
    assert jwt.get_unverified_header(first)["alg"] == "HS256"
    assert set(content) == {"iss", "aud", "iat", "exp", "jti", "sub", "gen"}
    assert (content["sub"], content["gen"], content["exp"] - content["iat"]) == (str(natasha.id), 0, 3600)
    assert content["jti"] != jwt.decode(second, options={"verify_signature": False})["jti"]


@pytest.mark.parametrize("username", ["NATASHA", "Natasha", "nAtAsHa"])
async def test_login_ignores_the_case_of_the_username_but_not_of_the_password(
    username: str, anonymous: Client, natasha: Person
) -> None:
    assert (await log_in(anonymous, username)).status_code == 200
    assert (await log_in(anonymous, username, PASSWORD.upper())).status_code == 401


async def test_the_login_accepts_the_form_of_oauth2(anonymous: Client, natasha: Person) -> None:
    more = {"grant_type": "password", "scope": "", "client_id": "swagger", "client_secret": "x"}
    assert (await anonymous.post("/auth/token", data=FORM | more)).status_code == 200
    parts = {name: (None, value) for name, value in FORM.items()}
    assert (await anonymous.post("/auth/token", files=parts)).status_code == 200
    assert (await anonymous.post("/auth/token/", data=FORM)).status_code == 200


@pytest.mark.parametrize("field", ["username", "password", "scope"])
async def test_a_field_that_is_given_twice_is_refused(field: str, anonymous: Client, natasha: Person) -> None:
    twice = {**FORM, "scope": ""} | {field: [FORM.get(field, "")] * 2}
    answer = await anonymous.post("/auth/token", data=twice)
    assert (answer.status_code, answer.json()["detail"]) == (400, "The form has a field more than once.")


class RecordingHasher:
    """A hasher that records its verifications."""

    def __init__(self, hasher: Any) -> None:
        self.hasher, self.hash, self.against = hasher, hasher.hash, list[str]()

    def verify_and_update(self, password: str, known: str) -> tuple[bool, str | None]:
        self.against.append(known)
        result: tuple[bool, str | None] = self.hasher.verify_and_update(password, known)
        return result


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch, cheap_hashes: None) -> RecordingHasher:
    spy = RecordingHasher(passwords.hasher)
    monkeypatch.setattr(passwords, "hasher", spy)
    return spy


async def test_every_refused_login_gets_the_same_response_after_one_hash(
    anonymous: Client, guarded: Service, natasha: Person, spy: RecordingHasher
) -> None:
    await join(guarded, username="sleeper", is_active=False)
    attempts = [("stranger", PASSWORD), ("natasha", "wrong password"), ("sleeper", PASSWORD), ("no name!", PASSWORD)]
    told = []
    for username, password in attempts:
        answer = await log_in(anonymous, username, password)
        problem = answer.json()
        del problem["request_id"]
        told.append((answer.status_code, problem, answer.headers["WWW-Authenticate"], set(answer.headers)))
    assert told[0][:3] == (401, told[0][1], "Bearer")
    assert told == [told[0]] * 4
    assert len(spy.against) == 4
    assert [known == passwords.UNKNOWN_USER_HASH for known in spy.against] == [True, False, False, True]


def test_the_hash_for_unknown_users_costs_as_much_as_a_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    real = passwords.hasher.hash(PASSWORD)
    assert passwords.UNKNOWN_USER_HASH.split("$")[:4] == real.split("$")[:4]
    assert [len(part) for part in passwords.UNKNOWN_USER_HASH.split("$")] == [len(part) for part in real.split("$")]
    assert passwords.hasher.verify_and_update(PASSWORD, passwords.UNKNOWN_USER_HASH) == (False, None)


async def test_the_token_of_a_deleted_user_is_invalid_for_a_new_user_with_the_same_id(
    guarded: Service, anonymous: Client
) -> None:
    async def account() -> str:
        created = await anonymous.post("/users/", json=user_body(username="natasha", password=PASSWORD))
        async with guarded.runtime.database.writer.begin() as connection:
            await connection.execute(text('UPDATE "user" SET id = 7 WHERE id = :id'), {"id": created.json()["id"]})
        return await token_for(anonymous)

    old = await account()
    async with client_of(guarded, old) as client:
        assert (await client.delete("/users/7")).status_code == 204
    assert await status_with(guarded, await account()) == 200
    assert await status_with(guarded, old) == 401


async def test_a_valid_token_of_these_tests_is_accepted(guarded: Service, natasha: Person) -> None:
    assert await status_with(guarded, signed(claims(sub=str(natasha.id)))) == 200
    assert await status_with(guarded, signed(claims(sub=str(natasha.id), more="x"), kid="1")) == 200


@pytest.mark.parametrize("kind", [*BAD_TOKENS])
async def test_an_invalid_token_is_a_401(kind: str, anonymous: Client, natasha: Person) -> None:
    token = BAD_TOKENS[kind](str(natasha.id))
    headers = {b"authorization": f"Bearer {token}".encode("latin-1")}
    for method, path in (("GET", "/users/me"), ("GET", SERVICE), ("POST", "/users/bulk")):
        answer = await anonymous.request(method, path, headers=headers, json={} if method == "POST" else None)
        assert answer.status_code == 401, answer.text
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["type"] == "urn:problem:unauthenticated"


@pytest.mark.parametrize("kind", [*BAD_TOKENS])
async def test_an_invalid_token_is_ignored_by_public_routes(kind: str, anonymous: Client, natasha: Person) -> None:
    headers = {b"authorization": f"Bearer {BAD_TOKENS[kind](str(natasha.id))}".encode("latin-1")}
    assert (await anonymous.post("/auth/token", data=FORM, headers=headers)).status_code == 200
    user = await anonymous.post("/users/", json=user_body(is_superuser=True), headers=headers)
    assert (user.status_code, user.json()["is_superuser"]) == (201, False)
    assert (await anonymous.get("/health/live", headers=headers)).status_code == 200


@pytest.mark.parametrize("scheme", ["Basic", "bearer2", "Token", "", "Negotiate"])
async def test_another_scheme_is_a_401(scheme: str, anonymous: Client, natasha: Person) -> None:
    answer = await anonymous.get(SERVICE, headers={"Authorization": f"{scheme} {natasha.token}"})
    assert answer.status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
async def test_the_case_of_the_scheme_is_ignored(scheme: str, anonymous: Client, natasha: Person) -> None:
    answer = await anonymous.get("/users/me", headers={"Authorization": f"{scheme} {natasha.token}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("where", ["access_token", "token"])
async def test_a_token_in_the_url_or_in_a_cookie_is_ignored(where: str, anonymous: Client, natasha: Person) -> None:
    assert (await anonymous.get(SERVICE, params={where: natasha.token})).status_code == 401
    assert (await anonymous.get(SERVICE, headers={"Cookie": f"{where}={natasha.token}"})).status_code == 401


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_new_password_invalidates_earlier_tokens(
    method: str, guarded: Service, anonymous: Client, natasha: Person
) -> None:
    older, body = (
        await token_for(anonymous),
        {"username": "natasha", "email": natasha.email, "password": "a new secret"},
    )
    assert (await natasha.client.request(method, f"/users/{natasha.id}", json=body)).status_code == 200
    assert [await status_with(guarded, token) for token in (older, natasha.token)] == [401, 401]
    assert (await log_in(anonymous)).status_code == 401
    assert await status_with(guarded, await token_for(anonymous, password="a new secret")) == 200


async def test_a_password_change_by_a_superuser_invalidates_tokens(
    guarded: Service, superuser: Person, natasha: Person, steve: Person
) -> None:
    await superuser.client.patch(f"/users/{natasha.id}", json={"password": "a new secret"})
    assert [await status_with(guarded, person.token) for person in (natasha, steve, superuser)] == [401, 200, 200]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_deactivation_invalidates_tokens_and_reactivation_does_not_restore_them(
    method: str, guarded: Service, anonymous: Client, superuser: Person, natasha: Person
) -> None:
    body = {"username": "natasha", "email": natasha.email}
    for is_active, status in ((False, 401), (True, 401)):
        await superuser.client.request(method, f"/users/{natasha.id}", json=body | {"is_active": is_active})
        assert await status_with(guarded, natasha.token) == status
        assert (await log_in(anonymous)).status_code == (200 if is_active else 401)
    assert await status_with(guarded, await token_for(anonymous)) == 200


async def test_other_changes_keep_tokens_valid(guarded: Service, superuser: Person, natasha: Person) -> None:
    for body in ({"full_name": "Natasha"}, {"email": "new@example.com"}, {"username": "nat"}, {"is_active": True}):
        assert (await superuser.client.patch(f"/users/{natasha.id}", json=body)).status_code == 200
    await superuser.client.patch(f"/users/{natasha.id}", json={"is_superuser": True})
    await superuser.client.put(f"/users/{natasha.id}", json={"username": "natasha", "email": "n@example.com"})
    assert await status_with(guarded, natasha.token) == 200


async def test_the_token_of_a_deleted_user_is_invalid(guarded: Service, superuser: Person, natasha: Person) -> None:
    assert (await superuser.client.delete(f"/users/{natasha.id}")).status_code == 204
    assert await status_with(guarded, natasha.token) == 401


async def row_of(app: Service, user_id: int) -> Json:
    async with app.runtime.database.write() as session:
        row: User = (await session.exec(select(User).where(User.id == user_id))).one()
        return dict(row)


async def test_a_hash_with_old_parameters_is_replaced_at_login_and_tokens_stay_valid(
    guarded: Service, anonymous: Client, natasha: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await row_of(guarded, natasha.id)
    dearer = PasswordHash([Argon2Hasher(time_cost=2, memory_cost=16, parallelism=1)])
    monkeypatch.setattr(passwords, "hasher", dearer)
    assert (await log_in(anonymous, password="wrong password")).status_code == 401
    assert await row_of(guarded, natasha.id) == before
    newer = await token_for(anonymous)
    after = await row_of(guarded, natasha.id)
    assert "$m=16,t=2,p=1$" in after["hashed_password"]
    assert dearer.verify(PASSWORD, after["hashed_password"])
    assert {name for name in after if after[name] != before[name]} - {"updated_at"} == {"hashed_password"}
    assert [await status_with(guarded, token) for token in (natasha.token, newer)] == [200, 200]
    assert await row_of(guarded, natasha.id) == after


async def test_a_damaged_hash_refuses_every_login(guarded: Service, anonymous: Client) -> None:
    for number, damaged in enumerate(("", "x", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv", PASSWORD)):
        await join(guarded, username=f"damaged{number}", hashed_password=damaged)
        assert (await log_in(anonymous, f"damaged{number}")).status_code == 401


@pytest.fixture
async def rotated(guarded: Service) -> AsyncIterator[Service]:
    """Provide the same service, with a new key before the old one."""
    url = url_of(guarded.runtime.database)
    async with opened(production(url, secret_key=f"{OTHER_KEY},{KEY}")) as app:
        yield app


async def test_a_key_is_replaced_in_two_steps(guarded: Service, rotated: Service, natasha: Person) -> None:
    async with client_of(rotated) as client:
        newer = await token_for(client)
    assert [await status_with(rotated, token) for token in (natasha.token, newer)] == [200, 200]
    assert jwt.decode(newer, OTHER_KEY, ["HS256"], audience=NAME)["sub"] == str(natasha.id)
    assert await status_with(guarded, newer) == 401
    url = url_of(guarded.runtime.database)
    async with opened(production(url, secret_key=OTHER_KEY)) as last:
        assert [await status_with(last, token) for token in (natasha.token, newer)] == [401, 200]


async def test_lifetime_and_audience_of_a_token_follow_the_settings(new_database: Any) -> None:
    async with opened(production(await new_database(), token_minutes=5, token_audience="shop")) as app:
        person = await join(app, username="natasha")
        async with client_of(app) as client:
            answer = await log_in(client)
        assert answer.json()["expires_in"] == 300
        content = jwt.decode(answer.json()["access_token"], KEY, ["HS256"], audience="shop")
        assert content["exp"] - content["iat"] == 300
        assert await status_with(app, signed(claims(sub=str(person.id)))) == 401


@pytest.mark.parametrize(("body", "headers"), HOSTILE, ids=range(len(HOSTILE)))
async def test_a_hostile_form_is_refused(
    body: bytes, headers: dict[str, str], anonymous: Client, natasha: Person
) -> None:
    answer = await anonymous.post("/auth/token", content=body, headers=headers)
    assert answer.status_code in (400, 401, 413, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert PASSWORD not in answer.text


@pytest.mark.parametrize("headers", [ENCODED, BOUNDARY])
async def test_a_form_that_is_too_large_is_a_413(headers: dict[str, str], anonymous: Client) -> None:
    name = b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\n' if headers is BOUNDARY else b"username="

    async def chunks() -> AsyncIterator[bytes]:
        yield name
        for _ in range(17):
            yield b"x" * 1024

    for content in (name + b"x" * 16 * 1024, chunks()):
        answer = await anonymous.post("/auth/token", content=content, headers=headers)
        assert answer.status_code == 413, answer.text


async def test_a_login_body_that_is_not_a_form_is_refused_by_its_type(anonymous: Client) -> None:
    answer = await anonymous.post("/auth/token", content=b"nonsense", headers=BOUNDARY)
    assert answer.json()["type"] == "urn:problem:malformed-body"


def unavailable(**_: object) -> Any:
    raise PoolTimeout("QueuePool limit")


async def test_a_hash_that_cannot_be_replaced_now_is_a_503(
    anonymous: Client, guarded: Service, natasha: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    dearer = PasswordHash([Argon2Hasher(time_cost=2, memory_cost=16, parallelism=1)])
    monkeypatch.setattr(passwords, "hasher", dearer)
    monkeypatch.setattr(guarded.runtime.database, "write", unavailable)
    assert (await log_in(anonymous)).status_code == 503


@pytest.mark.parametrize("path", ["/auth/token", "/users/me"])
async def test_a_login_without_the_database_is_a_503(
    path: str, anonymous: Client, guarded: Service, natasha: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded.runtime.database, "read", unavailable)
    answer = await (log_in(anonymous) if path == "/auth/token" else natasha.client.get(path))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


async def test_a_form_with_a_too_large_content_length_is_refused_before_it_is_read(anonymous: Client) -> None:
    answer = await anonymous.post("/auth/token", content=b"x", headers=ENCODED | {"content-length": "999999"})
    assert answer.status_code == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_tokens_are_issued_by_post_only(method: str, anonymous: Client) -> None:
    answer = await anonymous.request(method, "/auth/token")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_registered_user_can_log_in_and_use_the_token(anonymous: Client, guarded: Service) -> None:
    await made(anonymous, "/users/", username="wanda", email="wanda@example.com", password="scarlet witch")
    token = await token_for(anonymous, "wanda", "scarlet witch")
    assert await status_with(guarded, token) == 200
