"""A flow through the service by the client that is generated in Python; prints what it has done, line by line."""

import re
import sys
from typing import TypeVar

from heroes_client import AuthenticatedClient, Client
from heroes_client.api.auth import auth_create_token
from heroes_client.api.items import items_bulk_create, items_create, items_delete, items_list, items_read, items_update
from heroes_client.api.users import users_create
from heroes_client.models import (
    BodyAuthCreateToken,
    ItemBulkOutcome,
    ItemCreate,
    ItemField,
    ItemRead,
    ItemReadPartial,
    ItemUpdate,
    OnError,
    Problem,
    Token,
    UserCreate,
)
from heroes_client.types import Unset

T = TypeVar("T")
PASSWORD = "correct horse battery"  # noqa: S105  of a user that only the test knows


def a(kind: type[T], value: object) -> T:
    """Return the value, which is of this type."""
    assert isinstance(value, kind), value
    return value


def log_in(base_url: str) -> AuthenticatedClient:
    client = Client(base_url=base_url)
    users_create.sync(client=client, body=UserCreate(username="pietro", email="pietro@example.com", password=PASSWORD))
    wrong = BodyAuthCreateToken(username="pietro", password="wrong horse battery")
    assert a(Problem, auth_create_token.sync(client=client, body=wrong)).type_ == "urn:problem:unauthenticated"
    form = BodyAuthCreateToken(username="pietro", password=PASSWORD)
    token = a(Token, auth_create_token.sync(client=client, body=form))
    print("logged in")
    return AuthenticatedClient(base_url=base_url, token=token.access_token)


def create(client: AuthenticatedClient) -> ItemRead:
    body = ItemCreate(name="Teapot", price="9.99")
    answer = items_create.sync_detailed(client=client, body=body, idempotency_key="teapot")
    item = a(ItemRead, answer.parsed)
    assert item.price == "9.99"
    assert answer.headers["Location"] == f"/items/{item.id}"
    print("created")
    return item


def list_items(client: AuthenticatedClient) -> None:
    for name, price in (("Cosy", "4"), ("Kettle", "30"), ("Spoon", "4")):
        a(ItemRead, items_create.sync(client=client, body=ItemCreate(name=name, price=price)))
    answer = items_list.sync_detailed(
        client=client,
        sort="price,-name",
        name_in=["Cosy", "Kettle", "Spoon"],
        limit=2,
        fields=[ItemField.ID, ItemField.NAME],
    )
    page = a(list, answer.parsed)
    assert [item.name for item in page] == ["Spoon", "Cosy"]
    assert isinstance(page[0].price, Unset)
    link = re.match("<([^>]*)>", answer.headers["Link"])
    assert link is not None
    following = client.get_httpx_client().get(link[1])
    assert [ItemReadPartial.from_dict(item).name for item in following.json()] == ["Kettle"]
    assert "Link" not in following.headers
    print("listed, and followed Link")


def update(client: AuthenticatedClient, item: ItemRead) -> None:
    tag = items_read.sync_detailed(item.id, client=client).headers["ETag"]
    changed = items_update.sync(item.id, client=client, body=ItemUpdate(price="8.50"), if_match=tag)
    assert a(ItemRead, changed).version == item.version + 1
    late = items_update.sync(item.id, client=client, body=ItemUpdate(price="7.50"), if_match=tag)
    assert a(Problem, late).status == 412
    print("updated once, and refused the second time")


def create_many(client: AuthenticatedClient) -> None:
    body = [ItemCreate(name="Cup", price="2.00"), ItemCreate(name=" ", price="2.00")]
    answer = items_bulk_create.sync_detailed(client=client, body=body, on_error=OnError.SKIP)
    assert answer.status_code == 207
    outcome = a(ItemBulkOutcome, answer.parsed)
    assert [item.name for item in outcome.created] == ["Cup"]
    assert outcome.failed[0].index == 1
    errors = outcome.failed[0].problem.errors
    assert not isinstance(errors, Unset)
    assert errors[0].pointer == "#/1/name"
    print("created the valid ones of many")


def delete(client: AuthenticatedClient, item: ItemRead) -> None:
    assert items_delete.sync_detailed(item.id, client=client).status_code == 204
    assert a(Problem, items_read.sync(item.id, client=client)).type_ == "urn:problem:not-found"
    print("deleted")


if __name__ == "__main__":
    client = log_in(sys.argv[1])
    item = create(client)
    list_items(client)
    update(client, item)
    create_many(client)
    delete(client, item)
