"""Bodies (sections 3 and 4 of the contract): valid and invalid fields, and their effects."""

import json
from unicodedata import normalize

import pytest

from kit.query.list_query import is_list_of
from tests.contract.answer import MARKER, pointers, refused, send, tagged_version, with_raw
from tests.contract.field import Field
from tests.contract.resource import BLANKS, FIELDS, Resource, needs, not_empty
from tests.engines import Client

pytestmark = pytest.mark.untraced

NO_INTEGERS = ['"5"', '""', "true", "1.5", "1e400", "-1e400", str(10**20), str(-(10**20)), "[]", "{}", "[1]"]
WRITINGS = [
    "\U0001f469\u200d\U0001f680 \U0001f1eb\U0001f1f7",
    "\u05e9\u05dc\u05d5\u05dd \u202eabc\u202c",
    "e\u0301 \u00e9 a\u0300\u0316",
    "\U00010348 \uffff",
    "<b>' \" \\ ; -- %s {}</b>",
    " spaced\tout\n",
]


@needs("writable")
async def test_an_unknown_field_is_refused_by_its_name(client: Client, resource: Resource) -> None:
    for verb, method, url in await resource.writable(client):
        answer = await client.request(method, url, json=await resource.valid(client, verb) | {"nonsense": MARKER})
        assert pointers(answer) == {"nonsense"}


@needs("replace", "read")
async def test_sending_back_a_read_row_changes_nothing(client: Client, resource: Resource) -> None:
    sent = await resource.full_body(client, turn=0)
    url = resource.url(await resource.make(client, **sent))
    includes = resource.query.includes if "list" in resource.verbs else ()
    single = [name for name in includes if not is_list_of(resource.query.model, name)]
    embedded = {"include": ",".join(single)} if single else {}
    for parameters in ({}, embedded):
        before = await client.get(url)
        read = (await client.get(url, params=parameters)).json()
        hidden = {field.name: sent[field.name] for field in resource.fields("replace") if field.name not in read}
        answer = await client.put(url, json=read | hidden)
        resource.made(answer, "replace")
        assert hidden or (answer.json(), answer.headers["etag"]) == (before.json(), before.headers["etag"])


@needs("things")
async def test_read_only_fields_are_ignored(client: Client, resource: Resource) -> None:
    thing = await resource.make(client)
    for verb, method, url in await resource.writable(client):
        written = {field.name for field in resource.fields(verb)}
        read_only = {name: value for name, value in thing.items() if name not in written}
        answer = await client.request(method, url, json=read_only | await resource.valid(client, verb))
        resource.made(answer, verb)
        assert answer.json()["id"] != thing["id"]
        assert answer.json()[resource.shown("created_at")] != thing[resource.shown("created_at")]


@needs("writable", "fields that are not null")
async def test_null_is_refused_for_a_field_that_is_not_nullable(client: Client, resource: Resource) -> None:
    for field, method, url, body in await resource.fields_in_bodies(client, "fields that are not null"):
        answer = await client.request(method, url, json=body | {field.name: None})
        assert pointers(answer) == {field.name}


@needs("things", "nullable fields")
async def test_null_is_accepted_for_a_nullable_field(client: Client, resource: Resource) -> None:
    for verb, method, url in await resource.writable(client):
        nulls = dict.fromkeys(not_empty(field.name for field in resource.fields(verb) if field.nullable))
        answer = await client.request(method, url, json=await resource.valid(client, verb) | nulls)
        resource.made(answer, verb)
        assert all(answer.json().get(name) is None for name in nulls)


@needs("writable", "required fields")
async def test_a_missing_required_field_is_refused(client: Client, resource: Resource) -> None:
    checked = 0
    for verb, method, url in await resource.writable(client):
        required = {field.name for field in resource.fields(verb) if field.required}
        assert (verb == "update") <= (not required)
        if required:
            assert pointers(await client.request(method, url, json={})) == required
            checked += 1
    assert checked


@needs("update", "read")
async def test_an_empty_patch_changes_nothing(client: Client, resource: Resource) -> None:
    thing = await resource.make(client, **await resource.full_body(client, turn=0))
    answer = await client.patch(resource.url(thing), json={})
    assert (answer.status_code, answer.json(), tagged_version(answer)) == (200, thing, "1")
    assert (await client.get(resource.url(thing))).json() == thing


@needs("update", "read")
async def test_a_patch_of_one_field_keeps_the_others(client: Client, resource: Resource) -> None:
    stamps = {resource.shown(name) for name in ("version", "updated_at")}
    not_empty(set(resource.read.model_fields).intersection(field.attribute for field in resource.fields("update")))
    for field in resource.fields("update"):
        thing = await resource.make(client, **await resource.full_body(client, turn=0))
        change = {field.name: await resource.value(client, field, turn=1)}
        answer = await client.patch(resource.url(thing), json=change)
        resource.made(answer, "update")
        differing = {name for name, value in answer.json().items() if value != thing[name]}
        if field.name in thing:
            expected = stamps | {field.name} if thing[field.name] != change[field.name] else set()
            assert {name for name in differing if name in expected or name in thing.keys() & change.keys()} == expected
            assert answer.json()["version"] == thing["version"] + bool(expected)
        assert (await client.get(resource.url(thing))).json() == answer.json()


@needs("replace", "read")
async def test_a_put_sets_missing_fields_to_their_defaults(client: Client, resource: Resource) -> None:
    thing = await resource.make(client, **await resource.full_body(client, turn=1))
    body = await resource.body(client, "replace", whole=False)
    answer = await client.put(resource.url(thing), json=body)
    resource.made(answer, "replace")
    fields = not_empty(field for field in resource.fields("replace") if field.name in thing)
    for field in fields:
        assert answer.json()[field.name] == body.get(field.name, field.default), field.name
    is_changed = any(answer.json()[field.name] != thing[field.name] for field in fields)
    assert answer.json()["version"] == thing["version"] + is_changed
    assert tagged_version(answer) == str(thing["version"] + is_changed)
    assert answer.json()[resource.shown("created_at")] == thing[resource.shown("created_at")]
    assert (await client.get(resource.url(thing))).json() == answer.json()


def beyond(field: Field) -> list[str]:
    return [str(int(low) - 1) for low in field.all_of("minimum")] + [
        str(int(top) + 1) for top in field.all_of("maximum")
    ]


@needs("writable", "integers")
async def test_a_value_that_is_not_an_integer_within_its_bounds_is_refused(client: Client, resource: Resource) -> None:
    for field, method, url, body in await resource.fields_in_bodies(client, "integers"):
        for token in [*NO_INTEGERS, *beyond(field)]:
            answer = await send(client, method, url, with_raw(body, field.name, token))
            assert refused(answer, field.name), (field.name, token)


@needs("things", "update", "bounded integers")
async def test_an_integer_may_be_at_its_bounds(client: Client, resource: Resource) -> None:
    for field in not_empty(field for field in resource.fields("create") if FIELDS["bounded integers"](field)):
        for bound in not_empty(field.bounds):
            answer = await client.post(resource.path, json=await resource.body(client) | {field.name: bound})
            resource.made(answer)
            assert answer.json().get(field.name, bound) == bound


@needs("writable", "amounts")
async def test_an_amount_with_more_than_two_decimals_or_not_finite_is_refused(
    client: Client, resource: Resource
) -> None:
    for field, method, url, body in await resource.fields_in_bodies(client, "amounts"):
        for token in ("1.005", '"1.005"', "1e400", '"NaN"', '"Infinity"', "true", '"x"', "[]", '"-1e99"'):
            answer = await send(client, method, url, with_raw(body, field.name, token))
            assert refused(answer, field.name), (field.name, token)


@needs("things", "amounts")
async def test_an_amount_is_sent_as_number_or_string_and_returned_as_string(client: Client, resource: Resource) -> None:
    for field in not_empty(field for field in resource.fields("create") if field.is_amount):
        for token in ("9.99", '"9.99"'):
            answer = await send(client, "POST", resource.path, with_raw(await resource.body(client), field.name, token))
            assert resource.made(answer).get(field.name, "9.99") == "9.99"


@needs("writable", "texts")
async def test_text_that_cannot_be_stored_is_refused(client: Client, resource: Resource) -> None:
    for field, method, url, body in await resource.fields_in_bodies(client, "texts"):
        for value in ("a" * 100_000, "a\0b", "\0", "a\ud800", "\udc00", 5, True, ["a"], {"a": "b"}):
            if not (field.is_a("number") and value == 5):
                answer = await send(client, method, url, body | {field.name: value})
                assert refused(answer, field.name), (field.name, value)


@needs("writable", "texts with a maximum")
async def test_text_is_not_longer_than_the_docs_say(client: Client, resource: Resource) -> None:
    for field, method, url, body in await resource.fields_in_bodies(client, "texts with a maximum"):
        longer = "\U0001f600" * (min(field.all_of("maxLength")) + 1)
        answer = await client.request(method, url, json=body | {field.name: longer})
        assert refused(answer, field.name)


@needs("writable", "names")
async def test_a_name_is_not_blank(client: Client, resource: Resource) -> None:
    for field, method, url, body in await resource.fields_in_bodies(client, "names"):
        for blank in not_empty(blank for blank in BLANKS if not field.offers(blank)):
            answer = await client.request(method, url, json=body | {field.name: blank})
            assert refused(answer, field.name), (field.name, blank)


@needs("create", "read", "free texts")
async def test_text_in_any_script_is_stored_in_its_composed_form(client: Client, resource: Resource) -> None:
    body = await resource.body(client)
    fields = [field for field in resource.fields("create") if field.is_free_text]
    for field, text in not_empty((field, text) for field in fields for text in WRITINGS if field.offers(text)):
        own = await resource.body(client) if resource.unique else body
        thing = await resource.make(client, **own | {field.name: text})
        read, kept = await client.get(resource.url(thing)), normalize("NFC", text)
        assert json.loads(read.content).get(field.name, kept) == kept
        assert read.json() == thing


@needs("things", "update", "integers")
async def test_an_integer_may_be_written_with_a_point(client: Client, resource: Resource) -> None:
    for field in [field for field in resource.fields("create") if field.is_a("integer") and not field.parent]:
        number, body = field.value(), await resource.body(client)
        answer = await send(client, "POST", resource.path, with_raw(body, field.name, f"{number}.0"))
        assert resource.made(answer).get(field.name, number) == number
        assert f'"{field.name}":{number}.0' not in answer.text


@needs("parents")
async def test_a_reference_to_a_missing_row_is_a_conflict_that_names_the_field(
    client: Client, resource: Resource
) -> None:
    for verb, method, url in await resource.writable(client):
        for field in not_empty(field for field in resource.fields(verb) if field.parent):
            nothing = 2**62 if field.is_a("integer") else "01890000-0000-7000-8000-000000000000"
            body = await resource.body(client, verb) | {field.name: nothing}
            answer = await client.request(method, url, json=body)
            assert answer.status_code == 409, answer.text
            assert field.name in answer.json()["detail"]


@needs("delete", "read")
async def test_a_deleted_row_is_not_found(client: Client, resource: Resource) -> None:
    kept, gone = await resource.make(client), await resource.make(client)
    answer = await client.delete(resource.url(gone))
    assert (answer.status_code, answer.content) == (204, b"")
    for verb, method, _ in await resource.items(client):
        body = await resource.valid(client, verb) if verb in ("replace", "update") else None
        assert (await client.request(method, resource.url(gone), json=body)).status_code == 404
    assert (await client.get(resource.url(kept))).json() == kept
    assert gone["id"] not in [thing["id"] for thing in await resource.all(client)]
