"""Admission: a bounded number of requests at the same time; as many more wait for a short time; others are refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from httpx import Response
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from kit.http import bodies
from kit.http.problems import Problem
from kit.server import admission
from kit.server.admission import Admission
from tests.engines import Client
from tests.kit.probes import TIMEOUT_SECONDS

LIMIT = 2


class HeldApplication:
    """An application whose requests wait until the test releases one. `/fail` fails at once."""

    def __init__(self) -> None:
        self.entered, self.gone = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fail":
            raise RuntimeError("It failed.")
        if scope["path"].startswith("/work"):
            self.entered.release()
            await self.gone.acquire()
        await PlainTextResponse("done")(scope, receive, send)


class AdmissionClient:
    """The requests of an application that admits two at the same time."""

    def __init__(self, client: Client, inside: HeldApplication, admission_layer: Admission) -> None:
        self.client, self.inside, self.admission_layer = client, inside, admission_layer

    async def enter(self, number: int = 1) -> list["asyncio.Task[Response]"]:
        """Start requests, and wait until they are admitted."""
        tasks = [self.ask() for _ in range(number)]
        async with asyncio.timeout(TIMEOUT_SECONDS):
            for _ in tasks:
                await self.inside.entered.acquire()
        return tasks

    async def wait(self, number: int) -> list["asyncio.Task[Response]"]:
        """Start requests, and wait until they are waiting."""
        tasks, before = [self.ask() for _ in range(number)], self.admission_layer.slots.requests.waiting
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while self.admission_layer.slots.requests.waiting < before + number:  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0)
        return tasks

    def ask(self) -> "asyncio.Task[Response]":
        return asyncio.create_task(self.client.get("/work"))

    def release(self, number: int = 1) -> None:
        for _ in range(number):
            self.inside.gone.release()


@pytest.fixture
async def requests(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AdmissionClient]:
    monkeypatch.setattr(admission, "MAX_WAIT_SECONDS", TIMEOUT_SECONDS)
    inside = HeldApplication()
    admission_layer = Admission(with_id(inside), LIMIT)
    async with asking(with_id(admission_layer)) as client:
        yield AdmissionClient(client, inside, admission_layer)


def with_id(app: Any) -> Any:
    """Return the application, called with request ids in the scope."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["request_id"] = "mine"
        await app(scope, receive, send)

    return call


@asynccontextmanager
async def asking(app: Any) -> AsyncIterator[Client]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def assert_refused(answer: Response) -> None:
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["outcome"] == "not_applied"


async def test_a_request_is_refused_at_once_if_all_slots_and_the_queue_are_full(requests: AdmissionClient) -> None:
    inside, waiting = await requests.enter(LIMIT), await requests.wait(LIMIT)
    assert_refused(await asyncio.wait_for(requests.ask(), TIMEOUT_SECONDS / 2))  # while the others are still waiting
    assert not any(task.done() for task in (*inside, *waiting))
    requests.release(2 * LIMIT)
    assert {(await task).status_code for task in (*inside, *waiting)} == {200}


async def test_a_waiting_request_is_served_when_a_slot_is_free(requests: AdmissionClient) -> None:
    inside, (waiting, *_) = await requests.enter(LIMIT), await requests.wait(1)
    requests.release()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await requests.inside.entered.acquire()
    assert requests.admission_layer.slots.requests.waiting == 0
    requests.release(LIMIT)
    assert {(await task).status_code for task in (*inside, waiting)} == {200}


async def test_a_request_that_has_waited_too_long_is_refused(
    requests: AdmissionClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_WAIT_SECONDS", 0.01)
    inside = await requests.enter(LIMIT)
    for _ in range(2 * LIMIT):
        assert_refused(await requests.ask())
    requests.release(LIMIT)
    await asyncio.gather(*inside)
    assert requests.admission_layer.slots.requests.waiting == 0
    (again,) = await requests.enter()
    requests.release()
    assert (await again).status_code == 200


async def test_a_waiting_client_that_disconnects_frees_its_slot_in_the_queue(requests: AdmissionClient) -> None:
    inside, (first, second) = await requests.enter(LIMIT), await requests.wait(LIMIT)
    first.cancel()
    await asyncio.wait([first])
    (third,) = await requests.wait(1)
    requests.release(2 * LIMIT)
    assert {(await task).status_code for task in (*inside, second, third)} == {200}


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
async def test_paths_of_operators_are_never_refused(requests: AdmissionClient, path: str) -> None:
    inside, waiting = await requests.enter(LIMIT), await requests.wait(LIMIT)
    assert (await requests.client.get(path)).text == "done"
    requests.release(2 * LIMIT)
    await asyncio.gather(*inside, *waiting)


async def test_a_slot_is_free_again_after_a_failure(requests: AdmissionClient) -> None:
    for _ in range(2 * LIMIT):
        assert (await requests.client.get("/fail")).status_code == 500
    tasks = await requests.enter(LIMIT)
    requests.release(LIMIT)
    await asyncio.gather(*tasks)


async def test_a_slot_is_free_again_after_a_cancellation(requests: AdmissionClient) -> None:
    tasks = await requests.enter(LIMIT)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    others = await requests.enter(LIMIT)
    requests.release(LIMIT)
    assert {(await task).status_code for task in others} == {200}


async def test_a_lifespan_needs_no_slot() -> None:
    seen: list[str] = []

    async def inner(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def silent(*_: Any) -> Any:
        return {}

    admission_layer = Admission(inner, LIMIT)
    for _ in range(2 * LIMIT):
        await admission_layer({"type": "lifespan"}, silent, silent)
    assert seen == ["lifespan"] * 2 * LIMIT


class Upload:
    """A body that arrives in parts, each when the test says so; the application answers its size."""

    def __init__(
        self, admission_layer: Admission, client: str = "10.0.0.1", method: str = "POST", **headers: str
    ) -> None:
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.scope: Scope = {
            "type": "http",
            "method": method,
            "path": "/",
            "headers": given or [(b"transfer-encoding", b"chunked")],
            "client": (client, 1),
            "state": {"request_id": "mine"},
        }
        self.arriving: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        self.task = asyncio.ensure_future(admission_layer(self.scope, self.arriving.get, self.send))

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def arrive(self, size: int, *, is_last: bool = False) -> None:
        self.arriving.put_nowait({"type": "http.request", "body": b"x" * size, "more_body": not is_last})

    def leave(self) -> None:
        self.arriving.put_nowait({"type": "http.disconnect"})

    async def answer(self) -> tuple[int, bytes]:
        await asyncio.wait_for(self.task, TIMEOUT_SECONDS)
        return self.sent[0]["status"], self.sent[1]["body"]


async def size_of_body(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    await PlainTextResponse(str(len(await request.body())))(scope, receive, send)


@pytest.fixture
def admission_without_wait(monkeypatch: pytest.MonkeyPatch) -> Admission:
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(bodies, "MAX_MEMORY", 1000)
    return Admission(size_of_body, 1, caller_share=0.5, read_ahead=1000)


async def test_a_body_that_is_under_way_takes_no_slot(
    admission_without_wait: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "GRACE_SECONDS", TIMEOUT_SECONDS)  # on a busy machine a short one would pass
    slow = [Upload(admission_without_wait, f"10.0.0.{number}") for number in range(2)]
    for upload in slow:
        upload.arrive(1)
    await asyncio.sleep(0)
    quick = Upload(admission_without_wait, content_length="5")
    quick.arrive(5, is_last=True)
    assert await quick.answer() == (200, b"5")
    for upload in slow:
        upload.arrive(2, is_last=True)
        assert await upload.answer() == (200, b"3")
    assert admission_without_wait.slots.bodies.used == {}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("read_ahead", [0, 1000])
async def test_a_body_that_is_too_slow_is_a_408(
    admission_without_wait: Admission, read_ahead: int, method: str
) -> None:
    admission_without_wait.read_ahead = read_ahead
    slow = Upload(admission_without_wait, method=method)
    slow.arrive(1)
    if read_ahead:
        status, problem = await slow.answer()
        assert (status, b'"urn:problem:request-timeout"' in problem) == (408, True)
    else:
        with pytest.raises(Problem, match="bytes per second"):  # in the handler, whose application answers it
            await asyncio.wait_for(slow.task, TIMEOUT_SECONDS)
    assert admission_without_wait.slots.requests.free == 1


async def test_who_leaves_before_the_end_of_the_body_is_not_served(admission_without_wait: Admission) -> None:
    leaving = Upload(admission_without_wait)
    leaving.arrive(1)
    leaving.leave()
    await asyncio.wait_for(leaving.task, TIMEOUT_SECONDS)
    assert leaving.sent == []


async def test_slow_bodies_have_a_bounded_memory_and_one_caller_has_a_part_of_it(
    admission_without_wait: Admission,
) -> None:
    first, second, third = (Upload(admission_without_wait, f"10.0.0.{number}") for number in range(3))
    for upload in (first, second):
        upload.arrive(500)
    await asyncio.sleep(0)
    too_much = Upload(admission_without_wait, "10.0.0.0")
    too_much.arrive(1)
    assert (await too_much.answer())[0] == 429
    third.arrive(1)
    assert (await third.answer())[0] == 503
    read = Upload(admission_without_wait, "10.0.0.4", method="GET")
    read.arrive(1)
    assert (await read.answer())[0] == 503
    for upload in (first, second):
        upload.arrive(0, is_last=True)
        assert await upload.answer() == (200, b"500")
    assert admission_without_wait.slots.bodies.used == {}


async def test_a_body_that_is_announced_as_long_is_left_to_the_handler(admission_without_wait: Admission) -> None:
    admission_without_wait.app = PlainTextResponse("too large", 413)
    assert await Upload(admission_without_wait, content_length="1001").answer() == (413, b"too large")


EXPECTING = {"expect": "100-continue", "content_length": "3"}


async def test_a_body_that_waits_for_permission_to_be_sent_takes_no_slot(admission_without_wait: Admission) -> None:
    expecting = Upload(admission_without_wait, **EXPECTING)
    for _ in range(3):
        await asyncio.sleep(0)
    assert admission_without_wait.slots.requests.free == 1
    quick = Upload(admission_without_wait, content_length="5")
    quick.arrive(5, is_last=True)
    assert await quick.answer() == (200, b"5")
    expecting.arrive(3, is_last=True)
    assert await expecting.answer() == (200, b"3")
    assert (admission_without_wait.slots.requests.free, admission_without_wait.slots.bodies.used) == (1, {})


async def test_an_expected_body_that_finds_no_slot_is_refused_in_the_handler(
    admission_without_wait: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_WAIT_SECONDS", 0)
    expecting = Upload(admission_without_wait, **EXPECTING)
    for _ in range(3):
        await asyncio.sleep(0)
    assert admission_without_wait.slots.requests.take("another")
    expecting.arrive(3, is_last=True)
    with pytest.raises(Problem, match="Too many requests at once"):
        await asyncio.wait_for(expecting.task, TIMEOUT_SECONDS)
    assert admission_without_wait.slots.requests.free == 0


async def test_an_expected_body_that_is_too_slow_is_a_408(admission_without_wait: Admission) -> None:
    assert (await Upload(admission_without_wait, **EXPECTING).answer())[0] == 408
    assert admission_without_wait.slots.requests.free == 1


async def test_while_others_wait_the_greedy_caller_is_told_so_by_a_429(requests: AdmissionClient) -> None:
    inside, waiting = await requests.enter(LIMIT), await requests.wait(LIMIT)
    other = Upload(requests.admission_layer, "10.0.0.9", content_length="0")
    refused = await asyncio.wait_for(waiting.pop(), TIMEOUT_SECONDS)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    requests.release(2 * LIMIT)
    assert (await other.answer())[0] == 200
    assert {(await task).status_code for task in (*inside, *waiting)} == {200}


async def test_one_caller_has_a_part_of_the_streams() -> None:
    async def endless(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    admission_layer = Admission(endless, LIMIT, max_streams=10, caller_share=0.2)
    streams = [Upload(admission_layer, content_length="0") for _ in range(3)]
    assert (await streams.pop().answer())[0] == 503
    others = Upload(admission_layer, "10.0.0.2", content_length="0")
    await asyncio.sleep(0)
    assert others.sent[0]["status"] == 200
    for stream in (*streams, others):
        stream.task.cancel()
    await asyncio.wait([stream.task for stream in (*streams, others)])
    assert admission_layer.slots.streams == {}
