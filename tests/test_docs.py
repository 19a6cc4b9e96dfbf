"""The docs page: every operation works at the first click, and the page loads nothing from other hosts."""

import functools
import gzip
import json
import operator
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Locator, Page, sync_playwright

from kit.database.migrations import upgrade
from tests import application
from tests.accounts import PASSWORD
from tests.application import KEY, settings_for
from tests.engines import Client, on_sqlite
from tests.live import Server, serving
from tests.waiting import TIMEOUT_SECONDS

app, client, database = application.app, application.client, application.database
Json = dict[str, Any]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",  # Chromium refuses to run as root with one
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SEEN = on_sqlite
"""The behaviour of a page does not depend on the engine."""
SENT_AS = {"path": "path", "query": "params", "header": "headers"}


@pytest.fixture
async def server(new_database: Any, log_file: Path) -> AsyncIterator[Server]:
    """Provide the service as a process, on an empty database."""
    with serving(await new_database(), log_file) as server:
        yield server


@contextmanager
def browsing(url: str) -> Iterator[tuple[Page, list[str]]]:
    """Provide a page in a browser, and its errors: console errors, exceptions, and requests to other hosts."""
    wrongs: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed_browser(), args=QUIET)
        page = browser.new_page()
        page.on("request", lambda request: None if is_of(request.url, url) else wrongs.append(request.url))
        page.on("console", lambda message: wrongs.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda failure: wrongs.append(str(failure)))
        page.goto(url)
        yield page, wrongs
        browser.close()


def installed_browser() -> str:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None and "CI" in os.environ:
        pytest.fail("There is no Chromium, without which nobody knows whether the docs work: apt install chromium")
    if path is None:
        pytest.skip("THE DOCS WERE NOT TRIED OUT: there is no Chromium here; on Debian: apt install chromium")
    return path


def is_of(requested: str, url: str) -> bool:
    """Return whether a request goes to the service; `data:` URLs go to no host."""
    return urlsplit(requested).netloc in ("", urlsplit(url).netloc)


def try_out(page: Page, operation: str) -> Locator:
    """Open an operation in Swagger UI, execute it unchanged, and show the response."""
    block = page.locator(f"#operations-{operation}")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table .response")
    answer.wait_for()
    return answer


@pytest.mark.slow
@pytest.mark.untraced
@SEEN
@pytest.mark.usefixtures("anyio_backend")  # for the fixtures, which are asynchronous
def test_a_browser_creates_a_row_and_sees_it_in_the_list_with_one_click_each(server: Server) -> None:
    with browsing(f"{server.url}/docs") as (page, wrongs):
        created = try_out(page, "users-users-create")
        assert created.locator(".response-col_status").inner_text().startswith("201")
        listed = try_out(page, "users-users-list")
        assert listed.locator(".response-col_status").inner_text().startswith("200")
        assert '"username": "natasha"' in listed.locator(".response-col_description").inner_text()
        assert page.locator("#operations-users-users-list .request-url pre").inner_text() == f"{server.url}/users/"
        assert wrongs == []


@pytest.mark.untraced
@pytest.mark.slow
async def test_every_example_works_at_the_first_click_from_top_to_bottom_in_an_empty_database(client: Client) -> None:
    operations = in_order(await document_of(client))
    assert operations
    for method, path in operations:
        document = await document_of(client)  # its example ids are those of the existing rows
        operation = document["paths"][path][method.lower()]
        request = request_of(operation)
        answer = await client.request(method, path.format(**request.pop("path")), **request)
        assert answer.status_code < 300, f"{method} {path} {request}: {answer.text}"


async def document_of(client: Client) -> Json:
    """Return the document as the page shows it, with every parameter where it is used."""
    document: Json = (await client.get("/openapi.json?ids=newest")).json()
    for _, _, operation in operations_of(document):
        operation["parameters"] = [resolved(document, part) for part in operation.get("parameters", ())]
    return document


def resolved(document: Json, node: Json) -> Json:
    """Return the component that a part of the document refers to, or the part itself."""
    if "$ref" not in node:
        return node
    found: Json = functools.reduce(operator.getitem, node["$ref"].split("/")[1:], document)
    return found


NEED_CREDENTIALS = ("/auth/token", "/users/me")
"""The paths of operations that are not tried, because they need a username and a password."""


def in_order(document: Json) -> list[tuple[str, str]]:
    """Return the operations in the order of the page: by tag, then by path."""
    tags = [tag["name"] for tag in document["tags"]]
    shown = sorted(operations_of(document), key=lambda found: tags.index(found[2]["tags"][0]))
    return [(method, path) for method, path, _ in shown if path not in NEED_CREDENTIALS]


def operations_of(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


def request_of(operation: Json) -> Json:
    """Return the request that Swagger UI prefills."""
    request: Json = {"path": {}}
    for part in operation.get("parameters", ()):
        if "example" in part:
            request.setdefault(SENT_AS[part["in"]], {})[part["name"]] = part["example"]
    if "requestBody" in operation:
        request["json"] = operation["requestBody"]["content"]["application/json"]["example"]
    return request


async def test_only_path_ids_are_prefilled(client: Client) -> None:
    document = await document_of(client)
    parts = [
        (method, part) for method, _, operation in operations_of(document) for part in operation.get("parameters", ())
    ]
    assert {part["in"] for _, part in parts} >= {"path", "query"}
    for method, part in parts:
        assert ("example" in part) == (part["in"] == "path"), part
        assert "default" not in part["schema"] or method != "GET", part


async def test_an_integer_says_how_many_bits_it_has_and_no_bound_that_a_double_cannot_hold(client: Client) -> None:
    document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"].values()
    parts = [part for schema in schemas for part in schema.get("properties", {}).values()]
    numbers = [part for one in parts for part in (one, *one.get("anyOf", ())) if part.get("type") == "integer"]
    assert "int64" in {part["format"] for part in numbers if "format" in part}
    assert [part for part in numbers if part.get("maximum", 0) > 2**53] == []


async def test_the_document_is_small(client: Client) -> None:
    document = (await client.get("/openapi.json")).content
    number = len(list(operations_of(json.loads(document))))
    assert len(document) < 20_000 + 4_000 * number
    assert len(gzip.compress(document)) < 5_000 + 200 * number


async def test_every_body_has_an_example(client: Client) -> None:
    document = await document_of(client)
    bodies = [
        operation["requestBody"]["content"] for *_, operation in operations_of(document) if "requestBody" in operation
    ]
    assert bodies
    assert all("example" in body for content in bodies for body in content.values())


async def test_the_page_names_no_other_host(client: Client) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.findall(r"(?:https?:)?//[a-z]", page.text)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/docs/style.css", "text/css; charset=utf-8"),
        ("/docs/assets/swagger-ui.css", "text/css; charset=utf-8"),
        ("/docs/assets/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("/docs/assets/favicon.png", "image/png"),
        ("/openapi.json", "application/json"),
    ],
)
async def test_the_page_is_served_with_all_its_parts(client: Client, path: str, content_type: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == content_type


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/"])
async def test_the_docs_are_found(client: Client, path: str) -> None:
    answer = await client.get(path, follow_redirects=True)
    assert answer.status_code == 200
    assert answer.url == httpx.URL(f"http://test{path if path != '/' else '/docs'}")
    assert "SwaggerUIBundle" in answer.text


@pytest.fixture
async def guarded_server(new_database: Any, log_file: Path) -> AsyncIterator[Server]:
    """Provide the service as in production, with one user."""
    url = await new_database()
    await upgrade(settings_for(url).database)
    with serving(url, log_file, ENVIRONMENT="production", SECRET_KEY=KEY) as server:
        yield server


@pytest.mark.slow
@pytest.mark.untraced
@SEEN
@pytest.mark.usefixtures("anyio_backend")
def test_a_browser_logs_in_with_authorize(guarded_server: Server) -> None:
    user = {"username": "natasha", "email": "natasha@example.com", "password": PASSWORD}
    httpx.post(f"{guarded_server.url}/users/", json=user, timeout=TIMEOUT_SECONDS).raise_for_status()
    with browsing(f"{guarded_server.url}/docs") as (page, wrongs):
        page.locator(".auth-wrapper .authorize").first.click()
        page.locator("#oauth_username, input[name=username]").first.fill("natasha")
        page.locator("#oauth_password, input[name=password]").first.fill(PASSWORD)
        page.locator(".modal-ux .authorize").first.click()
        page.locator(".modal-ux").get_by_text("Authorized", exact=True).first.wait_for()
        page.locator(".modal-ux .btn-done").first.click()
        answer = try_out(page, "users-users-whoami")
        assert answer.locator(".response-col_status").inner_text().startswith("200")
        assert '"username": "natasha"' in answer.locator(".response-col_description").inner_text()
        assert wrongs == []


@pytest.mark.slow
@pytest.mark.untraced
@SEEN
@pytest.mark.usefixtures("anyio_backend")
def test_a_browser_without_a_token_is_refused_and_a_foreign_script_does_not_run(guarded_server: Server) -> None:
    with browsing(f"{guarded_server.url}/docs") as (page, wrongs):
        answer = try_out(page, "users-users-whoami")
        assert answer.locator(".response-col_status").inner_text().startswith("401")
        assert [text for text in wrongs if "401" not in text] == []
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))")
        assert page.evaluate("window.ran") is None
        assert [text for text in wrongs if "Content Security Policy" in text]
