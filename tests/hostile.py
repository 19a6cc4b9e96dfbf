"""Hostile requests: within the size limits, but chosen to take as much processor time as possible.

`Watchdog` measures how long they block the event loop.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

MIB = 2**20
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PARTS = {"Content-Type": "multipart/form-data; boundary=x"}
HERO = {"name": "Deadpond", "secret_name": "Dive Wilson"}


@dataclass(frozen=True)
class Hostile:
    """A request, and the allowed statuses of its response."""

    name: str
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    statuses: tuple[int, ...] = (400, 422)


class Watchdog:
    """Measures the longest processor time between two turns of the event loop, in seconds.

    Other processes do not count, and neither do other threads.
    """

    longest = 0.0

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.watch())
        await asyncio.sleep(0)
        return self

    async def watch(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest, before = max(self.longest, now - before), now

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
        self.task.cancel()


def filled(part: str, size: int = MIB - 1000) -> str:
    """Return as many parts as fit into this size, separated by commas."""
    return ",".join([part] * (size // (len(part.encode()) + 1)))


def marks(size: int) -> str:
    """Return a letter with many combining marks in the wrong order, which takes quadratic time to normalise."""
    return "a" + "\u0301\u0327" * (size // 4)


def documents() -> Iterator[tuple[str, str]]:
    """Yield JSON documents of almost 1 MiB, for any resource."""
    yield "unknown keys", "{" + ",".join(f'"k{number}":1' for number in range(80_000)) + "}"
    yield "empty objects", f"[{filled('{}')}]"
    yield "empty arrays", f"[{filled('[]')}]"
    yield "objects", f"[{filled(json.dumps(HERO))}]"
    yield "objects with one key", f"[{filled(chr(123) + chr(34) + 'a' + chr(34) + ':1}')}]"
    yield "arrays of arrays", f"[{filled('[' * 900 + ']' * 900)}]"
    yield "deep arrays", "[" * (MIB - 1000)
    yield "deep objects", '{"a":' * 150_000
    yield "numbers", f"[{filled('0')}]"
    yield "small numbers", f"[{filled('1e-300')}]"
    yield "long integers", f"[{filled('9' * 4300)}]"
    yield "one long integer", "9" * (MIB - 1000)
    yield "long fractions", f"[{filled('0.' + '9' * 4000)}]"
    yield "empty texts", f"[{filled(chr(34) * 2)}]"
    yield "escapes", f'"{chr(92) + "u0041"}' + "\\u00e9" * 170_000 + '"'
    yield "combining marks", f'"{marks(MIB - 1000)}"'
    yield "escaped combining marks", '"a' + "\\u0301\\u0327" * 80_000 + '"'
    yield "blanks", " " * (MIB - 1000) + "1"
    yield "one key", "{" + filled('"a":1') + "}"
    yield "broken at its end", f"[{filled('{}')}"


def fields() -> Iterator[tuple[str, Any]]:
    """Yield values of single fields, of almost 1 MiB."""
    size = MIB - 2000
    yield "a long text", "x" * size
    yield "a long number as text", "9" * size
    yield "a long fraction as text", "0." + "9" * size
    yield "a long exponent", "1e" + "9" * size
    yield "blanks", " " * size
    yield "dots and at signs", "a@" + "a." * (size // 2)
    yield "labels of a domain", "a@" + ".".join(["xn--a"] * (size // 6))
    yield "at signs", "@" * size
    yield "hyphens", "a-" * (size // 2)
    yield "quotes", '"' * (size // 2)
    yield "accents", "é" * (size // 6)
    yield "thirty marks in a row", ("a" + "\u0301\u0327" * 15) * (size // 200)
    yield "a list", [0] * (size // 3)
    yield "a list of lists", [[]] * (size // 4)
    yield "an object", {f"k{number}": 1 for number in range(size // 14)}


def bodies() -> Iterator[Hostile]:
    for name, document in documents():
        body = document.encode()
        for method, path in (
            ("POST", "/heroes/"),
            ("PATCH", "/heroes/1"),
            ("POST", "/heroes/bulk"),
            ("POST", "/heroes/bulk?on_error=skip"),
            ("PATCH", "/products/bulk"),
        ):
            yield Hostile(f"{name} to {method} {path}", method, path, body, JSON, (207, 400, 413, 422))


def values() -> Iterator[Hostile]:
    written = {name: json.dumps(value, ensure_ascii=False) for name, value in fields()}
    for path, names in (
        ("/users/", ("username", "email", "full_name", "password", "is_active")),
        ("/heroes/", ("name", "age")),
        ("/items/", ("price", "owner_id")),
        ("/products/", ("slug", "sku", "description", "status")),
        ("/reviews/", ("product_id", "rating")),
    ):
        for field_name in names:
            for name, value in written.items():
                body = f'{{"{field_name}": {value}}}'.encode()
                yield Hostile(f"{name} as {field_name} to {path}", "POST", path, body, JSON, (400, 413, 422))
    for name, value in written.items():
        body = f'{{"ids": {value}, "changes": {value}}}'.encode()[: MIB - 100]
        yield Hostile(f"{name} as ids", "PATCH", "/products/bulk", body, JSON, (400, 413, 422))


def elements() -> Iterator[Hostile]:
    """Yield batches with many invalid elements, or with many errors in each."""
    wrong = {"name": "", "secret_name": 1, "age": "a", "power": -1, "team_id": 0} | {f"k{n}": 1 for n in range(20)}
    for name, batch in (
        ("wrong elements", [wrong] * 1000),
        ("empty elements", [{}] * 1000),
        ("numbers", [0] * 1000),
        ("elements with long names", [{"é" * 400: 1} for _ in range(1000)]),
        ("references to nothing", [HERO | {"team_id": 2**40 + number} for number in range(1000)]),
    ):
        body = json.dumps(batch, ensure_ascii=False).encode()
        for query, statuses in (("", (409, 422)), ("?on_error=skip", (207,))):
            yield Hostile(f"{name}{query}", "POST", f"/heroes/bulk{query}", body, JSON, statuses)


def queries() -> Iterator[Hostile]:
    size = 60_000
    for name, query in (
        ("values of in", "id__in=" + "1," * (size // 2)),
        ("commas", "sort=" + "," * size),
        ("backslashes", "id__in=" + "\\," * (size // 2)),
        ("fields", "fields=" + "id," * (size // 3)),
        ("unknown parameters", "&".join(f"k{number}=1" for number in range(size // 8))),
        ("one parameter", "&".join(["limit=1"] * (size // 8))),
        ("one list", "&".join(["sort=id"] * (size // 8))),
        ("empty parameters", "&" * size),
        ("a cursor", "cursor=" + "a" * size),
        ("a search", "q=" + "a" * size),
        ("a number", "age=" + "9" * size),
        ("a name", "name=" + "%C3%A9" * (size // 6)),
        ("combining marks", "q=a" + "%CC%81%CC%A7" * (size // 12)),
        ("percent signs", "q=" + "%" * size),
        ("a time", "created_at__gt=" + "2" * size),
    ):
        yield Hostile(f"{name} in a query", "GET", f"/heroes/?{query}", statuses=(200, 422))
    yield Hostile("a long path", "GET", "/heroes/" + "9" * size)
    yield Hostile("a path of slashes", "GET", "/heroes" + "/" * size, statuses=(404, 422))
    yield Hostile("a path of segments", "GET", "/heroes" * (size // 7), statuses=(404, 422))


def heads() -> Iterator[Hostile]:
    size = 60_000
    for name, value in (
        ("If-Match", '"a",' * (size // 4)),
        ("If-None-Match", '"a", ' * (size // 5)),
        ("Idempotency-Key", "k" * size),
        ("X-Request-ID", "a" * size),
        ("Authorization", "Bearer " + "a." * (size // 2)),
        ("Authorization", "Bearer eyJ" + "a" * size + ".a.a"),
        ("Accept", "a/b;q=0.1," * (size // 10)),
        ("Content-Type", "application/" + "a" * size + "+json"),
        ("Accept-Encoding", "gzip;q=0.1," * (size // 11)),
        ("X-Forwarded-For", "1.1.1.1," * (size // 8)),
        ("Cookie", "a=b;" * (size // 4)),
    ):
        for method, path in (("GET", "/heroes/1"), ("PATCH", "/heroes/1"), ("POST", "/heroes/")):
            body = b"" if method == "GET" else b'{"unknown":1}'
            given = {**(JSON if body else {}), name: value}
            yield Hostile(f"a long {name} to {method}", method, path, body, given, (200, 400, 401, 404, 412, 415, 422))


def forms() -> Iterator[Hostile]:
    refused = (400, 401, 413, 422)
    for name, form in (
        ("many fields", "a=1&" * 4000),
        ("a long password", "username=a&password=" + "a" * 16_000),
        ("combining marks", "username=a&password=a" + "%CC%81%CC%A7" * 1300),
        ("a large form", "a=1&" * 250_000),
        ("ampersands", "&" * 16_000),
        ("percent signs", "username=" + "%" * 16_000),
    ):
        yield Hostile(f"{name} to log in", "POST", "/auth/token", form.encode(), FORM, refused)
    part = "--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n"
    long_name = f"--x\r\nContent-Disposition: form-data; name={'a' * 16_000}\r\n\r\n\r\n--x--"
    for name, form in (("many parts", part * 300), ("a long name", long_name), ("no parts", "--x\r\n" * 3000)):
        yield Hostile(f"{name} to log in", "POST", "/auth/token", form.encode(), PARTS, refused)


REQUESTS = [*bodies(), *values(), *elements(), *queries(), *heads(), *forms()]
