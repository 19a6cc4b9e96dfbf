"""Types of fields: a resource with plain annotations keeps the whole contract, on both databases."""

import json
import math
from collections.abc import AsyncIterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from httpx import Response
from pydantic_core import PydanticCustomError

from kit import Database, Service
from kit.models import json_values
from tests.clients import client_of
from tests.engines import Client, empty, url_for
from tests.kit.service import create_runtime, create_service, create_tables
from tests.kit.specimens import REGISTRY, SPECIMENS, Specimen, tables

REQUIRED = [specimen for specimen in SPECIMENS if not specimen.is_optional]
OPTIONAL = [specimen for specimen in SPECIMENS if specimen.is_optional]
SORTED = [specimen for specimen in SPECIMENS if specimen.kind.is_sorted]
FILTERED = [specimen for specimen in SPECIMENS if specimen.kind.is_filtered]

COMPARED = [
    specimen
    for specimen in SORTED
    if specimen.kind.annotation in (int, float, Decimal, date, datetime, time, timedelta)
]


def each(specimens: list[Specimen]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("specimen", specimens, ids=lambda specimen: specimen.name)


@pytest.fixture(scope="module")
async def specimens_url(new_database: Any) -> str:
    url: str = await new_database()
    database = Database(url_for(url))
    await create_tables(database)
    async with database.writer.begin() as connection:
        await connection.run_sync(REGISTRY.metadata.create_all, tables=tables())
    await database.dispose()
    return url


@pytest.fixture(scope="module")
async def service(specimens_url: str) -> AsyncIterator[Service]:
    """Provide the library with all specimens."""
    routers = [specimen.router for specimen in SPECIMENS]
    app = create_service(create_runtime(Database(url_for(specimens_url))), *routers)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="module")
async def plain_service(specimens_url: str) -> AsyncIterator[Service]:
    """Provide the same without the fast path."""
    routers = [specimen.router for specimen in SPECIMENS]
    app = create_service(create_runtime(Database(url_for(specimens_url))), *routers, fast=False)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    await empty(service.runtime.database, tables())
    async with client_of(service) as client:
        yield client


async def send(client: Client, method: str, url: str, body: Any) -> Any:
    """Send JSON as Python writes it: characters beyond ASCII, and lone surrogates, are escaped."""
    headers = {"Content-Type": "application/json"}
    return await client.request(method, url, content=json.dumps(body), headers=headers)


async def make(client: Client, specimen: Specimen, value: Any) -> dict[str, Any]:
    answer = await send(client, "POST", specimen.path, {"value": value})
    assert answer.status_code == 201, (specimen.name, value, answer.text)
    row: dict[str, Any] = answer.json()
    return row


async def make_all(client: Client, specimen: Specimen) -> list[Any]:
    """Create a row for each value, in reverse order, and two without a value where it is optional."""
    values = [*reversed(specimen.kind.values), *([None, None] if specimen.is_optional else [])]
    return [(await make(client, specimen, value))["value"] for value in values]


@each(SPECIMENS)
async def test_a_value_is_answered_as_it_was_sent(client: Client, specimen: Specimen) -> None:
    for value in specimen.kind.values:
        row = await make(client, specimen, value)
        assert row["value"] == value
        assert (await client.get(f"{specimen.path}{row['id']}")).json() == row
    rows = (await client.get(specimen.path)).json()
    assert [row["value"] for row in rows] == specimen.kind.values


@pytest.mark.untraced
@each(SPECIMENS)
async def test_another_spelling_of_a_value_is_answered_in_one_way(client: Client, specimen: Specimen) -> None:
    for sent, shown in specimen.kind.written:
        row = await make(client, specimen, sent)
        assert (type(row["value"]), row["value"]) == (type(shown), shown)
        assert (await client.get(f"{specimen.path}{row['id']}")).json() == row


@each(SPECIMENS)
async def test_what_is_no_value_is_refused_by_the_name_of_its_field(client: Client, specimen: Specimen) -> None:
    row = await make(client, specimen, specimen.kind.values[0])
    url = f"{specimen.path}{row['id']}"
    for value in [*specimen.kind.wrong, *([] if specimen.is_optional else [None])]:
        if value is None and specimen.is_optional:
            continue
        for method, path in (("POST", specimen.path), ("PUT", url), ("PATCH", url)):
            answer = await send(client, method, path, {"value": value})
            assert answer.status_code == 422, (method, value, answer.text)
            assert all(error["pointer"].startswith("#/value") for error in answer.json()["errors"])
    assert (await client.get(url)).json() == row


@each(SPECIMENS)
async def test_a_value_is_replaced_and_changed(client: Client, specimen: Specimen) -> None:
    first, last = specimen.kind.values[0], specimen.kind.values[-1]
    url = f"{specimen.path}{(await make(client, specimen, first))['id']}"
    for number, (method, value) in enumerate([("PUT", last), ("PATCH", first), ("PATCH", first)]):
        answer = await send(client, method, url, {"value": value})
        assert answer.status_code == 200, answer.text
        assert answer.json()["value"] == value
        changes = 0 if first == last else min(number + 1, 2)
        assert answer.json()["version"] == 1 + changes
        assert (await client.get(url)).json() == answer.json()


@each(OPTIONAL)
async def test_null_is_no_value(client: Client, specimen: Specimen) -> None:
    row = await make(client, specimen, None)
    assert row["value"] is None
    assert (await send(client, "POST", specimen.path, {})).json()["value"] is None
    await make(client, specimen, specimen.kind.values[0])
    for text, number in (("true", 2), ("false", 1)):
        found = await client.get(specimen.path, params={"value__isnull": text})
        assert found.status_code == 200, found.text
        assert len(found.json()) == number


@pytest.mark.exhaustive
@each(SPECIMENS)
async def test_many_are_created_at_once(client: Client, specimen: Specimen) -> None:
    body = [{"value": value} for value in specimen.kind.values]
    answer = await send(client, "POST", f"{specimen.path}bulk", body)
    assert answer.status_code == 201, answer.text
    assert [row["value"] for row in answer.json()] == specimen.kind.values
    assert (await client.get(specimen.path)).json() == answer.json()
    refused = await send(client, "POST", f"{specimen.path}bulk", [*body, {"value": specimen.kind.wrong[0]}])
    assert refused.json()["errors"][0]["pointer"].startswith(f"#/{len(body)}/value")


@each(SPECIMENS)
async def test_many_are_changed_at_once(client: Client, specimen: Specimen) -> None:
    first, last = specimen.kind.values[0], specimen.kind.values[-1]
    ids = [(await make(client, specimen, first))["id"] for _ in range(2)]
    for _ in range(2):
        answer = await send(client, "PATCH", f"{specimen.path}bulk", {"ids": ids, "changes": {"value": last}})
        assert answer.json() == {"updated": 2}, answer.text
        rows = (await client.get(specimen.path)).json()
        assert [(row["value"], row["version"]) for row in rows] == [(last, 1 if first == last else 2)] * 2


@pytest.mark.exhaustive
@each(SORTED)
async def test_rows_are_sorted_by_their_values_and_null_comes_last(client: Client, specimen: Specimen) -> None:
    await make_all(client, specimen)
    values, nulls = list(specimen.kind.values), [None, None] if specimen.is_optional else []
    for sort, expected in (("value", values + nulls), ("-value", values[::-1] + nulls)):
        rows = (await client.get(specimen.path, params={"sort": sort})).json()
        assert [row["value"] for row in rows] == expected


@pytest.mark.exhaustive
@each(SORTED)
async def test_pages_lead_to_each_row_once(client: Client, specimen: Specimen) -> None:
    await make_all(client, specimen)
    for sort in ("value", "-value"):
        expected = (await client.get(specimen.path, params={"sort": sort})).json()
        answer = await client.get(specimen.path, params={"sort": sort, "limit": 1})
        rows = answer.json()
        while "next" in answer.links:
            answer = await client.get(answer.links["next"]["url"])
            assert answer.status_code == 200, answer.text
            rows += answer.json()
        assert rows == expected


def as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@each(FILTERED)
async def test_a_value_filters(client: Client, specimen: Specimen) -> None:
    made = await make_all(client, specimen)
    for value in specimen.kind.values:
        rows = (await client.get(specimen.path, params={"value": as_text(value)})).json()
        assert [row["value"] for row in rows] == [value]
        others = await client.get(specimen.path, params={"value__ne": as_text(value)})
        assert others.json() == [row for row in (await client.get(specimen.path)).json() if row["value"] != value]
    assert len(made) >= len(specimen.kind.values)


@pytest.mark.exhaustive
@each(FILTERED)
async def test_several_values_filter(client: Client, specimen: Specimen) -> None:
    known = specimen.query.parameters
    await make_all(client, specimen)
    if "value__in" in known:
        texts = [as_text(value).replace(",", r"\,") for value in specimen.kind.values]
        for params in ({"value__in": ",".join(texts)}, {"value__in": texts}):
            found = await client.get(specimen.path, params=params)
            assert sorted(map(str, (row["value"] for row in found.json()))) == sorted(map(str, specimen.kind.values))


@pytest.mark.exhaustive
@each(COMPARED)
async def test_values_are_compared(client: Client, specimen: Specimen) -> None:
    await make_all(client, specimen)
    values = list(specimen.kind.values)
    expected = {"lt": values[:1], "lte": values[:2], "gt": values[2:], "gte": values[1:]}
    for operator, some in expected.items():
        params = {f"value__{operator}": as_text(values[1]), "sort": "value"}
        found = await client.get(specimen.path, params=params)
        assert [row["value"] for row in found.json()] == some


@each([specimen for specimen in FILTERED if specimen.kind.name not in ("title", "short")])
async def test_what_is_no_value_filters_nothing(client: Client, specimen: Specimen) -> None:
    for value in ("\U0001f600", "1_0", "1e400", " 1"):
        if "value__contains" not in specimen.query.parameters or specimen.kind.name == "link":
            answer = await client.get(specimen.path, params={"value": value})
            assert answer.status_code == 422, (value, answer.text)
            assert answer.json()["errors"][0]["pointer"] == "value"


@pytest.mark.exhaustive
@each(REQUIRED)
async def test_the_same_key_makes_a_value_once(client: Client, specimen: Specimen) -> None:
    body, key = {"value": specimen.kind.values[0]}, {"Idempotency-Key": specimen.name}
    first, again = [await client.post(specimen.path, json=body, headers=key) for _ in range(2)]
    assert (first.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.exhaustive
@each(SPECIMENS)
async def test_both_paths_answer_the_same_bytes(client: Client, plain_service: Service, specimen: Specimen) -> None:
    await make_all(client, specimen)
    async with client_of(plain_service) as plain:
        row = (await client.get(specimen.path)).json()[0]
        for path in (specimen.path, f"{specimen.path}{row['id']}", f"{specimen.path}?fields=value&limit=1"):
            assert (await plain.get(path)).content == (await client.get(path)).content
        body = {"value": specimen.kind.values[-1]}
        answers = [(await sender.post(specimen.path, json=body)).text for sender in (client, plain)]
        shown = [answer.partition('"value":')[2].partition(',"version"')[0] for answer in answers]
        assert shown[0] == shown[1]


@pytest.mark.exhaustive
async def test_the_document_shows_each_type(service: Service) -> None:
    schemas = service.openapi()["components"]["schemas"]
    for specimen in SPECIMENS:
        described = schemas[specimen.create.__name__]["properties"]["value"]
        assert described


@each(REQUIRED)
def test_each_type_has_a_json_schema(specimen: Specimen) -> None:
    assert specimen.create.model_json_schema()["properties"]["value"]
    assert specimen.read.model_json_schema(mode="serialization")["properties"]["value"]


@pytest.mark.parametrize("value", [[[[]] * 2] * 2, {"a": math.inf}, {"a": 2**63}, ["\0"]])
def test_json_that_cannot_be_stored_is_refused(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setattr(json_values, "MAX_DEPTH", 1)
    with pytest.raises(PydanticCustomError):
        json_values.storable_json(value)


EXACT_NUMBERS = [
    ("any_amount", "12345678901234567890.123456789", "12345678901234567890.123456789"),
    ("any_amount", "0.12345678901234567890", "0.1234567890123456789"),
    ("any_amount", "1.5E3", "1500"),
    ("amount", "99999999.990000000000", "99999999.99"),
    ("whole", "9007199254740993.0", 9007199254740993),
    ("whole", "1.23456789012345e18", 1234567890123450000),
    ("ratio", "0.1234567890123456789", 0.12345678901234568),
    ("attributes", '{"a": [0.1234567890123456789, 1e2]}', {"a": [0.12345678901234568, 100.0]}),
]
"""Numbers as JSON has them, which a float does not keep, and their values in the response."""


@pytest.mark.parametrize(("name", "number", "shown"), EXACT_NUMBERS)
async def test_a_number_keeps_the_digits_that_its_type_has(
    client: Client, plain_service: Service, name: str, number: str, shown: Any
) -> None:
    async with client_of(plain_service) as plain:
        for sender in (client, plain):
            answer = await post_json(sender, name, number)
            assert (answer.status_code, answer.json()["value"]) == (201, shown)
            assert (await client.get(answer.headers["Location"])).json()["value"] == shown


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("any_amount", "1234567890123456789012345678901.5"),
        ("any_amount", "0.1234567890123456789012345678901"),
        ("amount", "1.00000000000000000001"),
        ("whole", "1.00000000000000000001"),
        ("whole", "9223372036854775807.5"),
        *[(name, number) for name in ("any_amount", "ratio", "whole") for number in ("1e-400", "-1e400")],
    ],
)
async def test_a_number_that_its_type_cannot_keep_is_refused(client: Client, name: str, number: str) -> None:
    answer = await post_json(client, name, number)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/value")


async def test_a_number_beyond_the_range_of_floats_is_refused_by_its_place_in_the_body(client: Client) -> None:
    answer = await post_json(client, "attributes", '{"a": [0.0, 0e-400, {"b": 1e-400}], "c": 1e400}')
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/value/a/2/b", "#/value/c"]


@pytest.mark.parametrize("text", ["1e-400", "-0.01e-350", "1e400"])
async def test_a_filter_beyond_the_range_of_floats_is_refused(client: Client, text: str) -> None:
    answer = await client.get("/specimens/ratio/", params={"value": text})
    assert [error["type"] for error in answer.json()["errors"]] == ["number_range"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("moment", "2016-12-31T23:59:60Z"),
        ("moment", "2017-01-01t00:59:60.123456789+01:00"),
        ("maybe_moment", "2016-12-31 23:59:60z"),
        ("clock", "23:59:60"),
    ],
)
async def test_a_leap_second_is_refused_in_bodies_and_filters(client: Client, name: str, value: str) -> None:
    path = f"/specimens/{name}/"
    in_body = await client.post(path, json={"value": value})
    in_bulk = await client.post(f"{path}bulk", json=[{"value": value}])
    in_filters = [await client.get(path, params={filtered: value}) for filtered in ("value", "value__lt", "value__in")]
    for answer in (in_body, in_bulk, *in_filters):
        (fault,) = answer.json()["errors"]
        assert (answer.status_code, fault["type"], "second 59" in fault["detail"]) == (422, "leap_second", True)


async def post_json(client: Client, name: str, value: str) -> Response:
    headers = {"Content-Type": "application/json"}
    return await client.post(f"/specimens/{name}/", content=f'{{"value": {value}}}', headers=headers)
