"""`/users/me`: the user to whom the token of the request was issued."""

from tests.engines import Client
from tests.heroes.people import Person
from tests.heroes.shop import read


async def test_everybody_is_shown_themselves(natasha: Person, boss: Person) -> None:
    for person in (natasha, boss):
        assert await read(person.client, "/users/me") == await read(person.client, f"/users/{person.id}")


async def test_only_the_fields_asked_for_are_given(natasha: Person) -> None:
    assert await read(natasha.client, "/users/me", fields="username,id") == {"id": natasha.id, "username": "natasha"}


async def test_it_has_the_version_of_the_user_as_its_tag(natasha: Person) -> None:
    answer = await natasha.client.get("/users/me")
    assert answer.headers["etag"] == '"1"'
    again = await natasha.client.get("/users/me", headers={"If-None-Match": '"1"'})
    assert (again.status_code, again.content) == (304, b"")


async def test_without_a_token_there_is_nobody_to_show(client: Client, nobody: Client) -> None:
    assert (await nobody.get("/users/me")).status_code == 401
    assert (await client.get("/users/me")).status_code == 401
