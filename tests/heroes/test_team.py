"""Teams: they embed their heroes, who remain when the team is deleted."""

from tests.engines import Client
from tests.heroes.powers import new_hero
from tests.rows import Json, made, read


async def new_team(client: Client) -> Json:
    return await made(client, "/teams/", name="Z-Force", headquarters="Sister Margaret's Bar")


async def test_a_team_shows_its_heroes_and_a_hero_its_team(client: Client) -> None:
    team = await new_team(client)
    hero = await new_hero(client, team_id=team["id"])
    assert await read(client, f"/teams/{team['id']}", include="heroes") == {**team, "heroes": [hero]}
    assert await read(client, f"/heroes/{hero['id']}", include="team") == {**hero, "team": team}


async def test_the_heroes_of_a_deleted_team_have_no_team(client: Client) -> None:
    team = await new_team(client)
    hero, other = await new_hero(client, team_id=team["id"]), await new_hero(client)
    assert (await client.delete(f"/teams/{team['id']}")).status_code == 204
    left = await read(client, f"/heroes/{hero['id']}")
    assert (left["team_id"], left["version"]) == (None, hero["version"] + 1)
    assert left["updated_at"] > hero["updated_at"]
    assert await read(client, f"/heroes/{other['id']}") == other
