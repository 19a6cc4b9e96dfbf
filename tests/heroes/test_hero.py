"""Heroes: behaviour beyond the contract of all resources."""

import pytest

from tests.engines import Client

DEADPOND = {"name": "Deadpond", "secret_name": "Dive Wilson"}


async def test_a_hero_of_an_unknown_team_is_a_conflict_that_names_the_field(client: Client) -> None:
    answer = await client.post("/heroes/", json={**DEADPOND, "team_id": 77})
    assert answer.status_code == 409
    assert "team_id" in answer.json()["detail"]


@pytest.mark.parametrize("last", ["\ud7ff", "\U0010ffff", "z\U0010ffff"])
async def test_startswith_works_for_the_last_characters_of_unicode(client: Client, last: str) -> None:
    for name in (f"{last}x", f"a{last}", "zz"):
        await client.post("/heroes/", json={**DEADPOND, "name": name})
    found = (await client.get("/heroes/", params={"name__startswith": last})).json()
    assert [hero["name"] for hero in found] == [f"{last}x"]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59"])
async def test_a_time_at_the_edge_of_the_calendar_is_refused(client: Client, time: str) -> None:
    assert (await client.get(f"/heroes/?created_at__gte={time}")).status_code == 422
