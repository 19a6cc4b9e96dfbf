"""`/users/me`: the user to whom the token of the request was issued."""

from tests.engines import Client
from tests.people import Person
from tests.rows import read


async def test_each_user_gets_their_own_record(natasha: Person, superuser: Person) -> None:
    for person in (natasha, superuser):
        assert await read(person.client, "/users/me") == await read(person.client, f"/users/{person.id}")


async def test_only_the_requested_fields_are_returned(natasha: Person) -> None:
    assert await read(natasha.client, "/users/me", fields="username,id") == {"id": natasha.id, "username": "natasha"}


async def test_the_entity_tag_is_that_of_one_user(natasha: Person, superuser: Person) -> None:
    tag = (await natasha.client.get("/users/me")).headers["etag"]
    again, other = [await each.client.get("/users/me", headers={"If-None-Match": tag}) for each in (natasha, superuser)]
    assert (again.status_code, again.content) == (304, b"")
    assert (other.status_code, other.json()["id"]) == (200, superuser.id)


async def test_a_request_without_a_token_is_refused(client: Client, anonymous: Client) -> None:
    assert (await anonymous.get("/users/me")).status_code == 401
    assert (await client.get("/users/me")).status_code == 401
