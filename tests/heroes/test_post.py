"""Posts: their author is always embedded, by few statements, with id and username only."""

from typing import Any

import pytest

from kit.database.databases import Database
from tests.engines import Client
from tests.rows import Json, cheap_hashes, ids, made, new_user, read
from tests.statements import statements_of

pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


def post_body(author: Json, /, **fields: Any) -> Json:
    return {"title": "On teapots", "body": "Short and stout.", "author_id": author["id"]} | fields


def brief(author: Json) -> Json:
    return {"id": author["id"], "username": author["username"]}


async def test_a_page_of_a_hundred_posts_takes_two_statements(client: Client, database: Database) -> None:
    authors = [await new_user(client) for _ in range(5)]
    await client.post("/posts/bulk", json=[post_body(authors[place % 5]) for place in range(120)])
    with statements_of(database.reader) as statements:
        posts = await read(client, "/posts/")
    assert len(statements) == 2
    assert len(posts) == 100
    known = {author["id"]: brief(author) for author in authors}
    assert all(post["author"] == known[post["author_id"]] for post in posts)
    assert {post["author_id"] for post in posts} == known.keys()


async def test_a_list_reads_only_the_needed_columns_of_an_author(client: Client, database: Database) -> None:
    await made(client, "/posts/", **post_body(await new_user(client)))
    with statements_of(database.reader) as statements:
        await read(client, "/posts/")
    assert [statement for statement in statements if "username" in statement]
    assert [statement for statement in statements if "email" in statement or "password" in statement] == []


async def test_every_operation_on_a_post_returns_its_author(client: Client) -> None:
    author, other = await new_user(client, full_name="Natasha"), await new_user(client)
    post = await made(client, "/posts/", **post_body(author))
    path = f"/posts/{post['id']}"
    assert post["author"] == brief(author)
    assert await read(client, path) == post
    assert (await client.patch(path, json={"title": "On cosies"})).json()["author"] == brief(author)
    assert (await client.patch(path, json={"author_id": other["id"]})).json()["author"] == brief(other)
    assert (await client.put(path, json=post_body(author))).json()["author"] == brief(author)
    assert (await client.patch(path, json={})).json()["author"] == brief(author)
    assert (await read(client, path))["version"] == 4


async def test_posts_of_a_bulk_have_their_authors(client: Client) -> None:
    authors = [await new_user(client) for _ in range(2)]
    answer = await client.post("/posts/bulk", json=[post_body(author) for author in (*authors, authors[0])])
    assert [post["author"] for post in answer.json()] == [brief(author) for author in (*authors, authors[0])]


async def test_posts_that_are_not_skipped_have_their_authors(client: Client) -> None:
    author = await new_user(client)
    bodies = [post_body(author), post_body(author, author_id=77), post_body(author)]
    outcome = (await client.post("/posts/bulk?on_error=skip", json=bodies)).json()
    assert [post["author"] for post in outcome["created"]] == [brief(author)] * 2
    assert [part["index"] for part in outcome["failed"]] == [1]


async def test_an_author_cannot_be_changed_through_a_post(client: Client) -> None:
    author = await new_user(client)
    post = await made(client, "/posts/", **post_body(author, author={"id": 77, "username": "mallory"}))
    assert post["author"] == brief(author)
    await client.patch(f"/posts/{post['id']}", json={"author": {"username": "mallory"}})
    assert await read(client, f"/users/{author['id']}") == author


async def test_a_renamed_author_is_shown_with_the_new_name(client: Client) -> None:
    author = await new_user(client)
    post = await made(client, "/posts/", **post_body(author))
    urls = ("/posts/", f"/posts/{post['id']}")
    before = [await client.get(url) for url in urls]
    await client.patch(f"/users/{author['id']}", json={"username": "natasha"})
    tags = [{"If-None-Match": answer.headers["ETag"]} for answer in before]
    every, one = [await client.get(url, headers=tag) for url, tag in zip(urls, tags, strict=True)]
    assert (every.status_code, one.status_code) == (200, 200)
    assert every.json()[0]["author"]["username"] == one.json()["author"]["username"] == "natasha"


async def test_a_post_of_an_unknown_author_is_a_conflict_that_names_the_field(client: Client) -> None:
    post = await made(client, "/posts/", **post_body(await new_user(client)))
    asked = [
        await client.post("/posts/", json=post_body({"id": 77})),
        await client.put(f"/posts/{post['id']}", json=post_body({"id": 77})),
        await client.patch(f"/posts/{post['id']}", json={"author_id": 77}),
    ]
    assert [answer.status_code for answer in asked] == [409] * 3
    assert all("author_id" in answer.json()["detail"] for answer in asked)
    assert await read(client, "/posts/") == [post]


async def test_posts_are_sorted_by_newest_first_by_default(client: Client) -> None:
    author = await new_user(client)
    in_order = [(await made(client, "/posts/", **post_body(author)))["id"] for _ in range(3)]
    assert await ids(client, "/posts/") == in_order[::-1]
    assert await ids(client, "/posts/", sort="created_at") == in_order
    page = await client.get("/posts/?limit=2")
    assert await ids(client, page.links["next"]["url"]) == in_order[:1]


async def test_the_author_is_left_out_if_other_fields_are_requested(client: Client) -> None:
    author = await new_user(client)
    post = await made(client, "/posts/", **post_body(author))
    assert await read(client, "/posts/", fields="id,title") == [{"id": post["id"], "title": post["title"]}]
    assert await read(client, "/posts/", fields="author") == [{"author": brief(author)}]
