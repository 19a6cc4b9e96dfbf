"""Preconditions (section 4 of the contract): versions, and concurrent changes of the same row."""

from asyncio import gather
from collections import Counter

import pytest
from httpx import Response

from tests.contract.answer import errors, tagged_version
from tests.contract.field import Json
from tests.contract.resource import Resource, needs, not_empty
from tests.engines import Client

pytestmark = pytest.mark.untraced

NO_TAGS = ["nonsense", '"1', '1"', "1", '"1" "2"', ",", 'w/"1"', '"1"; "2"', "", '*, "1"', '"a"b"']
RACERS = 15
"""The number of concurrent requests: as many as the new passwords of one caller that may wait to be hashed."""


async def change(client: Client, resource: Resource, turn: int = 1) -> Json:
    """Return a body with one field, with another value for each turn if possible."""
    fields = sorted(resource.fields("update"), key=lambda field: (not field.is_free_text, field.parent is not None))
    return {fields[0].name: await resource.value(client, fields[0], turn)}


@needs("update", "read", "conditional update")
async def test_a_change_with_the_current_version_succeeds(client: Client, resource: Resource) -> None:
    url = resource.url(await resource.make(client))
    for turn, header in enumerate(
        ['"{}"', "*", 'W/"{}"', '"0", W/"{}"', '"{}" , W/"77", "x"', ', "{}",, ,', " * "], start=1
    ):
        body = await change(client, resource, turn)
        answer = await client.patch(url, json=body, headers={"If-Match": header.format(turn)})
        assert answer.status_code == 200, (header, answer.text)
        assert tagged_version(answer) == str(turn + 1)
        assert answer.json()["version"] == turn + 1
        assert (await client.patch(url, json={}, headers={"If-Match": answer.headers["etag"]})).status_code == 200


@needs("conditional", "read")
async def test_a_change_with_another_version_fails_and_changes_nothing(client: Client, resource: Resource) -> None:
    for verb, method, url in await resource.items(client, *resource.conditional):
        before = (await client.get(url)).json()
        body = await CHANGING[verb](client, resource)
        for header in ('"2"', 'W/"2"', '"01"', 'W/"01"', '""', 'W/"3", "2"', '"*"'):
            answer = await client.request(method, url, json=body, headers={"If-Match": header})
            assert answer.status_code == 412, header
        assert (await client.get(url)).json() == before
        answer = await client.request(method, url, json=body, headers=[("If-Match", '"7"'), ("If-Match", 'W/"1"')])
        assert answer.status_code in (200, 204)


async def replacement(client: Client, resource: Resource) -> Json:
    return await resource.body(client, "replace", turn=1)


async def nothing(_: Client, __: Resource) -> None:
    return None


CHANGING = {"replace": replacement, "update": change, "delete": nothing}


@needs("conditional", "read")
async def test_a_change_of_an_existing_row_fails_if_none_may_match(client: Client, resource: Resource) -> None:
    for verb, method, url in await resource.items(client, *resource.conditional):
        before = (await client.get(url)).json()
        body = await CHANGING[verb](client, resource)
        for lines in (["*"], [" * "], ['"1"'], ['W/"1"'], ['"7", "1"'], ['"7"', '"1"']):
            answer = await client.request(method, url, json=body, headers=[("If-None-Match", line) for line in lines])
            assert (answer.status_code, answer.json()["type"]) == (412, "urn:problem:exists"), lines
        assert (await client.get(url)).json() == before
        answer = await client.request(method, url, json=body, headers={"If-None-Match": '"7"', "If-Match": '"1"'})
        assert answer.status_code in (200, 204)


@needs("unique", "things")
async def test_a_create_with_if_none_match_fails_if_the_row_exists(client: Client, resource: Resource) -> None:
    body, key = await resource.body(client), {"Idempotency-Key": "a" * 20}
    first = await client.post(resource.path, json=body, headers={"If-None-Match": "*"})
    resource.made(first)
    for headers in ({}, key):
        other = await client.post(resource.path, json=body, headers={"If-None-Match": '"1"'} | headers)
        assert (other.status_code, other.json()["type"]) == (409, "urn:problem:taken")
        again = await client.post(resource.path, json=body, headers={"If-None-Match": "*"} | headers)
        assert (again.status_code, again.json()["type"]) == (412, "urn:problem:exists")


@needs("create")
async def test_a_create_with_an_invalid_if_none_match_is_refused(client: Client, resource: Resource) -> None:
    body = await resource.body(client)
    for header in NO_TAGS:
        answer = await client.post(resource.path, json=body, headers={"If-None-Match": header})
        assert [(error["in"], error["pointer"]) for error in errors(answer)] == [("header", "If-None-Match")], header


@needs("conditional")
async def test_an_invalid_precondition_is_refused(client: Client, resource: Resource) -> None:
    for verb, method, url in await resource.items(client, *resource.conditional):
        body = await CHANGING[verb](client, resource)
        for name in ("If-Match", "If-None-Match"):
            for header in NO_TAGS:
                answer = await client.request(method, url, json=body, headers={name: header})
                assert [(error["in"], error["pointer"]) for error in errors(answer)] == [("header", name)], header


@needs("tags")
async def test_a_matching_if_none_match_gets_a_304(client: Client, resource: Resource) -> None:
    for url in await resource.readable(client):
        tag = (await client.get(url)).headers["etag"]
        for header in (tag, f'"x", {tag}', "*", tag.removeprefix("W/")):
            answer = await client.get(url, headers={"If-None-Match": header})
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        answer = await client.get(url, headers=[("If-None-Match", '"x"'), ("If-None-Match", tag)])
        assert answer.status_code == 304
        for header in ('"another"', 'W/"another"', "nonsense"):
            assert (await client.get(url, headers={"If-None-Match": header})).status_code == 200


@needs("things", "list")
async def test_a_list_has_a_weak_tag_that_changes_with_its_rows(client: Client, resource: Resource) -> None:
    await resource.all(client, await resource.make(client))
    before = (await client.get(resource.path)).headers["etag"]
    assert before.startswith('W/"')
    await resource.make(client)
    answer = await client.get(resource.path, headers={"If-None-Match": before})
    assert answer.status_code == 200
    assert answer.headers["etag"] != before


@needs("update", "read")
async def test_a_changed_row_is_sent_again(client: Client, resource: Resource) -> None:
    url = resource.url(await resource.make(client))
    await client.patch(url, json=await change(client, resource))
    answer = await client.get(url, headers={"If-None-Match": '"1"'})
    assert (answer.status_code, tagged_version(answer)) == (200, "2")


@needs("update", "read", "conditional update")
async def test_of_two_changes_with_one_version_one_succeeds(client: Client, resource: Resource) -> None:
    for _ in range(5):
        url = resource.url(await resource.make(client))
        bodies = [await change(client, resource, turn) for turn in (1, 2)]
        answers = await gather(*(client.patch(url, json=body, headers={"If-Match": '"1"'}) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [200, 412]
        (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
        assert (await client.get(url)).json() == winner


@needs("update", "read")
async def test_concurrent_changes_get_distinct_versions(client: Client, resource: Resource) -> None:
    url = resource.url(await resource.make(client))
    bodies = [await change(client, resource, turn) for turn in range(1, 11)]
    answers = await gather(*(client.patch(url, json=body) for body in bodies))
    assert Counter(answer.status_code for answer in answers) == {200: 10}
    rows = {answer.json()["version"]: answer.json() for answer in answers}
    assert all(rows[answer.json()["version"]] == answer.json() for answer in answers)
    if len({str(body) for body in bodies}) == len(bodies):  # a flag or an enum has fewer values, and may be as it was
        assert set(rows) == set(range(2, 12))


@needs("unique", "things")
async def test_of_concurrent_creates_of_the_same_row_one_succeeds(client: Client, resource: Resource) -> None:
    body = await resource.body(client)
    answers = await gather(*(client.post(resource.path, json=body) for _ in range(RACERS)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: RACERS - 1}
    lost = [answer.json()["detail"] for answer in answers if answer.status_code == 409]
    assert all(any(name in detail for name in resource.unique) for detail in lost)


@needs("unique", "things")
async def test_each_unique_value_can_be_used_once(client: Client, resource: Resource) -> None:
    for together in not_empty(resource.uniques):
        body = await resource.body(client)
        await resource.make(client, **body)
        again = await resource.body(client) | {name: body[name] for name in together}
        assert is_taken(await client.post(resource.path, json=again), together)
        if "update" in resource.verbs:
            url = resource.url(await resource.make(client))
            assert is_taken(await client.patch(url, json={name: body[name] for name in together}), together)
            assert (await client.get(url)).json()["version"] == 1


def is_taken(answer: Response, fields: set[str]) -> bool:
    return answer.status_code == 409 and any(name in answer.json()["detail"] for name in fields)


@needs("update", "delete")
async def test_a_change_concurrent_to_a_deletion_succeeds_or_is_a_404(client: Client, resource: Resource) -> None:
    for turn in range(20):
        url = resource.url(await resource.make(client))
        headers = {"If-Match": '"1"'} if turn % 2 and {"update", "delete"} <= set(resource.conditional) else {}
        body = await change(client, resource)
        answers = await gather(client.patch(url, json=body, headers=headers), client.delete(url, headers=headers))
        assert {answer.status_code for answer in answers} <= {200, 204, 404, 412}
        assert any(answer.is_success for answer in answers)
        assert (await client.get(url)).status_code == (404 if answers[1].is_success else 200)
