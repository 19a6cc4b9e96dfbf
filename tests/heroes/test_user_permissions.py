"""Permissions of users: everyone registers, members change themselves, superusers change everyone."""

from collections.abc import AsyncIterator

import pytest
from httpx import Response
from sqlmodel import select

from heroes.user import User
from kit import LoginLimits, Service
from tests.application import opened, production
from tests.clients import client_of
from tests.engines import Client, url_of
from tests.people import Person
from tests.rows import cheap_hashes, made, read, user_body

pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)
writing = pytest.mark.parametrize("method", ["PUT", "PATCH"])


def is_forbidden(answer: Response) -> bool:
    return answer.status_code == 403 and answer.json()["type"] == "urn:problem:forbidden"


@writing
async def test_members_cannot_change_another_user(
    method: str, superuser: Person, natasha: Person, steve: Person
) -> None:
    before = await read(superuser.client, f"/users/{steve.id}")
    for body in (user_body(), {**user_body(), "username": "steve"}, user_body(password="another one")):
        assert is_forbidden(await natasha.client.request(method, f"/users/{steve.id}", json=body))
    assert is_forbidden(await natasha.client.delete(f"/users/{steve.id}"))
    assert await read(superuser.client, f"/users/{steve.id}") == before


async def test_members_change_and_delete_their_own_record(superuser: Person, natasha: Person) -> None:
    answer = await natasha.client.patch(f"/users/{natasha.id}", json={"full_name": "Natasha Roman"})
    assert answer.json()["full_name"] == "Natasha Roman"
    answer = await natasha.client.put(f"/users/{natasha.id}", json={"username": "nat", "email": "nat@example.com"})
    assert (answer.status_code, answer.json()["username"], answer.json()["full_name"]) == (200, "nat", None)
    assert (await natasha.client.delete(f"/users/{natasha.id}")).status_code == 204
    assert (await natasha.client.get("/users/me")).status_code == 401
    assert await read(superuser.client, "/users/", username="nat") == []


async def test_who_sees_the_address_of_a_user_has_another_entity_tag_for_it(
    superuser: Person, natasha: Person, steve: Person
) -> None:
    tag = (await natasha.client.get(f"/users/{steve.id}")).headers["etag"]
    again = await natasha.client.get(f"/users/{steve.id}", headers={"If-None-Match": tag})
    whole = await superuser.client.get(f"/users/{steve.id}", headers={"If-None-Match": tag})
    assert (again.status_code, whole.status_code) == (304, 200)
    assert whole.json()["email"] == steve.email
    assert (await steve.client.patch(f"/users/{steve.id}", json={}, headers={"If-Match": tag})).status_code == 200


async def row_of(app: Service, user_id: int) -> User:
    async with app.runtime.database.write() as session:
        user: User = (await session.exec(select(User).where(User.id == user_id))).one()
        return user


async def test_registration_creates_an_active_member_and_no_superuser(
    anonymous: Client, superuser: Person, natasha: Person
) -> None:
    for client in (anonymous, natasha.client):
        body = user_body(is_superuser=True, is_active=False, id=4711, version=9, created_at="2001-01-01T00:00:00Z")
        user = await made(client, "/users/", **body)
        assert (user["is_superuser"], user["is_active"], user["version"]) == (False, True, 1)
        assert user["id"] != 4711
        assert user["created_at"] > "2026"
    user = await made(superuser.client, "/users/", **user_body(is_superuser=True, is_active=False))
    assert (user["is_superuser"], user["is_active"]) == (True, False)


@writing
async def test_members_cannot_become_superusers(
    method: str, guarded: Service, superuser: Person, natasha: Person
) -> None:
    body = {"username": "natasha", "email": natasha.email, "is_superuser": True, "is_active": False}
    for sent in (body, body | {"full_name": "Natasha"}):
        answer = await natasha.client.request(method, f"/users/{natasha.id}", json=sent)
        assert (answer.status_code, answer.json()["is_superuser"], answer.json()["is_active"]) == (200, False, True)
    row = await row_of(guarded, natasha.id)
    assert (row.is_superuser, row.is_active, row.generation) == (False, True, 0)
    answer = await superuser.client.request(method, f"/users/{natasha.id}", json=body | {"is_active": True})
    assert answer.json()["is_superuser"] is True


@pytest.mark.parametrize("field", ["hashed_password", "generation", "belongs_to", "reserved", "password_hash"])
async def test_unknown_fields_of_a_user_are_refused(
    field: str, anonymous: Client, guarded: Service, superuser: Person, natasha: Person
) -> None:
    before = dict(await row_of(guarded, natasha.id))
    body = user_body(**{field: 7})
    answers = [await anonymous.post("/users/", json=body), await superuser.client.post("/users/bulk", json=[body])]
    for person in (natasha, superuser):
        path = f"/users/{natasha.id}"
        answers += [await person.client.patch(path, json=body), await person.client.put(path, json=body)]
    for answer in answers:
        assert answer.status_code == 422
        assert [error["pointer"].split("/")[-1] for error in answer.json()["errors"]] == [field]
    assert dict(await row_of(guarded, natasha.id)) == before


@pytest.fixture
async def closed(guarded: Service) -> AsyncIterator[Service]:
    """Provide the same service, without registration."""
    url = url_of(guarded.runtime.database)
    async with opened(production(url, registration=False)) as app:
        yield app


async def test_registration_can_be_switched_off(closed: Service, superuser: Person, natasha: Person) -> None:
    answers = []
    for token in (None, natasha.token, superuser.token):
        async with client_of(closed, token) as client:
            answers.append(await client.post("/users/", json=user_body()))
    assert [answer.status_code for answer in answers] == [401, 403, 201]
    async with client_of(closed, superuser.token) as client:
        assert len(await read(client, "/users/")) == 3


async def test_registrations_are_limited_for_each_address(guarded: Service, superuser: Person) -> None:
    guarded.runtime.login_limits = LoginLimits("memory://", per_account=9, per_address=9, window=300, registrations=2)
    async with client_of(guarded) as anonymous:
        for number in range(3):
            body = {"username": f"new{number}", "email": f"new{number}@example.com", "password": "correct horse"}
            answer = await anonymous.post("/users/", json=body)
            assert answer.status_code == (201 if number < 2 else 429)
    assert answer.json()["type"] == "urn:problem:too-many-attempts"
    assert int(answer.headers["Retry-After"]) > 1
    body = {"username": "new3", "email": "new3@example.com", "password": "correct horse"}
    assert (await superuser.client.post("/users/", json=body)).status_code == 201
