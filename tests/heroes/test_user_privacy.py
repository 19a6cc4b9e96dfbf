"""Privacy: only the owner and superusers see an e-mail address, and no other response reveals it."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from httpx import Response

from tests.captured_log import CapturedLog, capturing
from tests.engines import Client
from tests.people import Person
from tests.rows import Json, cheap_hashes, made, read, user_body

pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


@pytest.fixture
def log(guarded: object) -> Iterator[CapturedLog]:
    with capturing("kit", "uvicorn", "sqlalchemy", level=logging.INFO) as log:
        yield log


def without_id(answer: Response) -> Json:
    """Return the problem without its request id."""
    problem: Json = answer.json()
    del problem["request_id"]
    return problem


async def test_members_see_only_their_own_address(superuser: Person, natasha: Person, steve: Person) -> None:
    assert (await read(natasha.client, f"/users/{natasha.id}"))["email"] == natasha.email
    assert (await read(natasha.client, "/users/me"))["email"] == natasha.email
    for other in (steve, superuser):
        assert "email" not in await read(natasha.client, f"/users/{other.id}")
    listed = {user["id"]: user.get("email") for user in await read(natasha.client, "/users/")}
    assert listed == {superuser.id: None, natasha.id: natasha.email, steve.id: None}


async def test_superusers_see_every_address(superuser: Person, natasha: Person, steve: Person) -> None:
    assert (await read(superuser.client, f"/users/{steve.id}"))["email"] == steve.email
    emails = {user["email"] for user in await read(superuser.client, "/users/", fields="id,email")}
    assert emails == {superuser.email, natasha.email, steve.email}
    assert [user["id"] for user in await read(superuser.client, "/users/", sort="email")] == [
        superuser.id,
        natasha.id,
        steve.id,
    ]
    assert [user["id"] for user in await read(superuser.client, "/users/", q="natasha@people")] == [natasha.id]
    assert [user["id"] for user in await read(superuser.client, "/users/", email=steve.email)] == [steve.id]


async def test_requesting_a_private_field_does_not_show_it(natasha: Person, steve: Person) -> None:
    assert await read(natasha.client, f"/users/{steve.id}", fields="email") == {}
    assert await read(natasha.client, f"/users/{steve.id}", fields="id,email") == {"id": steve.id}
    assert await read(natasha.client, "/users/", fields="email") == [{}, {"email": natasha.email}]
    assert await read(natasha.client, "/users/me", fields="email") == {"email": natasha.email}


async def test_searching_does_not_find_addresses(superuser: Person, natasha: Person, steve: Person) -> None:
    await superuser.client.patch(f"/users/{steve.id}", json={"email": "needle@haystack.example"})
    for text in ("needle", "haystack.example", "@", natasha.email):
        assert await read(natasha.client, "/users/", q=text) == []
    assert [user["id"] for user in await read(natasha.client, "/users/", q="STEVE")] == [steve.id]


@pytest.mark.parametrize("operator", ["", "__ne", "__contains", "__startswith", "__in"])
async def test_filtering_by_address_is_for_superusers(operator: str, superuser: Person, natasha: Person) -> None:
    parameters = {f"email{operator}": natasha.email}
    answer = await natasha.client.get("/users/", params=parameters)
    assert (answer.status_code, answer.json()["detail"]) == (403, "Only superusers may filter or sort by email.")
    assert (await superuser.client.get("/users/", params=parameters)).status_code == 200


@pytest.mark.parametrize("sort", ["email", "-email", "username,email"])
async def test_sorting_by_address_is_for_superusers(sort: str, superuser: Person, natasha: Person) -> None:
    assert (await natasha.client.get("/users/", params={"sort": sort})).status_code == 403
    assert (await superuser.client.get("/users/", params={"sort": sort})).status_code == 200


async def test_a_cursor_of_a_superuser_does_not_sort_by_address_for_members(
    superuser: Person, natasha: Person, steve: Person
) -> None:
    page = await superuser.client.get("/users/?sort=email&limit=1")
    link = page.links["next"]["url"]
    assert (await natasha.client.get(link)).status_code == 403
    cursor = dict(part.split("=") for part in link.partition("?")[2].split("&"))["cursor"]
    assert (await natasha.client.get("/users/", params={"cursor": cursor})).status_code == 422


async def test_a_bulk_shows_addresses_to_superusers_and_registration_does_not(
    anonymous: Client, superuser: Person, natasha: Person
) -> None:
    body = user_body()
    (user,) = (await superuser.client.post("/users/bulk", json=[body])).json()
    assert user["email"] == body["email"]
    for client in (anonymous, natasha.client):
        assert "email" not in await made(client, "/users/", **user_body())


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_user_sees_their_own_address_after_a_change(method: str, natasha: Person) -> None:
    body = {"username": "natasha", "email": "new@example.com"}
    answer = await natasha.client.request(method, f"/users/{natasha.id}", json=body)
    assert answer.json()["email"] == "new@example.com"


def conflicting_bodies(steve: Person) -> Iterator[Json]:
    """Return bodies that conflict with this user: by the name, by the address, by both."""
    yield user_body(username=steve.username.upper())
    yield user_body(email=steve.email.upper())
    yield user_body(username=steve.username, email=steve.email)


async def test_registration_does_not_reveal_whether_name_or_address_is_taken(
    anonymous: Client, natasha: Person, steve: Person
) -> None:
    for client in (anonymous, natasha.client):
        answers = [await client.post("/users/", json=body) for body in conflicting_bodies(steve)]
        first, *others = map(without_id, answers)
        assert first["status"] == 409
        assert first["detail"] == "email or username is taken: another row has this value."
        assert others == [first, first]


@pytest.fixture
def unhashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every hash of a password fail the test."""

    async def refuse(_: object) -> str:
        raise AssertionError("It was hashed.")

    monkeypatch.setattr("heroes.user.hashed", refuse)


@pytest.mark.usefixtures("unhashed")
async def test_a_registration_with_a_taken_name_or_address_costs_no_hash(anonymous: Client, steve: Person) -> None:
    answers = [await anonymous.post("/users/", json=body) for body in conflicting_bodies(steve)]
    assert [answer.status_code for answer in answers] == [409, 409, 409]


@pytest.mark.usefixtures("unhashed")
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_password_for_somebody_else_costs_no_hash(method: str, natasha: Person, steve: Person) -> None:
    body = user_body(password="another one entirely")
    assert (await natasha.client.request(method, f"/users/{steve.id}", json=body)).status_code == 403
    assert (await natasha.client.request(method, "/users/999", json=body)).status_code == 404


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_change_does_not_reveal_whether_name_or_address_is_taken(
    method: str, natasha: Person, steve: Person
) -> None:
    answers = [
        await natasha.client.request(method, f"/users/{natasha.id}", json=body) for body in conflicting_bodies(steve)
    ]
    first, *others = map(without_id, answers)
    assert (first["status"], others) == (409, [first, first])


async def test_superusers_see_which_value_is_taken(superuser: Person, steve: Person) -> None:
    told = [
        (await superuser.client.post("/users/", json=body)).json()["errors"][0]["pointer"]
        for body in conflicting_bodies(steve)
    ]
    assert told[:2] == ["#/username", "#/email"]
    bodies = [user_body(), user_body(email=steve.email)]
    many = await superuser.client.post("/users/bulk", json=bodies)
    assert many.json()["errors"][0]["pointer"] == "#/1/email"


async def test_no_error_and_no_line_of_the_log_repeats_an_address(
    anonymous: Client, superuser: Person, natasha: Person, steve: Person, log: CapturedLog
) -> None:
    asked: list[tuple[Any, str, str, Any]] = [
        (anonymous, "POST", "/users/", user_body(email=steve.email)),
        (anonymous, "POST", "/users/", user_body(email=f"{steve.email}@twice")),
        (natasha.client, "PATCH", f"/users/{natasha.id}", {"email": steve.email}),
        (natasha.client, "GET", f"/users/?email={steve.email}", None),
        (natasha.client, "GET", f"/users/?q={steve.email}&sort=nonsense", None),
        (superuser.client, "POST", "/users/bulk", [user_body(email=steve.email)]),
        (superuser.client, "POST", "/users/bulk?on_error=skip", [user_body(email=steve.email)]),
        (superuser.client, "PATCH", f"/users/{natasha.id}", {"email": steve.email}),
    ]
    for client, method, path, body in asked:
        answer = await client.request(method, path, json=body)
        assert answer.status_code in (200, 207, 403, 409, 422)
        assert steve.email not in answer.text
    assert "/users/" in log.text
    assert "@" not in log.text


async def test_the_document_does_not_reveal_the_number_of_users(anonymous: Client, superuser: Person) -> None:
    before = (await anonymous.get("/openapi.json")).json()
    await made(superuser.client, "/users/", **user_body())
    assert (await anonymous.get("/openapi.json")).json() == before
