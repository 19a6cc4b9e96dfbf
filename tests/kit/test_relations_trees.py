"""Relations: in a tree no row becomes its own ancestor, also by concurrent moves."""

import asyncio

import pytest
from sqlalchemy.orm.attributes import set_committed_value

from kit import Database
from kit.database.deletions import remove_references_to_itself
from tests.engines import Client
from tests.kit.accounts import Genre, fill
from tests.kit.probes import read


@pytest.fixture
async def chain(database: Database) -> None:
    """Store genres 1 to 4; each is the parent of the next."""
    await fill(database, Genre, [{"id": at, "name": f"{at}", "parent_id": at - 1 or None} for at in range(1, 5)])


@pytest.mark.parametrize(("moved", "below"), [(1, 4), (1, 2), (2, 4), (3, 3)])
async def test_nothing_becomes_its_own_ancestor(accounts_client: Client, chain: None, moved: int, below: int) -> None:
    answer = await accounts_client.patch(f"/genres/{moved}", json={"parent_id": below})
    assert (answer.status_code, answer.json()["detail"]) == (409, "parent_id would make it its own ancestor.")
    assert (await read(accounts_client, f"/genres/{moved}"))["version"] == 1


@pytest.mark.parametrize(("moved", "below"), [(4, 1), (4, 2), (3, 1), (2, None)])
async def test_a_branch_is_moved_elsewhere(accounts_client: Client, chain: None, moved: int, below: int | None) -> None:
    answer = await accounts_client.patch(f"/genres/{moved}", json={"parent_id": below})
    assert (answer.status_code, answer.json()["parent_id"]) == (200, below)


async def test_two_moves_at_once_make_no_cycle(accounts_client: Client, database: Database) -> None:
    await fill(database, Genre, [{"id": at, "name": f"{at}"} for at in (1, 2)])
    moves = [accounts_client.patch(f"/genres/{one}", json={"parent_id": other}) for one, other in ((1, 2), (2, 1))]
    answers = await asyncio.gather(*moves)
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_a_tree_that_has_a_cycle_is_shown_and_may_be_mended(accounts_client: Client, database: Database) -> None:
    await fill(database, Genre, [{"id": at, "name": f"{at}", "parent_id": None} for at in (1, 2)])
    await fill(database, Genre, [{"id": 3, "name": "3", "parent_id": None}])
    async with database.write() as session, session.begin():
        for at, parent in ((1, 2), (2, 1)):
            genre = await session.get(Genre, at)
            assert genre is not None
            genre.parent_id = parent
    assert len(await read(accounts_client, "/genres/", include="parent,children")) == 3
    assert (await accounts_client.patch("/genres/1", json={"parent_id": 3})).status_code == 200


def test_a_row_in_its_own_list_is_taken_out_before_it_is_deleted() -> None:
    genre, other = Genre(id=1, name="1", parent_id=1), Genre(id=2, name="2")
    for name, value in (("children", [genre, other]), ("parent", genre)):
        set_committed_value(genre, name, value)
    remove_references_to_itself(genre)
    assert (genre.children, genre.parent) == ([other], None)
