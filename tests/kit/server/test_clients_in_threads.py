"""Clients in threads, each with its own event loop: `TestClient`, and concurrent loops."""

import gc
import threading
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from kit import Database, Service
from tests.engines import url_for
from tests.kit.probes import BOOK
from tests.kit.service import FAST_PATH, clear, create_runtime, create_service
from tests.waiting import TIMEOUT_SECONDS

pytestmark = pytest.mark.untraced


@pytest.fixture
async def empty_url(library_url: str) -> str:
    """Provide the URL of the bookshop's database, without rows."""
    database = Database(url_for(library_url))
    await clear(database)
    await database.dispose()
    return library_url


@pytest.fixture(params=[False, True] if FAST_PATH else [False], ids=["plain", "fast"][: 1 + FAST_PATH])
def service(request: pytest.FixtureRequest, empty_url: str) -> Iterator[Service]:
    yield create_service(create_runtime(Database(url_for(empty_url))), fast=request.param)
    gc.collect()  # reports unclosed resources now


def use(client: TestClient, *, books: int) -> None:
    assert client.post("/books/", json=BOOK | {"title": f"Volume {books}"}).status_code == 201
    listed = client.get("/books/?count=true")
    assert (listed.status_code, listed.headers["X-Total-Count"]) == (200, str(books))
    assert client.get(f"/books/{listed.json()[0]['id']}").status_code == 200


def test_a_client_without_a_lifespan_has_a_loop_for_each_request(service: Service) -> None:
    client = TestClient(service)
    for number in range(3):
        use(client, books=number + 1)


def test_consecutive_clients_have_separate_loops(service: Service) -> None:
    for number in range(3):
        with TestClient(service) as client:
            use(client, books=number + 1)
    use(TestClient(service), books=4)


def test_two_loops_at_the_same_time(service: Service) -> None:
    clients, failures = threading.Barrier(2, timeout=TIMEOUT_SECONDS), []

    def work() -> None:
        try:
            with TestClient(service) as client:
                clients.wait()
                for number in range(10):
                    assert client.post("/books/", json=BOOK | {"title": f"Volume {number}"}).status_code == 201
                    assert client.get("/books/").status_code == 200
                clients.wait()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(TestClient(service).get("/books/?limit=100").json()) == 20
