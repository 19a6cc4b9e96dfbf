"""Who may read the metrics, where, and in which format."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from kit import Database, Service
from kit.metrics import Access, install
from kit.metrics.formats import with_known_formats
from tests.engines import Client, on_sqlite
from tests.kit.server.test_servers import free_port
from tests.kit.service import clear, client_of, create_runtime, create_service, join
from tests.samples import Samples, read

TOKEN = "0123456789abcdef" * 2
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def shop(database: Database, access: Access, **options: Any) -> Service:
    service = create_service(create_runtime(database, **options))
    install(service, access)
    return service


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_superusers_read_the_metrics_and_others_do_not(database: Database) -> None:
    service = shop(database, Access(), auth=True)
    superuser, member = await join(service, is_superuser=True), await join(service)
    async with client_of(service) as anonymous:
        assert (await anonymous.get("/metrics")).status_code == 401
        assert (await anonymous.get("/metrics", headers=bearer(member.token))).status_code == 403
        assert (await anonymous.get("/metrics", headers=bearer(TOKEN))).status_code == 401
        assert (await anonymous.get("/metrics", headers=bearer(superuser.token))).status_code == 200


@pytest.mark.parametrize("auth", [False, True])
async def test_the_bearer_of_the_token_reads_the_metrics_and_nothing_else(database: Database, auth: bool) -> None:
    service = shop(database, Access(token=TOKEN), auth=auth)
    async with client_of(service, TOKEN) as prometheus, client_of(service) as anonymous:
        assert (await prometheus.get("/metrics")).status_code == 200
        assert (await prometheus.get("/metrics/")).status_code == 200
        assert (await prometheus.get("/shelves/")).status_code == (401 if auth else 200)  # without a user's token
        refused = await anonymous.get("/metrics")
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        for other in (TOKEN[:-1], f"{TOKEN}x", "", "ä"):
            header = {b"Authorization": f"Bearer {other}".encode()}
            assert (await anonymous.get("/metrics", headers=header)).status_code == 401


async def test_a_token_may_have_any_characters(database: Database) -> None:
    async with client_of(shop(database, Access(token="schlüssel" * 4))) as prometheus:
        header = {b"Authorization": b"bearer  " + ("schlüssel" * 4).encode()}
        assert (await prometheus.get("/metrics", headers=header)).status_code == 200


async def test_without_authentication_and_without_a_token_everybody_reads_the_metrics(reader: Client) -> None:
    assert (await reader.get("/metrics")).status_code == 200


async def test_the_metrics_are_read_in_the_formats_of_prometheus(reader: Client) -> None:
    plain, open_metrics = await reader.get("/metrics"), await reader.get("/metrics", headers=OPENMETRICS)
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert open_metrics.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert open_metrics.text.endswith("# EOF\n")
    assert plain.headers["Cache-Control"] == "no-store"


async def test_head_and_both_forms_of_the_path_are_answered(reader: Client) -> None:
    head = await reader.head("/metrics")
    assert (head.status_code, head.content) == (200, b"")
    assert (await reader.get("/metrics/")).status_code == 200
    assert (await reader.post("/metrics")).status_code == 405


async def test_single_metrics_can_be_chosen(reader: Client) -> None:
    chosen = await read(reader, params={"name[]": ["http_requests_in_flight", "python_info"]})
    assert {family.name for family in chosen.families} == {"http_requests_in_flight", "python_info"}


async def test_the_bearer_of_the_token_can_choose_metrics(database: Database) -> None:
    async with client_of(shop(database, Access(token=TOKEN)), TOKEN) as prometheus:
        chosen = await read(prometheus, params={"name[]": "http_streams_open"})
    assert {family.name for family in chosen.families} == {"http_streams_open"}


async def test_the_document_shows_the_metrics_as_closed(database: Database) -> None:
    service = shop(database, Access(token=TOKEN), auth=True)
    document = service.openapi()
    operation = document["paths"]["/metrics"]["get"]
    assert operation.get("security", document.get("security"))
    assert "401" in operation["responses"]


async def test_the_document_shows_the_formats_that_are_sent(reader: Client, measured: Service) -> None:
    operation = measured.openapi()["paths"]["/metrics"]["get"]
    answers = [await reader.get("/metrics"), await reader.get("/metrics", headers=OPENMETRICS)]
    sent = [answer.headers["Content-Type"].removesuffix("; escaping=underscores") for answer in answers]
    assert sent == list(operation["responses"]["200"]["content"])
    assert {answer.headers["Vary"].split(",")[0] for answer in answers} == {"Accept"}
    assert [parameter["name"] for parameter in operation["parameters"]] == ["name[]"]


TEXT_FORMAT, OPEN_FORMAT = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"
ACCEPTED = [
    ('text/plain;version="1.0.0"', "text/plain; version=1.0.0"),
    ("text/plain;version=1.0.0;escaping=dots", "text/plain; version=1.0.0; charset=utf-8; escaping=dots"),
    ("application/openmetrics-text", OPEN_FORMAT),
    ("application/openmetrics-text;version=abc", TEXT_FORMAT),
    ("application/openmetrics-text;version=1.0.0-rc1", TEXT_FORMAT),
    ("application/openmetrics-text;version=99", TEXT_FORMAT),
    ("application/openmetrics-text;q=0", TEXT_FORMAT),
    ("text/plain;version=0.0.4;q=0.5, application/openmetrics-text;version=1.0.0", OPEN_FORMAT),
    ("application/openmetrics-text;q=0.5, text/plain;version=1.0.0", "text/plain; version=1.0.0"),
    ("text/plain;q=abc, */*", TEXT_FORMAT),
    ('"', TEXT_FORMAT),
    ("text/plain;" * 1000, TEXT_FORMAT),
]


@pytest.mark.parametrize(("accept", "sent"), ACCEPTED)
async def test_the_preferred_format_that_exists_is_sent(accept: str, sent: str, reader: Client) -> None:
    answer = await reader.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(sent)


async def test_the_metrics_are_read_while_the_service_is_overloaded(reader: Client, measured: Service) -> None:
    await clear(measured.runtime.database)
    measured.surrounded.app.limit = 0  # type: ignore[attr-defined]  # admission, the next layer
    measured.surrounded.app.last = (None, measured.surrounded.app.new_slots())  # type: ignore[attr-defined]
    measured.surrounded.app.of_loops.clear()  # type: ignore[attr-defined]
    assert (await reader.get("/shelves/")).status_code == 503
    assert (await read(reader)).sum("http_requests_refused_total", reason="busy") >= 1


async def test_with_a_port_of_their_own_the_metrics_are_there_alone(database: Database) -> None:
    service = shop(database, Access(port=free_port()), auth=True)
    (companion,) = service.companions
    port = companion.__self__.access.port  # type: ignore[attr-defined]
    async with companion(), client_of(service) as client, httpx.AsyncClient() as prometheus:
        assert (await client.get("/metrics")).status_code == 404
        answer = await prometheus.get(f"http://127.0.0.1:{port}/metrics")
        assert Samples(answer.text).sum("http_requests_in_flight") == 0
        other = await prometheus.get(f"http://127.0.0.1:{port}/metrics", headers={"Accept": "text/plain;version=x"})
        assert (other.status_code, other.headers["Content-Type"]) == (200, f"{TEXT_FORMAT}; charset=utf-8")
    async with httpx.AsyncClient() as prometheus:
        with pytest.raises(httpx.ConnectError):
            await prometheus.get(f"http://127.0.0.1:{port}/metrics")


@on_sqlite
async def test_a_port_that_is_taken_ends_the_start(database: Database) -> None:
    port = free_port()
    first, second = (shop(database, Access(port=port)).companions[0] for _ in range(2))
    async with first():
        with pytest.raises(RuntimeError, match=rf"^Port {port} of 127.0.0.1 cannot be used .*: set METRICS_PORT"):
            async with second():
                raise AssertionError("unreachable")


@on_sqlite
async def test_a_host_that_no_name_can_have_ends_the_start(database: Database) -> None:
    companion = shop(database, Access(port=free_port(), host=".a")).companions[0]
    with pytest.raises(
        RuntimeError, match=r"of \.a cannot be used .*: set METRICS_PORT or METRICS_HOST to another one"
    ):
        async with companion():
            raise AssertionError("unreachable")


def test_a_port_of_the_metrics_answers_in_a_known_format_too() -> None:
    respond = with_known_formats(lambda environ, _: environ["HTTP_ACCEPT"])
    assert "abc" not in respond({"HTTP_ACCEPT": "text/plain;version=abc"}, print)


@pytest.fixture
async def port_reader(database: Database) -> AsyncIterator[Client]:
    """Provide a client of the separate port of the metrics."""
    port = free_port()
    (companion,) = shop(database, Access(port=port)).companions
    async with companion(), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


@on_sqlite
async def test_a_port_of_the_metrics_answers_head_as_get(port_reader: Client) -> None:
    for path in ("/metrics", "/metrics/?name[]=http_requests_in_flight"):
        got, head = await port_reader.get(path), await port_reader.head(path)
        assert (head.status_code, head.content, head.headers["Content-Type"]) == (200, b"", got.headers["Content-Type"])
        assert int(head.headers["Content-Length"]) > 0


@on_sqlite
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/favicon.ico", 404),
        ("GET", "/metrics/x", 404),
        ("POST", "/\u00e9", 404),
        ("HEAD", "/x", 404),
        ("POST", "/metrics", 405),
        ("OPTIONS", "/metrics", 405),
    ],
)
async def test_a_port_of_the_metrics_answers_nothing_else(
    port_reader: Client, method: str, path: str, status: int
) -> None:
    answer = await port_reader.request(method, path, headers={"X-Request-ID": "mine"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (status, "mine")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers.get("Allow") == (None if status == 404 else "GET, HEAD")
    if method != "HEAD":
        problem = answer.json()
        assert (problem["status"], problem["instance"], problem["request_id"]) == (status, quote(path), "mine")
