"""Seeding: creates plausible rows of every resource by its bulk operation, so that all its rules hold."""

import json
import random
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from ipaddress import ip_address
from typing import Any, get_args, get_origin
from uuid import UUID

from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from sqlalchemy import Column, Index, UniqueConstraint

from kit.auth.owners import entities
from kit.commands.errors import CommandFailedError
from kit.commands.progress import Progress
from kit.models.entities import known_tables
from kit.server.service import Service

PLACEHOLDER = re.compile(r"\{(\w+)(?::\d+)?\}")
"""An example that is replaced by the id of a row, such as `{user}`."""
BATCH = 500
DAYS = 20_000
"""The number of distinct dates of a unique field."""
MAX_PARENTS = 1000
"""The maximum number of rows of a resource to which rows of other resources refer."""
Json = dict[str, Any]


@dataclass
class Target:
    """A resource with a bulk creation: the path, the largest number of elements, their model, and the table."""

    path: str
    model: type[BaseModel]
    max_elements: int
    table: str
    ids: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.strip("/").removesuffix("/bulk")

    @property
    def parents(self) -> set[str]:
        """The other tables to which the fields refer."""
        texts = [str(example) for info in self.model.model_fields.values() for example in examples_of(info)]
        return {found for text in texts for found in PLACEHOLDER.findall(text)} - {self.table}

    @cached_property
    def uniques(self) -> set[str]:
        """The fields of which no two rows may have the same value."""
        table = known_tables().get(self.table)
        return {column.key for column in table.columns if is_unique(column)} if table is not None else set()

    def bodies(self, number: int, parents: Mapping[str, list[Any]], start: int) -> list[Json]:
        return [self.body(start + index, parents) for index in range(number)]

    def body(self, number: int, parents: Mapping[str, list[Any]]) -> Json:
        """Return the body of row `number`: the examples of its fields, varied as far as the model accepts it."""
        body: Json = {}
        for name, info in self.model.model_fields.items():
            if examples := examples_of(info):
                body[name] = self.value(name, examples[number % len(examples)], number, parents)
        return body

    def value(self, name: str, example: Any, number: int, parents: Mapping[str, list[Any]]) -> Any:
        if isinstance(example, str) and (found := PLACEHOLDER.fullmatch(example)):
            known = parents.get(found[1], [])
            return random.choice(known) if known else None  # noqa: S311  no secret
        first = examples_of(self.model.model_fields[name])[0]
        values = (*(distinct(first, number) if name in self.uniques else ()), *varied(example, number))
        accepted = (value for value in values if self.accepts(name, value))
        return next(accepted, example)

    def accepts(self, name: str, value: Any) -> bool:
        """Return whether a field of the model may have this value."""
        try:
            self.model.__pydantic_validator__.validate_assignment(self.model.model_construct(), name, value)
        except ValidationError:
            return False
        return True


def examples_of(info: FieldInfo) -> list[Any]:
    return list(info.examples or ())


def is_unique(column: Column[Any]) -> bool:
    """Return whether a column is unique by itself, by a constraint or an index."""
    parts: list[UniqueConstraint | Index] = [index for index in column.table.indexes if index.unique]
    parts += [part for part in column.table.constraints if isinstance(part, UniqueConstraint)]
    return bool(column.unique) or any(part.columns.keys() == [column.key] for part in parts)


def distinct(example: Any, number: int) -> Iterator[Any]:
    """Yield variations of a value other than a text that no other row has. Texts are distinct as they are."""
    if isinstance(example, int | float) and not isinstance(example, bool):
        yield example + number
    elif isinstance(example, str) and (form := next((kind for kind in DISTINCT if kind.fullmatch(example)), None)):
        with suppress(ValueError):  # a text that only looks like such a value
            yield DISTINCT[form](example, number)


def distinct_moment(text: str, number: int) -> str:
    return (datetime.fromisoformat(text) - timedelta(minutes=number)).isoformat()


def distinct_time(text: str, number: int) -> str:
    """Return one of the 86,400 seconds of a day."""
    moment = datetime.combine(date(2000, 1, 1), time.fromisoformat(text))
    return (moment + timedelta(seconds=number)).time().isoformat()


DISTINCT: dict[re.Pattern[str], Callable[[str, int], str]] = {
    re.compile(r"\d+(\.\d+)?"): lambda text, number: str(Decimal(text) + number),
    re.compile(r"\d{4}-\d\d-\d\d"): lambda text, number: str(date.fromisoformat(text) - timedelta(days=number % DAYS)),
    re.compile(r"\d{4}-\d\d-\d\dT.*"): distinct_moment,
    re.compile(r"\d\d:\d\d(:\d\d)?"): distinct_time,
    re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"): lambda text, number: str(
        UUID(int=UUID(text).int + number)
    ),
    re.compile(r"P[0-9DHMST.]+"): lambda _, number: f"PT{number}S",
    re.compile(r"\d+(\.\d+){3}|[0-9a-f:]*::[0-9a-f:]*"): lambda text, number: str(ip_address(text) + number),
}
"""Functions by text format, such as UUID. Each returns a text of this format that is unique for the given number."""


def varied(example: Any, number: int) -> Iterator[Any]:
    """Yield variations of an example, the most plausible first. `number` makes texts unique."""
    if isinstance(example, bool) or example is None:
        return
    if isinstance(example, int):
        yield random.randint(max(example // 2, 1), example * 2 + 10)  # noqa: S311
    elif isinstance(example, str):
        yield from varied_texts(example, number)


def varied_texts(text: str, number: int) -> Iterator[str]:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        yield str((Decimal(text) * random.randint(20, 300) / 100).quantize(Decimal(text)))  # noqa: S311
    elif (example := moment_of(text)) is not None:
        moment = example - timedelta(days=random.randint(0, 1000))  # noqa: S311
        yield moment.isoformat() if "T" in text else date.isoformat(moment.date())
    elif "@" in text:
        name, _, domain = text.partition("@")
        yield f"{name}{number}@{domain}"
    else:
        yield from (f"{text} {number}", f"{text}-{number}", f"{text}{number}", f"{text[:8]}{number}")


def moment_of(text: str) -> datetime | None:
    """Return the date or time in a text; None for another text."""
    try:
        return datetime.fromisoformat(text) if re.match(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        return None


def targets_of(app: Service) -> list[Target]:
    """Return the resources with a bulk creation, parents first."""
    found = {target.table: target for target in map(target_of, iter_route_contexts(app.routes)) if target}
    ordered: list[Target] = []
    while found:
        ready = [table for table, target in found.items() if not target.parents & found.keys()] or list(found)
        ordered += [found.pop(table) for table in ready]
    return ordered


def target_of(route: RouteContext) -> Target | None:
    """Return the resource of a route that creates rows in bulk; None for another route."""
    if not isinstance(route.original_route, APIRoute):
        return None
    path, info = str(route.path_format), getattr(route.body_field, "field_info", FieldInfo())
    kind: Any = get_origin(info.annotation)
    if not path.endswith("/bulk") or route.methods != {"POST"} or kind is not list:
        return None
    (element,) = get_args(info.annotation)
    model = get_args(element)[0]
    most = min(part.max_length for part in info.metadata if hasattr(part, "max_length"))
    return Target(path, model, most, table_of(model))


def table_of(model: type[BaseModel]) -> str:
    """Return the name of the table for a request body, found by the base class that both have in common."""
    shared = (entity for entity in entities() if entity.__bases__[0] in model.__mro__)
    return next((str(entity.__tablename__) for entity in shared), model.__name__)


async def seed(app: Service, rows: int) -> dict[str, int]:
    """Create up to `rows` rows of each resource. Returns the number of created rows by resource."""
    created: dict[str, int] = {}
    async with app.router.lifespan_context(app):
        parents: dict[str, list[Any]] = {}
        for target in targets_of(app):
            created[target.name] = await fill(app, target, min(rows, limit_of(target)), parents)
            parents[target.table] = target.ids
    return created


def limit_of(target: Target) -> int:
    """Return the maximum number of rows. It is low if a bulk request may have few elements, as they are expensive."""
    return 4 * target.max_elements if target.max_elements < BATCH else 10**9


async def fill(app: Service, target: Target, rows: int, parents: Mapping[str, list[Any]]) -> int:
    """Create rows of a resource in batches. Returns the number of created rows: bodies that are refused are skipped."""
    progress, created, size = Progress(target.name, rows), 0, min(BATCH, target.max_elements)
    refusals = Counter[str]()
    number = secrets.randbelow(10**7)  # so that names differ from those of an earlier run
    if any(not parents.get(table) for table in target.parents):
        return 0
    for start in range(0, rows, size):
        bodies = target.bodies(min(size, rows - start), parents, number + start)
        made, refused = await create(app, target.path, bodies)
        refusals.update(refused)
        target.ids += [row["id"] for row in made][: MAX_PARENTS - len(target.ids)]
        created += len(made)
        progress.step(len(bodies))
    progress.end()
    for reason, times in refusals.most_common(1):
        progress.note(f"{target.name}: {rows - created} were refused, {times} of them because: {reason}")
    return created


async def create(app: Service, path: str, bodies: list[Json]) -> tuple[list[Json], list[str]]:
    """Create rows by one request; if one of them is refused, by a second request that skips refused ones.

    Returns the created rows, and the reasons of the refusals. Raises a CommandFailedError if the service fails.
    """
    status, answer = await ask(app, path, b"", bodies)
    if status == 201:
        return list(answer), []
    if status not in (409, 422):
        raise CommandFailedError(f"POST {path} got {status}: {answer.get('detail', '')}")
    status, answer = await ask(app, path, b"on_error=skip", bodies)
    if status != 207:
        return [], [reason_of(answer)] * len(bodies)
    return list(answer["created"]), [reason_of(failure["problem"]) for failure in answer["failed"]]


def reason_of(problem: Json) -> str:
    """Return the first error of a problem, with the field; without errors, its detail."""
    for error in problem.get("errors", ()):
        field = re.sub(r"^#/(\d+/)?", "", error["pointer"])
        return f"{field}: {error['detail']}"
    return str(problem.get("detail", ""))


async def ask(app: Service, path: str, query: bytes, body: Any) -> tuple[int, Any]:
    """Send a POST to an application in this process. Returns the status and the body of the answer."""
    sent, parts = [{"type": "http.request", "body": json.dumps(body).encode()}], list[Any]()

    async def receive() -> Any:
        return sent.pop() if sent else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        parts.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope: Json = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": query}
    scope |= {"headers": headers, "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "root_path": ""}
    scope |= {"asgi": {"version": "3.0"}, "server": ("localhost", 80)}
    await app(scope, receive, send)
    return parts[0]["status"], json.loads(b"".join(part.get("body", b"") for part in parts[1:]))
