"""Files that are mounted, served as a frontend or returned by a handler: ranges, `Vary`, and problems for errors."""

from collections.abc import AsyncIterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from fastapi import APIRouter, BackgroundTasks
from fastapi.responses import FileResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Message, Scope

from kit import Service, allowing
from tests.engines import Client
from tests.kit.server.small import asking, small_service

TEXT = "0123456789" * 200
FILES = ["/static/a.txt", "/a.txt", "/returned"]


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[Client]:
    """Provide a client of a service that serves the same file in each way."""
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "a.png").write_bytes(b"0" * 2000)
    service = small_service(auth=False)
    service.mount("/static", StaticFiles(directory=tmp_path))
    service.frontend("/", directory=tmp_path)

    @service.get("/returned")
    async def returned() -> FileResponse:
        return FileResponse(tmp_path / "a.txt")

    @service.get("/own")
    async def own(status: int, text: str) -> PlainTextResponse:
        return PlainTextResponse(text, status)

    async with asking(service) as client:
        yield client


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("value", ["items=0-1", "abc", "foo=1", "bytesx=0-1"])
async def test_a_range_in_another_unit_is_ignored(files: Client, path: str, value: str) -> None:
    answer = await files.get(path, headers={"Range": value})
    assert (answer.status_code, answer.text) == (200, TEXT)


@pytest.mark.parametrize("path", FILES)
async def test_a_range_of_bytes_is_served_to_a_get_only(files: Client, path: str) -> None:
    part = await files.get(path, headers={"Range": "Bytes=0-4"})
    assert (part.status_code, part.text, part.headers["Content-Range"]) == (206, "01234", "bytes 0-4/2000")
    head = await files.head(path, headers={"Range": "bytes=0-4", "Accept-Encoding": "identity"})
    assert (head.status_code, head.headers["Content-Length"]) == (200, "2000")


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize(
    ("value", "status", "kind"),
    [
        ("bytes=9999-", 416, "range-not-satisfiable"),
        ("bytes=abc", 400, "malformed-range"),
        ("bytes=5-1", 400, "malformed-range"),
    ],
)
async def test_a_range_that_a_file_does_not_have_is_a_problem(
    files: Client, path: str, value: str, status: int, kind: str
) -> None:
    answer = await files.get(path, headers={"Range": value})
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:problem:{kind}")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers.get("Content-Range") == ("bytes */2000" if status == 416 else None)


@pytest.mark.parametrize("path", FILES[:2])
@pytest.mark.parametrize("value", ["bytes=0-4", "bytes=0-4,8-9", "bytes=0-1500"])
async def test_parts_and_304s_vary_as_the_whole_file(files: Client, path: str, value: str) -> None:
    whole = await files.get(path)
    part = await files.get(path, headers={"Range": value})
    unchanged = await files.get(path, headers={"If-None-Match": whole.headers["ETag"]})
    assert [one.status_code for one in (whole, part, unchanged)] == [200, 206, 304]
    assert [one.headers.get_list("Vary") for one in (whole, part, unchanged)] == [["Accept-Encoding"]] * 3


async def test_parts_of_what_is_not_compressed_do_not_vary(files: Client) -> None:
    assert "Vary" not in (await files.get("/static/a.png", headers={"Range": "bytes=0-4"})).headers


async def test_responses_of_a_handler_that_resemble_those_of_files_are_kept(files: Client) -> None:
    for status, text in ((400, "Some other malformed range"), (400, "Malformed range heade?"), (416, "")):
        answer = await files.get("/own", params={"status": status, "text": text}, headers={"Range": "bytes=0-1"})
        assert (answer.status_code, answer.text) == (status, text)


@pytest.mark.parametrize("fast", [False, *([True] if find_spec("kit.fast") else [])])
async def test_a_file_of_an_operation_has_the_same_ranges(tmp_path: Path, fast: bool) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    router = APIRouter(route_class=allowing())

    @router.get("/operated")
    async def operated() -> FileResponse:
        return FileResponse(tmp_path / "a.txt")

    @router.get("/with-tasks")
    def with_tasks(tasks: BackgroundTasks) -> Response:
        return FileResponse(tmp_path / "a.txt", background=tasks)

    service = small_service(router, auth=False)
    if fast:
        import_module("kit.fast").install(service)
    async with asking(service) as client:
        for path in ("/operated", "/with-tasks"):
            for value, status in (("lines=1-2", 200), ("abc", 200), ("bytes=0-4", 206), ("bytes=9999-", 416)):
                answer = await client.get(path, headers={"Range": value})
                assert answer.status_code == status, (path, value)


async def allowed(service: Service, method: str, path: str, root: str = "") -> list[str]:
    """Return `Allow` of the 405 for a path as it is: clients would remove `..` from it."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope: Scope = {"type": "http", "method": method, "path": root + path, "raw_path": path.encode(), "root_path": root}
    await service({**scope, "query_string": b"", "headers": [], "client": ("a", 1)}, receive, send)
    assert sent[0]["status"] == 405
    return [value.decode() for name, value in sent[0]["headers"] if name == b"allow"]


@pytest.mark.parametrize("method", ["OPTIONS", "DELETE", "POST", "PROPFIND"])
@pytest.mark.parametrize("root", ["", "/api"])
async def test_files_allow_get_and_head_whatever_routes_the_rest_of_the_path_has(
    tmp_path: Path, method: str, root: str
) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    service = small_service(auth=False)
    service.mount("/static", StaticFiles(directory=tmp_path))
    service.frontend("/pages", directory=tmp_path)

    @service.put("/a.txt")
    async def replace() -> None:
        """A route whose path a file has within its mount."""

    for path in ("/static/a.txt", "/static/../x", "/docs/assets/../x", "/docs/assets/../a.txt", "/pages/a.txt"):
        assert await allowed(service, method, path, root) == ["GET, HEAD"], path
    assert await allowed(service, method, "/a.txt", root) == ["PUT"]
    async with asking(service) as client:
        assert (await client.get("/pages/none.txt")).status_code == 404
