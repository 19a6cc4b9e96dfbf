"""The unit of work: serves a request in one transaction, with authentication, body, retries, COMMIT and deadline."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from copy import copy
from functools import partial
from hashlib import sha256
from itertools import chain, repeat
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope

from kit.auth.permissions import Who
from kit.database.error_responses import explained
from kit.database.errors import FAILURES, may_be_committed
from kit.database.retry import READ_SECONDS, WRITE_SECONDS, retried_after
from kit.database.sessions import HAS_COMMITTED, ReadSession, WriteSession
from kit.http.bodies import BufferedRequest, refuse_announced, refuse_encoded, refuse_other_than_json
from kit.http.etags import etag_with_digest, is_fresh, not_modified, weak_etag
from kit.http.paths import full_path
from kit.http.problems import Problem, deadline_exceeded, too_large
from kit.http.request_headers import headers, ignore_other_ranges
from kit.http.texts import compose_path, compose_query
from kit.models.entities import Entity
from kit.models.privacy import tells_all
from kit.operations import idempotency
from kit.operations.callers import get_caller, route_permission
from kit.operations.embedded_bodies import refuse_unknown_members
from kit.operations.failures import explained_body
from kit.operations.idempotency_keys import IdempotencyKey, key_of
from kit.operations.preconditions import CONDITIONS, created_only, refuse_ignored
from kit.query.parameters import declared_by
from kit.runtime import Runtime, runtime_of

if TYPE_CHECKING:
    from kit.operations.route import Operation

Handle = Callable[[Request], Awaitable[Response]]
"""A function of FastAPI, or a faster one, that resolves the handler's arguments, calls it, and makes the response."""
SAFE = ("GET", "HEAD", "OPTIONS")
"""Safe methods, which change nothing (RFC 9110, section 9.2.1)."""
COMMIT_TIMEOUT = 5.0
"""The timeout of a COMMIT in seconds, independent of the deadline. After it, the outcome is unknown."""
COMMITTING_SEND = "kit.committing_send"
"""The key in the ASGI scope of the request's `CommittingSend`."""
WATCH_AFTER = 0.1
"""Seconds after which the service checks whether the client of a read is still connected."""
CLIENT_CLOSED_REQUEST = 499
"""The status in the log of a read whose client has disconnected."""

PLAIN_PATH = re.compile("[A-Za-z0-9/_-]+")
"""A path that needs no escapes in a header."""

UNIT: ContextVar["Unit | None"] = ContextVar("unit", default=None)
"""The unit of work in which this task serves a request; None outside of the operations of resources."""


class OperationRequest(BufferedRequest):
    """A request to an operation. The maximum size of its body is that of the operation, or of the settings."""

    is_limited: ClassVar[bool] = True
    keeps_digits: ClassVar[bool] = True

    @property
    def limit(self) -> int:
        return _body_limit(runtime_of(self), self.scope["route"])

    async def receive_body(self) -> bytes:
        self.max_values = runtime_of(self).max_body_values
        return await self.read(dict(self.scope["headers"]), self.limit)


async def perform(route: "Operation", handle: Handle, request: Request, *, ends_dependencies: bool = False) -> Response:
    """Serve a request to an operation of a resource.

    `ends_dependencies`: there are dependencies that FastAPI ends before the response (`scope="function"`). Then
    `commit_before_response`, the last of them, commits instead of this function. There is only one attempt, because the
    dependencies of a failed attempt would not have ended.
    """
    scope = request.scope
    runtime: Runtime = getattr(scope["app"], "runtime", None) or runtime_of(request)
    is_safe = scope["method"] in SAFE
    if type(request) is Request:
        request.__class__ = OperationRequest  # see `BufferedRequest`
    with Deadline(runtime.request_timeout, request if is_safe else None) as deadline:
        if get_caller not in scope["app"].dependency_overrides:  # else `check_permission` does it later
            who = runtime.permissions.get((id(scope["route"]), scope["method"])) or route_permission(request)
            await runtime.authenticator.admit(request, who)
        if b"%" in scope["query_string"] or not scope["path"].isascii():
            compose_path(scope)
            compose_query(scope)
        if not is_safe:
            return await _write(runtime, route, handle, request, None if ends_dependencies else deadline)
        _refuse_unknown_parameters(route, request)
        if route.body_field is not None:
            await _read_body(runtime, route, request, dict(reversed(scope["headers"])))
        try:
            return await _read_once(runtime, route, handle, request)
        except FAILURES as failure:
            again = partial(_read_once, runtime, route, handle, request)
            return await _retried(failure, again, 0 if ends_dependencies else READ_SECONDS)


async def _write(
    runtime: Runtime, route: "Operation", handle: Handle, request: Request, deadline: "Deadline | None"
) -> Response:
    """Serve a request with a method that is not safe, by one transaction for each attempt."""
    scope = request.scope
    header_map = dict(reversed(scope["headers"]))  # the first of each name
    if not CONDITIONS.isdisjoint(header_map):
        refuse_ignored(runtime.routes_without_conditions, scope, header_map)
    await _read_body(runtime, route, request, header_map)
    _refuse_unknown_parameters(route, request)
    requests = _attempts_of(request)
    key = await key_of(request, route.form_limits) if b"idempotency-key" in header_map else None
    attempt = partial(_write_once, runtime, route, handle, requests, key, deadline)
    attempts = partial(_attempts, attempt, 0 if deadline is None else WRITE_SECONDS)
    if b"if-none-match" in header_map and scope["method"] == "POST":
        attempts = partial(created_only, scope, attempts)
    if key is None:
        return await attempts()
    async with idempotency.exclusive(key):
        return await attempts()


def _refuse_unknown_parameters(route: "Operation", request: Request) -> None:
    if request.scope["query_string"]:
        declared_by(route, request.scope["app"]).check(request)


def _body_limit(runtime: Runtime, route: "Operation") -> int:
    return route.body_limit or (runtime.max_upload_size if route.takes_form else runtime.max_body_size)


async def _read_body(runtime: Runtime, route: "Operation", request: Request, header_map: Mapping[bytes, bytes]) -> None:
    """Read the body before the handler is called. Raises a 413, 415 or 400.

    A request class of the application decodes and parses bodies as it likes, within the maximum size.
    """
    limit = _body_limit(runtime, route)
    if not isinstance(request, OperationRequest):
        if len(await request.body()) > limit:
            raise too_large(limit)
        return
    request.max_values = runtime.max_body_values
    if b"expect" in header_map:  # the client sends the body after the head has been accepted
        refuse_announced(header_map, limit)
        _refuse_other_media(route, request, header_map)
    if await request.read(header_map, limit, is_shared=request.scope["method"] in SAFE):
        _refuse_other_media(route, request, header_map)
    if route.members and not request.scope["app"].dependency_overrides:
        await refuse_unknown_members(route.members, request)


def _refuse_other_media(route: "Operation", request: Request, header_map: Mapping[bytes, bytes]) -> None:
    """Raise a 415 for a body with a coding, or of another type than JSON where this is read."""
    if b"content-encoding" in header_map:
        refuse_encoded(headers(request.scope, b"content-encoding"))
    if route.body_field is not None and not route.takes_form:
        refuse_other_than_json(header_map, is_patch=request.method == "PATCH")


def _attempts_of(request: Request) -> Iterator[Request]:
    """Return the request for each attempt. One of another class is copied, after its body was read."""
    if isinstance(request, OperationRequest):
        return request.attempts()
    return chain([request], map(copy, repeat(copy(request))))


async def _attempts(attempt: Callable[[], Awaitable[Response]], seconds: float) -> Response:
    """Return the response of the first attempt that succeeds. `seconds` is that of `_retried`."""
    try:
        return await attempt()
    except FAILURES as failure:
        return await _retried(failure, attempt, seconds)


async def _retried(failure: Exception, attempt: Callable[[], Awaitable[Response]], seconds: float) -> Response:
    """Repeat a failed attempt as `retried_after` does; with 0 seconds, raise the problem for the failure."""
    if not seconds:
        raise explained(failure) from failure
    return await retried_after(failure, attempt, seconds)


async def _read_once(runtime: Runtime, route: "Operation", handle: Handle, request: Request) -> Response:
    async with Unit(request, runtime.database.read(restricted=route.read_permission is Who.OWNERS)) as unit:
        return unit.kept_open(route, unit.finish(await handle(request)))


async def _write_once(
    runtime: Runtime,
    route: "Operation",
    handle: Handle,
    requests: Iterator[Request],
    key: IdempotencyKey | None,
    deadline: "Deadline | None",
) -> Response:
    """Serve the next request in one transaction, and commit it. After a failure before the COMMIT, it is rolled back.

    Without a deadline, `commit_before_response` commits later.
    """
    if deadline is not None:
        deadline.resume()
    session = runtime.database.write(
        restricted=route.permission is Who.OWNERS, restricted_reads=route.read_permission is Who.OWNERS
    )
    session.shares_transaction = deadline is not None
    async with Unit(next(requests), session) as unit:
        try:
            work = partial(_execute_step, handle, unit)
            response = await (work() if key is None else idempotency.execute_once(unit.request, key, session, work))
        except FAILURES as failure:
            if session.info.get(HAS_COMMITTED):  # the handler has committed, and is not run again
                raise explained(failure) from failure
            raise
        if deadline is None:
            unit.request.scope[COMMITTING_SEND].take_over(session, continues=unit.is_open_ended)
            unit.is_taken_over = True
        else:
            deadline.suspend()
            await commit(session)
        return unit.kept_open(route, response)


async def _execute_step(handle: Handle, unit: "Unit") -> Response:
    try:
        return unit.finish(await handle(unit.request))
    except ValidationError as failure:
        raise explained_body(unit.request, failure) from failure.__cause__


async def commit(session: WriteSession) -> None:
    """Commit. Raises a 503 with the outcome `unknown` if the COMMIT failed in a way that may have taken effect."""
    try:
        await session.commit_within(COMMIT_TIMEOUT)
    except (*FAILURES, TimeoutError) as failure:
        if may_be_committed(failure):
            raise explained(failure, committing=True) from failure
        raise


class Unit:
    """One attempt to execute a request, with its session and response headers.

    The session is closed at the end, unless a stream or a background task still uses it.
    """

    def __init__(self, request: Request, session: ReadSession | WriteSession) -> None:
        self.request, self.session = request, session
        self.etag: str | None = None
        self.version: int | None = None
        """The version of the row in the response, if the ETag needs a digest of the content too."""
        self.is_tagged_by_content = False
        """Whether the ETag is a digest of the content: the response is a list, or has embedded rows."""
        self.digest: bytes | None = None
        """The SHA-256 of the content, if it was already computed."""
        self.headers: dict[str, str] = {}
        self.arguments: dict[str, Any] = {}
        """The arguments of the handler that FastAPI does not resolve."""
        self.is_taken_over = False
        """Whether `commit_before_response` commits and closes the session."""
        self.is_open_ended = False
        """Whether the response is a stream or has background tasks, which may use the session."""

    async def flush(self, *others: Any) -> None:
        """Flush the session, and other sessions among the arguments `others`, so that ids and versions are set."""
        if isinstance(self.session, WriteSession):
            await self.session.prepare_commit()
        for session in others:
            if isinstance(session, AsyncSession) and session is not self.session:  # a dependency was overridden
                await session.flush()

    def tag_row(self, row: Entity, model: Any, *, has_included: bool) -> None:
        """Set the ETag of a row in the response model `model`, and `Location` for a 201.

        `has_included`: the request has included other rows, which may change without a new version of this one.
        """
        scope = self.request.scope
        if has_included:
            self.is_tagged_by_content = True
        elif tells_all(type(row), model) and (scope["method"] not in SAFE or is_in_path(row.id, scope)):
            self.etag = f'"{row.version}"'
        else:
            self.version = row.version
        if scope["route"].status_code == 201:
            is_plain = not scope.get("root_path") and PLAIN_PATH.fullmatch(scope["path"])
            path = scope["path"] if is_plain else full_path(scope)
            self.headers["location"] = f"{path.rstrip('/')}/{row.id}"

    def finish(self, response: Response) -> Response:
        """Add the headers of this unit to the response, and return it; for a GET, a 304 if `If-None-Match` matches."""
        self.is_open_ended = not hasattr(response, "body") or response.background is not None
        for name, value in self.headers.items():
            response.headers.setdefault(name, value)
        if self.is_tagged_by_content and hasattr(response, "body"):
            others = (value.encode("latin-1") for value in self.headers.values())
            self.etag = weak_etag(self.digest or sha256(response.body).digest(), *others)
        if self.version is not None and hasattr(response, "body"):
            self.etag = etag_with_digest(self.version, bytes(response.body))
        if self.etag is None or not 200 <= response.status_code < 300:  # RFC 9110, section 13.2.1
            return response
        if b"etag" not in dict(response.raw_headers):
            response.raw_headers.append((b"etag", self.etag.encode("latin-1")))
        known = [value for name, value in self.request.scope["headers"] if name == b"if-none-match"]
        if not known or self.request.method != "GET":
            return response
        listed = b",".join(known).decode("latin-1")
        return not_modified(response) if is_fresh(response.headers["etag"], listed) else response

    def kept_open(self, route: "Operation", response: Response) -> Response:
        """Return the response. A stream, or one with background tasks, is wrapped, so that its session stays open."""
        if isinstance(response, FileResponse):
            ignore_other_ranges(self.request.scope)
        if self.is_open_ended and not route.is_generator:
            return route.open_response_class(response, self.session)
        return response

    async def __aenter__(self) -> Self:
        self._token: Token[Unit | None] = UNIT.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        UNIT.reset(self._token)
        committing_send = self.request.scope.get(COMMITTING_SEND)
        if committing_send is not None:
            committing_send.sessions.append(self.session)
        if failure is not None or not (self.is_open_ended or self.is_taken_over):
            await self.session.__aexit__(kind, failure, trace)
            if committing_send is None:  # served by a shortcut: no dependency may still use the session
                end(self.session)


def end(session: Any) -> None:
    """Let the closed session of a request refuse further statements by `SessionEnded`."""
    session.is_ended = True
    if session.is_open:
        session.sync_session.is_ended = True


def is_in_path(ident: Any, scope: Scope) -> bool:
    """Return whether an id is a parameter of the path, which then leads to the same row for all callers."""
    text = str(ident)
    return any(text == str(value) for value in scope["path_params"].values())


class Deadline:
    """Cancels a `with` block after `seconds`, and raises a 504.

    With `request`, the block is also cancelled when its client disconnects; then a 499 is raised.

        young --WATCH_AFTER--> watched: by a timer, and with `request` by a task that waits for the disconnect
        young or watched --suspend--> suspended --resume--> watched

    Nearly all requests end while their deadline is young. One timer is shared by all young deadlines of an event loop.
    """

    is_expired = is_disconnected = is_suspended = False
    timer: asyncio.TimerHandle | None = None
    watcher: asyncio.Task[None] | None = None

    def __init__(self, seconds: float, request: Request | None = None) -> None:
        self.seconds, self.request = seconds, request

    def __enter__(self) -> Self:
        self.loop = loop = asyncio.get_running_loop()
        self.task: asyncio.Task[Any] = asyncio.current_task(loop)  # type: ignore[assignment]  # never None here
        self.cancelling, self.began = self.task.cancelling(), loop.time()
        self.others = others = YoungDeadlines.latest if YoungDeadlines.latest.loop is loop else YoungDeadlines(loop)
        if others.is_scheduled and self.seconds >= WATCH_AFTER:
            others.deadlines[self] = None
        else:
            others.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.others.deadlines.pop(self, self) is None:  # it is still young
            return
        self.stop()
        if not self.is_expired or self.task.uncancel() > self.cancelling or kind is not asyncio.CancelledError:
            return
        if self.is_disconnected:
            detail = "The client has disconnected."
            raise Problem(CLIENT_CLOSED_REQUEST, detail, kind="client-closed-request") from failure
        raise deadline_exceeded() from failure

    @property
    def moment(self) -> float:
        """When it expires, by `loop.time()`."""
        return self.began + self.seconds

    def watch(self) -> None:
        self.timer = self.loop.call_at(self.moment, self.expire)
        if isinstance(self.request, OperationRequest):  # another one would lose the messages that the watcher receives
            receive = self.request.received.reader(watches=True)
            self.watcher = self.loop.create_task(self.wait_for_disconnect(receive))

    def expire(self) -> None:
        self.is_expired = True
        self.task.cancel()

    async def wait_for_disconnect(self, receive: Receive) -> None:
        with suppress(HTTPException):  # the body is too slow, or larger than a `max_body_size` of FastAPI
            while (await receive())["type"] != "http.disconnect":
                pass
            if not self.is_expired:
                self.is_disconnected = True
                self.expire()

    def stop(self) -> None:
        self.others.deadlines.pop(self, None)
        for waiting in (self.timer, self.watcher):
            if waiting is not None:
                waiting.cancel()

    def suspend(self) -> None:
        """Stop the deadline before a COMMIT. Raises a 504 if it has expired and the code ignored the cancellation."""
        self.stop()
        if self.is_expired:
            raise deadline_exceeded()
        self.is_suspended = True

    def resume(self) -> None:
        """Continue after `suspend`, with the remaining time."""
        if self.is_suspended:
            self.is_suspended = False
            self.timer = self.loop.call_at(self.moment, self.expire)


class YoungDeadlines:
    """The deadlines of an event loop that are not watched yet (see `Deadline`), the oldest first."""

    latest: "ClassVar[YoungDeadlines]"
    """The instance for the event loop that was used last."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop, self.deadlines, self.is_scheduled = loop, dict[Deadline, None](), False
        YoungDeadlines.latest = self

    def add(self, deadline: Deadline) -> None:
        if deadline.seconds < WATCH_AFTER:  # it is due before older ones
            deadline.timer = deadline.loop.call_at(deadline.moment, deadline.watch)
            return
        self.deadlines[deadline] = None
        self.schedule(deadline)

    def schedule(self, oldest: Deadline) -> None:
        self.is_scheduled = True
        oldest.loop.call_at(oldest.began + WATCH_AFTER, self.watch)

    def watch(self) -> None:
        """Watch the deadlines that are older than `WATCH_AFTER`, and schedule the call for the next one."""
        self.is_scheduled = False
        while self.deadlines:
            oldest = next(iter(self.deadlines))
            if oldest.began + WATCH_AFTER > oldest.loop.time():
                self.schedule(oldest)
                return
            del self.deadlines[oldest]
            oldest.watch()


YoungDeadlines(None)  # sets `latest`
