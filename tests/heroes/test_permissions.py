"""Permissions (section 8 of the contract): members create and change their own rows, superusers do everything.

The permission of each route is declared by its router. `make routes` lists them; the contract tests check them.
"""

from typing import Any

import pytest
from httpx import Response

from kit import Service
from tests.accounts import PASSWORD, token_of
from tests.application import KEY, opened, production
from tests.clients import client_of
from tests.engines import Client, url_of
from tests.heroes.powers import new_hero
from tests.heroes.served import is_served, needs, served
from tests.heroes.shop import new_product
from tests.people import Person
from tests.rows import UNKNOWN, Json, cheap_hashes, made, numbers, read, user_body

OWNERS = {"items": "owner_id", "posts": "author_id", "reviews": "author_id"}
OWNED = {kind: owner for kind, owner in OWNERS.items() if is_served(f"/{kind}/")}
"""The resources that belong to users, with the field of the owner."""
pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)
owned = pytest.mark.parametrize("kind", OWNED)
writing = pytest.mark.parametrize("method", ["PUT", "PATCH"])


@needs("/products/bulk", "/products/{product_id}/deletion")
async def test_superusers_restore_delete_and_bulk_update_products(superuser: Person) -> None:
    product = await new_product(superuser.client)
    path, many = f"/products/{product['id']}", {"ids": [product["id"]], "changes": {"status": "active"}}
    assert (await superuser.client.patch("/products/bulk", json=many)).json() == {"updated": 1}
    for method, where in (("DELETE", path), ("DELETE", f"{path}/deletion"), ("DELETE", f"{path}?permanent=true")):
        assert (await superuser.client.request(method, where)).status_code == 204
    assert (await superuser.client.get(path)).status_code == 404


async def test_members_read_overview_dashboard_and_their_own_record(superuser: Person, natasha: Person) -> None:
    for path in served(["/products/{product_id}/overview", "/dashboard", "/users/me"]):
        product_id = (await new_product(superuser.client))["id"] if "product" in path else None
        assert (await natasha.client.get(path.format(product_id=product_id))).status_code == 200


async def body_of(kind: str, superuser: Person) -> Json:
    """Return a valid body without an owner."""
    if kind == "items":
        return {"name": f"Teapot {next(numbers)}", "price": "9.99"}
    if kind == "posts":
        return {"title": f"Tea {next(numbers)}", "body": "Hot."}
    return {"product_id": (await new_product(superuser.client))["id"], "rating": 4}


async def row_belonging_to(kind: str, superuser: Person, owner: Person) -> Json:
    return await made(owner.client, f"/{kind}/", **await body_of(kind, superuser))


def is_forbidden(answer: Response) -> bool:
    return answer.status_code == 403 and answer.json()["type"] == "urn:problem:forbidden"


@owned
async def test_members_read_rows_of_others_and_cannot_change_them(
    kind: str, superuser: Person, natasha: Person, steve: Person
) -> None:
    thing = await row_belonging_to(kind, superuser, steve)
    path, body = f"/{kind}/{thing['id']}", await body_of(kind, superuser)
    assert await read(natasha.client, path) == thing
    assert thing in await read(natasha.client, f"/{kind}/", **{OWNED[kind]: str(steve.id)})
    for method, sent in (("PATCH", body), ("PUT", body), ("DELETE", None), ("PATCH", {OWNED[kind]: natasha.id})):
        assert is_forbidden(await natasha.client.request(method, path, json=sent))
    assert is_forbidden(await natasha.client.put(path, json=body | {OWNED[kind]: natasha.id}))
    assert await read(steve.client, path) == thing


@owned
async def test_a_change_without_effect_to_a_row_of_another_user_is_refused(
    kind: str, superuser: Person, natasha: Person, steve: Person
) -> None:
    thing = await row_belonging_to(kind, superuser, steve)
    same = {name: value for name, value in thing.items() if name in await body_of(kind, superuser)}
    for method, body in (("PATCH", same), ("PUT", same | {OWNED[kind]: steve.id})):
        assert is_forbidden(await natasha.client.request(method, f"/{kind}/{thing['id']}", json=body))


@owned
async def test_an_empty_patch_to_a_row_of_another_user_is_refused(
    kind: str, superuser: Person, natasha: Person, steve: Person
) -> None:
    thing = await row_belonging_to(kind, superuser, steve)
    assert is_forbidden(await natasha.client.patch(f"/{kind}/{thing['id']}", json={}))


@owned
async def test_the_default_owner_is_the_caller(kind: str, superuser: Person, natasha: Person) -> None:
    thing = await made(natasha.client, f"/{kind}/", **await body_of(kind, superuser))
    assert thing[OWNED[kind]] == natasha.id
    (many,) = (await natasha.client.post(f"/{kind}/bulk", json=[await body_of(kind, superuser)])).json()
    assert many[OWNED[kind]] == natasha.id


@owned
async def test_creating_a_row_for_another_owner_is_refused(
    kind: str, superuser: Person, natasha: Person, steve: Person
) -> None:
    for owner in (steve.id, superuser.id, 2**62):
        body = await body_of(kind, superuser) | {OWNED[kind]: owner}
        assert is_forbidden(await natasha.client.post(f"/{kind}/", json=body))
    assert await read(superuser.client, f"/{kind}/") == []


@owned
async def test_one_element_of_another_owner_aborts_a_bulk(
    kind: str, superuser: Person, natasha: Person, steve: Person
) -> None:
    mine, foreign = [await body_of(kind, superuser) for _ in range(2)]
    answer = await natasha.client.post(f"/{kind}/bulk", json=[mine, foreign | {OWNED[kind]: steve.id}])
    assert is_forbidden(answer)
    assert await read(superuser.client, f"/{kind}/") == []


@owned
async def test_an_element_of_another_owner_is_skipped_on_request(
    kind: str, superuser: Person, natasha: Person, steve: Person
) -> None:
    first, foreign, last = [await body_of(kind, superuser) for _ in range(3)]
    bodies = [first, foreign | {OWNED[kind]: steve.id}, last | {OWNED[kind]: natasha.id}]
    answer = await natasha.client.post(f"/{kind}/bulk", params={"on_error": "skip"}, json=bodies)
    (failed,) = answer.json()["failed"]
    assert (failed["index"], failed["problem"]["status"]) == (1, 403)
    owners = [thing[OWNED[kind]] for thing in await read(superuser.client, f"/{kind}/")]
    assert owners == [natasha.id] * 2


@owned
@writing
async def test_members_cannot_give_their_rows_away(
    kind: str, method: str, superuser: Person, natasha: Person, steve: Person
) -> None:
    thing = await row_belonging_to(kind, superuser, natasha)
    path, body = f"/{kind}/{thing['id']}", await body_of(kind, superuser)
    assert is_forbidden(await natasha.client.request(method, path, json=body | {OWNED[kind]: steve.id}))
    assert await read(natasha.client, path) == thing


@owned
async def test_owners_change_their_rows_and_remain_owners(kind: str, superuser: Person, natasha: Person) -> None:
    thing = await row_belonging_to(kind, superuser, natasha)
    path = f"/{kind}/{thing['id']}"
    for method in ("PUT", "PATCH"):
        answer = await natasha.client.request(method, path, json=await body_of(kind, superuser))
        assert answer.status_code == 200, answer.text
        assert answer.json()[OWNED[kind]] == natasha.id
    assert (await natasha.client.delete(path)).status_code == 204


@owned
async def test_superusers_create_change_and_give_away_rows_of_others(
    kind: str, superuser: Person, natasha: Person, steve: Person
) -> None:
    body = await body_of(kind, superuser) | {OWNED[kind]: natasha.id}
    thing = await made(superuser.client, f"/{kind}/", **body)
    path = f"/{kind}/{thing['id']}"
    assert (await superuser.client.patch(path, json={OWNED[kind]: steve.id})).json()[OWNED[kind]] == steve.id
    assert (await superuser.client.put(path, json=body)).json()[OWNED[kind]] == natasha.id
    assert (await superuser.client.delete(path)).status_code == 204


@owned
async def test_the_default_owner_of_a_superuser_is_the_superuser(kind: str, superuser: Person) -> None:
    assert (await made(superuser.client, f"/{kind}/", **await body_of(kind, superuser)))[OWNED[kind]] == superuser.id


@owned
async def test_without_authentication_an_owner_is_required(kind: str, client: Client) -> None:
    body = {"name": "Teapot", "price": "1", "title": "Tea", "body": "", "product_id": UNKNOWN, "rating": 1}
    fields = {"items": ("name", "price"), "posts": ("title", "body"), "reviews": ("product_id", "rating")}[kind]
    answer = await client.post(f"/{kind}/", json={name: body[name] for name in fields})
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"#/{OWNED[kind]}"]


@needs("/items/")
@writing
async def test_read_only_fields_of_a_user_cannot_be_set(
    method: str, guarded: Service, superuser: Person, natasha: Person
) -> None:
    body: Json = {"id": superuser.id, "version": 99, "created_at": "2001-01-01T00:00:00Z", "updated_at": "2001-01-01"}
    for path, fields in (
        (f"/users/{natasha.id}", {"username": "natasha", "email": natasha.email}),
        (f"/items/{(await row_belonging_to('items', superuser, natasha))['id']}", await body_of("items", superuser)),
    ):
        before = await read(natasha.client, path)
        answer = await natasha.client.request(method, path, json=fields | body)
        assert answer.status_code == 200
        after = answer.json()
        assert (after["id"], after["created_at"]) == (before["id"], before["created_at"])
        assert after["version"] <= before["version"] + 1


async def refuse_all(member: Client, asked: list[tuple[str, str, Any]]) -> None:
    for method, path, body in asked:
        assert is_forbidden(await member.request(method, path, json=body)), path


@needs("/heroes/")
async def test_members_may_not_change_heroes_and_users(superuser: Person, natasha: Person) -> None:
    hero = await new_hero(superuser.client)
    asked: list[tuple[str, str, Any]] = [
        ("POST", "/heroes/", {"name": "Spider-Boy", "secret_name": "Pedro"}),
        ("POST", "/heroes/bulk", [{"name": "Spider-Boy", "secret_name": "Pedro"}]),
        ("DELETE", f"/heroes/{hero['id']}", None),
        ("POST", "/users/bulk", [user_body()]),
    ]
    await refuse_all(natasha.client, asked)
    assert await read(natasha.client, "/heroes/") == [hero]
    assert len(await read(natasha.client, "/users/")) == 2


@needs("/products/", "/stock-movements/")
async def test_members_may_not_change_products_and_stock(superuser: Person, natasha: Person) -> None:
    product = await new_product(superuser.client)
    asked: list[tuple[str, str, Any]] = [
        ("DELETE", f"/products/{product['id']}", None),
        ("DELETE", f"/products/{product['id']}?permanent=true", None),
        ("PATCH", "/products/bulk", {"ids": [product["id"]], "changes": {"status": "archived"}}),
        ("POST", "/stock-movements/", {"product_id": product["id"], "quantity": 5}),
    ]
    await refuse_all(natasha.client, asked)
    assert await read(natasha.client, "/products/") == [product]


@needs("/heroes/")
@pytest.mark.parametrize("path", ["/heroes", "/heroes/", "/HEROES/", "/heroes/%2e", "/x/../heroes/"])
async def test_no_spelling_of_a_path_bypasses_authentication(path: str, anonymous: Client, natasha: Person) -> None:
    assert (await anonymous.post(path, json={})).status_code in (401, 404, 405)
    assert (await natasha.client.post(path, json={})).status_code in (403, 404, 405)
    assert (await anonymous.head(path)).status_code in (401, 404)


@needs("/heroes/")
@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-Original-URL", "X-Forwarded-User"])
async def test_no_header_bypasses_authentication(name: str, anonymous: Client, natasha: Person) -> None:
    for value in ("GET", "/docs", "1"):
        assert (await anonymous.get("/heroes/", headers={name: value})).status_code == 401
        assert is_forbidden(await natasha.client.post("/heroes/", json={}, headers={name: value}))


@needs("/items/")
async def test_a_key_does_not_replay_the_response_of_another_caller(natasha: Person, steve: Person) -> None:
    body, headers = {"name": "Teapot", "price": "1"}, {"Idempotency-Key": "same"}
    mine = await natasha.client.post("/items/", json=body, headers=headers)
    theirs = await steve.client.post("/items/", json=body, headers=headers)
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert (mine.json()["owner_id"], theirs.json()["owner_id"]) == (natasha.id, steve.id)
    assert "Idempotency-Replayed" not in theirs.headers


@needs("/heroes/")
async def test_a_replay_needs_the_permission_again(superuser: Person, guarded: Service, natasha: Person) -> None:
    headers, body = {"Idempotency-Key": "k"}, {"name": "Deadpond", "secret_name": "Dive"}
    await superuser.client.patch(f"/users/{natasha.id}", json={"is_superuser": True})
    assert (await natasha.client.post("/heroes/", json=body, headers=headers)).status_code == 201
    await superuser.client.patch(f"/users/{natasha.id}", json={"is_superuser": False})
    assert is_forbidden(await natasha.client.post("/heroes/", json=body, headers=headers))


@needs("/heroes/")
async def test_authentication_can_be_required_in_development(new_database: Any) -> None:
    settings = production(await new_database(), environment="development", require_auth=True, demo_data=False)
    async with opened(settings) as app, client_of(app) as client:
        assert (await client.get("/heroes/")).status_code == 401
        await made(client, "/users/", **user_body(username="natasha"))
        form = {"username": "natasha", "password": PASSWORD}
        token = (await client.post("/auth/token", data=form)).json()["access_token"]
        assert (await client.get("/heroes/", headers={"Authorization": f"Bearer {token}"})).status_code == 200


@needs("/heroes/", "/items/")
async def test_without_authentication_everything_is_allowed_and_a_token_identifies_the_caller(
    client: Client, app: Service
) -> None:
    assert (await client.get("/users/me")).status_code == 401
    await new_hero(client)
    user = await made(client, "/users/", **user_body(username="natasha"))
    form = {"username": "natasha", "password": PASSWORD}
    token = (await client.post("/auth/token", data=form)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.get("/users/me", headers=headers)).json() == user
    item = await client.post("/items/", json={"name": "Teapot", "price": "1"}, headers=headers)
    assert item.json()["owner_id"] == user["id"]
    assert (await client.post("/heroes/", json={"name": "A", "secret_name": "B"}, headers=headers)).status_code == 201


@needs("/heroes/")
async def test_gaining_and_losing_the_superuser_role_takes_effect_at_once(superuser: Person, natasha: Person) -> None:
    await superuser.client.patch(f"/users/{natasha.id}", json={"is_superuser": True})
    hero = await new_hero(natasha.client)
    await superuser.client.patch(f"/users/{natasha.id}", json={"is_superuser": False})
    assert (await natasha.client.delete(f"/heroes/{hero['id']}")).status_code == 403


@needs("/items/")
async def test_idempotency_keys_survive_the_replacement_of_the_secret(guarded: Service, natasha: Person) -> None:
    headers, body = {"Idempotency-Key": "once"}, {"name": "Teapot", "price": "1"}
    first = await natasha.client.post("/items/", json=body, headers=headers)
    settings = production(url_of(guarded.runtime.database), secret_key=f"{'9' * 32},{KEY}")
    async with opened(settings) as rotated, client_of(rotated, token_of(rotated, natasha.id)) as client:
        again = await client.post("/items/", json=body, headers=headers)
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["Idempotency-Replayed"] == "true"
        other = await client.post("/items/", json=body | {"price": "2"}, headers=headers)
        assert other.status_code == 422
