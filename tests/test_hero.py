"""What heroes promise beyond what every resource does."""

from tests.conftest import Client

DEADPOND = {"name": "Deadpond", "secret_name": "Dive Wilson"}


async def test_a_hero_of_a_team_that_does_not_exist_is_a_conflict_that_names_the_field(client: Client) -> None:
    answer = await client.post("/heroes/", json={**DEADPOND, "team_id": 77})
    assert answer.status_code == 409
    assert "team_id" in answer.json()["detail"]
