"""Lists (section 5 of the contract): pages in every order, also with concurrent changes."""

from itertools import pairwise
from typing import Any

import pytest

from tests.contract.answer import MARKER, errors, refused
from tests.contract.field import Json
from tests.contract.listing import comparable, following, ids, pages, walked
from tests.contract.resource import Resource, kind_of, needs, resources_of
from tests.engines import Client

pytestmark = pytest.mark.untraced

NO_LIMITS = ["0", "-1", "101", "1e9", "abc", "", "1.0", "1_0", "+1", " 1", str(10**20), "9" * 5000, "\u0663", "\0"]
NO_OFFSETS = ["-1", "1000001", str(10**20), "abc", "", "1.0", "1e3", "\0"]


def orders(resource: Resource) -> list[str]:
    """Return all orders by one field, and some orders by two."""
    single = [sign + name for name in dict.fromkeys(["id", *resource.query.sorts]) for sign in ("", "-")]
    double = [f"{one},{two}" for one, two in pairwise(single[2:]) if one.strip("-") != two.strip("-")]
    return single + double + [f"-{two},{one}".replace("--", "") for one, two in pairwise(resource.query.sorts)]


def place(resource: Resource, row: Json, order: str) -> list[tuple[Any, ...]]:
    """Return the sort keys of a row, without their direction. Null sorts last."""
    names = [term.removeprefix("-") for term in order.split(",")]
    values = [(row[resource.shown(name)], kind_of(resource, name)) for name in names]
    return [(value is None, comparable(kind, value)) for value, kind in values]


def in_order(resource: Resource, one: Json, two: Json, order: str) -> bool:
    for term, here, there in zip(
        order.split(","), place(resource, one, order), place(resource, two, order), strict=True
    ):
        if here != there:
            if here[0] or there[0]:
                return not here[0]
            return bool(here > there) if term.startswith("-") else bool(here < there)
    return True


@needs("list", "create")
async def test_following_the_link_returns_every_row_once_in_every_order(client: Client, resource: Resource) -> None:
    made = [thing["id"] for thing in await resource.make_varied(client)]
    for order in orders(resource):
        rows = await walked(client, resource, limit=5, sort=order)
        assert sorted(row["id"] for row in rows) == sorted(made), order
        assert all(in_order(resource, one, two, order) for one, two in pairwise(rows)), order
        whole = await ids(client, resource, sort=order)
        assert whole == [row["id"] for row in rows]
        assert await ids(client, resource, sort=order, limit=4, offset=6) == whole[6:10]


@needs("list", "create")
async def test_concurrent_changes_repeat_and_skip_no_other_row(client: Client, resource: Resource) -> None:
    await resource.make_varied(client)
    for number, name in enumerate(dict.fromkeys(["id", *resource.query.sorts])):
        order = f"-{name}" if number % 2 else name  # both directions take as many requests again
        staying = {row["id"] for row in await resource.all(client)}
        seen: list[Any] = []
        async for page in pages(client, resource, limit=5, sort=order):
            seen += [row["id"] for row in page]
            if len(seen) < 15:  # rows inserted after the cursor make the list longer each time
                await disturb(client, resource, seen, staying)
        assert len(seen) == len(set(seen)), order
        assert staying <= set(seen), order


async def disturb(client: Client, resource: Resource, seen: list[Any], staying: set[Any]) -> None:
    """Insert rows similar to existing ones, and delete a row that was seen and one that was not."""
    rows = await resource.all(client)
    for row in (rows[0], rows[-1]):
        same = {field.name: row[field.name] for field in resource.fields("create") if field.name in row}
        own = {
            name: value for name, value in same.items() if name not in resource.unique and "update" in resource.verbs
        }
        await resource.make(client, **own)
    if "delete" in resource.verbs:
        unseen = [row["id"] for row in rows if row["id"] not in seen]
        for gone in (seen[-1], *unseen[:1]):
            assert (await client.delete(resource.url({"id": gone}))).status_code in (204, 404)
            staying.discard(gone)


@needs("list", "create")
async def test_link_is_present_exactly_if_more_rows_follow(client: Client, resource: Resource) -> None:
    await resource.all(client, *[await resource.make(client) for _ in range(4)])
    for limit, more in ((1, True), (3, True), (4, False), (5, False), (100, False)):
        answer = await client.get(resource.path, params={"limit": limit})
        assert (len(answer.json()), following(answer) is not None) == (min(limit, 4), more)
    last = await client.get(resource.path, params={"limit": 2, "offset": 2})
    assert (len(last.json()), following(last)) == (2, None)


@needs("list", "create")
async def test_link_keeps_the_parameters_of_the_request(client: Client, resource: Resource) -> None:
    await resource.make_varied(client, 6)
    asked = {"fields": "id,version", "sort": "-id", "limit": "2", "id__ne": (await resource.all(client))[5]["id"]}
    first = await client.get(resource.path, params=asked)
    second = await client.get(following(first) or "")
    rows = [*first.json(), *second.json()]
    assert [row["id"] for row in rows] == [row["id"] for row in (await resource.all(client))[4:0:-1]]
    assert all(set(row) == {"id", "version"} for row in rows)
    assert following(second)


@needs("list")
async def test_limit_and_offset_outside_of_their_bounds_are_refused(client: Client, resource: Resource) -> None:
    for name, wrong in (("limit", NO_LIMITS), ("offset", NO_OFFSETS)):
        for value in wrong:
            answer = await client.get(resource.path, params={name: value})
            assert refused(answer, name), (name, value)
    assert await ids(client, resource, limit=100, offset=1_000_000) == []


@needs("list")
async def test_a_repeated_parameter_is_refused_unless_it_is_a_list(client: Client, resource: Resource) -> None:
    repeated = await client.get(f"{resource.path}?fields=id&fields=version")
    listed = await client.get(f"{resource.path}?fields=id,version")
    assert (repeated.status_code, repeated.content) == (200, listed.content)
    for name, value in (("limit", "5"), ("offset", "1"), ("count", "true"), ("id", "1")):
        answer = await client.get(f"{resource.path}?{name}={value}&{name}={value}")
        assert [(error["in"], error["pointer"]) for error in errors(answer)] == [("query", name)]


@needs("list")
async def test_an_invalid_sort_is_refused(client: Client, resource: Resource) -> None:
    for value in ("", "nonsense", "--id", "+id", "id,", "id,id", "id,-id", "id;drop", MARKER, "id\0", "\ud7ff"):
        assert refused(await client.get(resource.path, params={"sort": value}), "sort"), value


@needs("list", "create")
async def test_a_cursor_of_another_list_or_sort_is_refused(client: Client, resource: Resource) -> None:
    await resource.all(client, *[await resource.make(client) for _ in range(3)])
    cursor = await cursor_of(client, resource)
    assert await ids(client, resource, sort="id", cursor=cursor)
    turned = [cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place:][1:] for place in (0, 9, -3)]
    for wrong in (
        "",
        "x",
        "=",
        "\0",
        "\u00e9",
        "A" * 3000,
        cursor[:-1],
        cursor[1:],
        f"{cursor}A",
        f"{cursor}=",
        *turned,
    ):
        assert refused(await client.get(resource.path, params={"sort": "id", "cursor": wrong}), "cursor"), wrong
    answer = await client.get(resource.path, params={"sort": "-id", "cursor": cursor})
    assert refused(answer, "cursor")
    both = {"sort": "id", "cursor": cursor, "offset": "1"}
    assert refused(await client.get(resource.path, params=both), "offset")


async def cursor_of(client: Client, resource: Resource) -> str:
    answer = await client.get(resource.path, params={"limit": "1", "sort": "id"})
    return (following(answer) or "").rpartition("cursor=")[2]


@needs("list", "create")
async def test_a_cursor_of_another_resource_is_refused(client: Client, resource: Resource) -> None:
    others = [other for other in resources_of(resource.app) if other.has("list")]
    alike = [
        other for other in others if other.name != resource.name and kind_of(other, "id") is kind_of(resource, "id")
    ]
    if not alike:
        pytest.skip("There is no other list with ids of this kind.")
    await resource.all(client, *[await resource.make(client) for _ in range(2)])
    cursor = await cursor_of(client, resource)
    answer = await client.get(alike[0].path, params={"sort": "id", "cursor": cursor})
    assert refused(answer, "cursor")


@needs("list", "create")
async def test_a_count_is_returned_on_request(client: Client, resource: Resource) -> None:
    made = await resource.make_varied(client, 5)
    for number, query in ((5, "limit=2"), (5, "offset=4"), (1, f"id={made[0]['id']}"), (5, "sort=-id")):
        answer = await client.get(f"{resource.path}?count=true&{query}")
        assert answer.headers["x-total-count"] == str(number)
        for no in ("", "&count=false"):
            assert "x-total-count" not in (await client.get(f"{resource.path}?{query}{no}")).headers
    for wrong in ("1", "yes", "TRUE", ""):
        assert refused(await client.get(resource.path, params={"count": wrong}), "count")
