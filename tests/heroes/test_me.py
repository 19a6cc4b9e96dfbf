"""`/users/me`: the user to whom the token of the request was issued."""

from tests.engines import Client
from tests.people import Person
from tests.rows import read


async def test_each_user_gets_their_own_record(natasha: Person, superuser: Person) -> None:
    for person in (natasha, superuser):
        assert await read(person.client, "/users/me") == await read(person.client, f"/users/{person.id}")


async def test_only_the_requested_fields_are_returned(natasha: Person) -> None:
    assert await read(natasha.client, "/users/me", fields="username,id") == {"id": natasha.id, "username": "natasha"}


async def test_the_entity_tag_is_the_version_of_the_user(natasha: Person) -> None:
    answer = await natasha.client.get("/users/me")
    assert answer.headers["etag"] == '"1"'
    again = await natasha.client.get("/users/me", headers={"If-None-Match": '"1"'})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_request_without_a_token_is_refused(client: Client, anonymous: Client) -> None:
    assert (await anonymous.get("/users/me")).status_code == 401
    assert (await client.get("/users/me")).status_code == 401
