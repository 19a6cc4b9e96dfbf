"""The order of a list: what was put together for one page serves the others, each with its own values."""

import pytest

from heroes.hero import Hero
from kit.query.ordering import Stretch, order_of
from tests.conftest import Client
from tests.shop import made

FIRST = "/heroes/?sort=-power&power__gte=2&limit=2"


@pytest.fixture
async def heroes(client: Client) -> list[int]:
    """Their powers, the greatest first."""
    for power in range(6):
        await made(client, "/heroes/", name=f"Hero {power}", secret_name="x", power=power)
    return [5, 4, 3, 2, 1, 0]


async def powers(client: Client, path: str) -> list[int]:
    return [hero["power"] for hero in (await client.get(path)).json()]


async def test_pages_that_differ_in_values_only_are_put_together_once(
    client: Client, heroes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await powers(client, FIRST) == heroes[:2]
    assert await powers(client, f"{FIRST}&offset=1") == heroes[1:3]
    monkeypatch.setattr(Stretch, "of", lambda *_: pytest.fail("put together again"))
    assert await powers(client, "/heroes/?sort=-power&power__gte=4&limit=9") == heroes[:2]
    assert await powers(client, "/heroes/?sort=-power&power__gte=1&limit=3&offset=2") == heroes[2:5]


async def test_each_cursor_leads_behind_its_own_row(
    client: Client, heroes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, page = [], await client.get("/heroes/?sort=-power&limit=1")
    while "next" in page.links:
        page = await client.get(page.links["next"]["url"])
        seen += [hero["power"] for hero in page.json()]
        if len(seen) == 2:
            monkeypatch.setattr(Stretch, "of", lambda *_: pytest.fail("put together again"))
    assert seen == heroes[1:]


def test_an_order_is_made_once() -> None:
    assert order_of(Hero, "-age,name") is order_of(Hero, "-age,name")
    assert order_of(Hero, "-age,name") is not order_of(Hero, "age,name")
