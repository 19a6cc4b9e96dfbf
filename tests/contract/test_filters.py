"""Filters, search, fields and embedding (section 5 of the contract)."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import AnyUrl, EmailStr
from sqlalchemy import inspect

from kit.database.folding import fold
from tests.contract.answer import MARKER, refused
from tests.contract.field import Json
from tests.contract.listing import MEANINGS, comparable, ids, written
from tests.contract.resource import Resource, kind_of, needs, not_empty, resources_of, skip
from tests.engines import Client
from tests.statements import statements_of

pytestmark = pytest.mark.untraced

WRITINGS = ["100%_\\ \u00c9lan \u00df", "1000 _x \u00e9lan", "100% plain", "back\\slash", "\u0416\u0443\u043a %_"]
SOUGHT = [
    "%",
    "_",
    "\\",
    "\u00e9",
    "\u00c9",
    "%_",
    "\\s",
    "\u00c9LAN",
    "100%",
    "\u0436\u0423\u043a",
    "\u00df",
    "''",
    "zzz",
]
PARTS = {"contains": slice(2, 5), "startswith": slice(0, 3)}


def asked(operator: str, values: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield values for a filter, each as text for the query and as Python value for the comparison."""
    if operator == "isnull":
        yield from (("true", True), ("false", False))
    elif operator == "in":
        plain = [value for value in values if "," not in written(value)]
        yield from ((",".join(map(written, part)), part) for part in (plain[:1], plain[:2], plain) if part)
    elif operator in PARTS:
        yield from ((value[PARTS[operator]], value[PARTS[operator]]) for value in values if value[PARTS[operator]])
        yield from ((text, text) for text in ("", "%", "_", "\\"))
    else:
        yield from ((written(value), value) for value in values)


@needs("list", "create")
async def test_every_filter_returns_the_matching_rows(client: Client, resource: Resource) -> None:
    await resource.make_varied(client)
    rows = await resource.all(client)
    known = {name for row in rows for name, value in row.items() if value is not None}
    conditions = {key: (resource.shown(name), name, kind) for key, (name, kind) in resource.query.conditions.items()}
    filled = {parameter: part for parameter, part in conditions.items() if part[0] in known}
    for parameter, (name, attribute, operator) in not_empty(filled.items()):
        values = list(dict.fromkeys(row[name] for row in rows if row[name] is not None))
        for text, value in not_empty(asked(operator, values[:4])):
            kind, meaning = kind_of(resource, attribute), MEANINGS[operator]
            sought = value if operator in ("in", "isnull") else comparable(kind, value)
            own = [(row["id"], row[name] if operator == "in" else comparable(kind, row[name])) for row in rows]
            expected = [one for one, mine in own if meaning(mine, sought)]
            assert await ids(client, resource, sort="id", **{parameter: text}) == expected, (parameter, text)


@needs("list", "create")
async def test_filters_are_combined_with_and(client: Client, resource: Resource) -> None:
    made = [thing["id"] for thing in await resource.make_varied(client, 4)]
    both = {"id__in": ",".join(map(str, made[:3])), "id__ne": made[0]}
    assert await ids(client, resource, sort="id", **both) == made[1:3]
    assert await ids(client, resource, id=made[0], id__ne=made[0]) == []


@needs("list")
async def test_an_invalid_filter_value_is_refused(client: Client, resource: Resource) -> None:
    for parameter, (name, operator) in not_empty(resource.query.conditions.items()):
        texts: tuple[type, ...] = (str, EmailStr, AnyUrl)
        kind = kind_of(resource, name)
        is_text = isinstance(kind, type) and issubclass(kind, texts) and operator != "isnull"
        wrong = (
            ["a\0b", "a" * 60_000] if is_text else [MARKER, "", "1 0", "\0", "1e400", str(10**400), "NaN", "9" * 5000]
        )
        wrong += [",".join(["1"] * 101)] if operator == "in" else []
        for value in wrong:
            answer = await client.get(resource.path, params={parameter: value})
            assert any(error.startswith(parameter) for error in pointed(answer)), (parameter, value)


def compared(resource: Resource, *kinds: type) -> list[str]:
    """Return the parameters that compare a field of one of these types with a value."""
    conditions = {name: field for name, (field, kind) in resource.query.conditions.items() if kind != "isnull"}
    return [name for name, field in conditions.items() if kind_of(resource, field) in kinds]


@needs("list", "time filters")
async def test_a_time_in_a_query_has_the_format_of_rfc_3339(client: Client, resource: Resource) -> None:
    for parameter in not_empty(compared(resource, datetime)):
        for right in ("2001-01-01T00:00:00.5+01:00", "2001-01-01T00:00:00.123456789 01:00", "2001-01-01"):
            answer = await client.get(resource.path, params={parameter: right})
            assert answer.status_code == 200, (parameter, right)
        days = ("2026-01", "2026-02-30", "2026-01-01T00:00:00", "2026-02-30T00:00:00Z")
        for wrong in (*days, "5", "-5", "1700000000000"):
            assert pointed(await client.get(resource.path, params={parameter: wrong})), (parameter, wrong)


@needs("list", "number filters")
async def test_a_number_in_a_query_has_plain_decimal_notation(client: Client, resource: Resource) -> None:
    for parameter in not_empty(compared(resource, int, Decimal)):
        for wrong in ("1_0", " 1", "1 ", "\u0663", "+1", "1e2"):
            assert pointed(await client.get(resource.path, params={parameter: wrong})), (parameter, wrong)


def pointed(answer: Any) -> list[str]:
    assert answer.status_code == 422, f"{answer.request.url}: {answer.status_code}"
    return [error["pointer"] for error in answer.json()["errors"]]


@needs("list", "create", "search")
async def test_a_search_finds_rows_that_contain_the_text_ignoring_case(client: Client, resource: Resource) -> None:
    for field in not_empty(field for field in resource.fields("create") if field.attribute in resource.query.search):
        for text in [text for text in WRITINGS if field.offers(text)]:
            await resource.make(client, **{field.name: text})
    await resource.make(client)
    rows = await resource.all(client)
    for sought in [*SOUGHT, str(rows[0][resource.shown(resource.query.search[0])])[:200]]:
        expected = [row["id"] for row in rows if mentions(resource, row, sought)]
        assert await ids(client, resource, sort="id", q=sought) == expected, sought


def mentions(resource: Resource, row: Json, text: str) -> bool:
    shown = [row[resource.shown(name)] or "" for name in resource.query.search]
    return any(str(fold(text)) in str(fold(value)) for value in shown)  # q=ß finds ss, as in Address


@needs("list", "search")
async def test_a_search_for_text_that_cannot_be_stored_is_refused(client: Client, resource: Resource) -> None:
    for wrong in ("", "\0", "a\0b", "a" * 201, "a" * 60_000):
        assert refused(await client.get(resource.path, params={"q": wrong}), "q")


@needs("list", "create")
async def test_only_the_requested_fields_are_returned(client: Client, resource: Resource) -> None:
    await resource.all(client, thing := await resource.make(client))
    names = list(resource.query.read.model_fields)
    places = [resource.path, resource.url(thing)] if "read" in resource.verbs else [resource.path]
    for place in places:
        for wanted in ([names[0]], [names[-1]], names[::2], names[::-1], [names[1], names[1]]):
            answer = (await client.get(place, params={"fields": ",".join(wanted)})).json()
            (row,) = answer if isinstance(answer, list) else [answer]
            assert row == {resource.shown(name): thing[resource.shown(name)] for name in wanted}
        for wrong in ("", "nonsense", "id,nonsense", "id,", "*", "id\0", "_sa_instance_state"):
            assert "fields" in pointed(await client.get(place, params={"fields": wrong}))[0]


async def related(client: Client, resource: Resource, turn: int = 0) -> Json:
    """Create a row with a related row for each relationship that can be embedded, distinct for each turn."""
    thing = await resource.make(client, **await resource.full_body(client, turn))
    for name in resource.query.includes:
        relation = inspect(resource.query.model).relationships[name]
        if relation.uselist:
            table = relation.mapper.local_table.name
            child = next((other for other in resources_of(resource.app) if other.is_of(table)), None)
            keys = child.fields("create") if child else ()
            own = [field.name for field in keys if field.parent == resource.table.name]
            if child is None or len(own) != 1:
                skip(f"No resource creates rows of {table} for {name} of {resource.path}.")
            await child.make(client, **{own[0]: thing["id"]})
    return thing


@needs("list", "create", "includes")
async def test_related_rows_are_embedded_on_request(client: Client, resource: Resource) -> None:
    thing = await related(client, resource)
    embeddable = set(resource.query.includes)
    for place in [resource.path, *([resource.url(thing)] if "read" in resource.verbs else [])]:
        for names in ([], *([name] for name in embeddable), [*embeddable]):
            answer = (await client.get(place, params={"include": ",".join(names)} if names else {})).json()
            rows = answer if isinstance(answer, list) else [answer]
            row = next(row for row in rows if row["id"] == thing["id"])
            embedded = [one for name in names for one in (row[name] if isinstance(row[name], list) else [row[name]])]
            assert len([one["id"] for one in embedded]) == len(names)
            assert {name: value for name, value in row.items() if name not in names} == thing


@needs("list", "create", "includes")
async def test_embedding_needs_no_statement_per_row(client: Client, resource: Resource) -> None:
    parameters = {"include": ",".join(resource.query.includes), "sort": "id"}
    costs = []
    for turns in (range(1), range(1, 6)):
        for turn in turns:
            await related(client, resource, turn)
        with statements_of(resource.app.runtime.database.reader) as executed:
            assert await ids(client, resource, **parameters)
        costs.append(len(executed))
    assert costs[0] == costs[1] <= 1 + len(resource.query.includes)


@needs("list")
async def test_an_unknown_include_is_refused(client: Client, resource: Resource) -> None:
    for wrong in ("nonsense", "", "id", "user.items", "__class__"):
        assert "include" in pointed(await client.get(resource.path, params={"include": wrong}))[0]
