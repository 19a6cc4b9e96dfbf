"""Lists as clients see them: following the pages, and comparing values."""

import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from operator import ge, gt, le, lt
from typing import Any

from pydantic import TypeAdapter

from tests.contract.field import Json
from tests.contract.resource import Resource
from tests.engines import Client

NEXT = re.compile(r'<([^>]+)>; rel="next"')
MEANINGS: dict[str, Callable[[Any, Any], bool]] = {
    "": lambda own, value: own == value,
    "ne": lambda own, value: own != value,
    "lt": lambda own, value: own is not None and lt(own, value),
    "lte": lambda own, value: own is not None and le(own, value),
    "gt": lambda own, value: own is not None and gt(own, value),
    "gte": lambda own, value: own is not None and ge(own, value),
    "in": lambda own, value: own in value,
    "contains": lambda own, value: own is not None and value in own,
    "startswith": lambda own, value: own is not None and own.startswith(value),
    "isnull": lambda own, value: (own is None) == value,
}
"""The operators of filters, as functions of the field's value and the value in the query."""


READERS: dict[type, Callable[[Any], Any]] = {
    datetime: datetime.fromisoformat, Decimal: Decimal, timedelta: TypeAdapter(timedelta).validate_python,
    IPv4Address: IPv4Address, IPv6Address: IPv6Address, IPv4Network: IPv4Network, IPv6Network: IPv6Network,
}  # fmt: skip
"""By type, the function that reads a value from a response, where the order of its text is another."""


def comparable(kind: type, value: Any) -> Any:
    """Return a value of a response as a Python value that compares as in the database."""
    if value is None:
        return None
    return READERS[kind](value) if kind in READERS else value


def written(value: Any) -> str:
    """Return a value of a response in the notation of a query."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def following(answer: Any) -> str | None:
    """Return the URL of the next page; None on the last page."""
    if "link" not in answer.headers:
        return None
    match = NEXT.fullmatch(answer.headers["link"])
    assert match, answer.headers["link"]
    return match[1]


async def pages(client: Client, resource: Resource, /, **parameters: Any) -> AsyncIterator[list[Json]]:
    url: str | None = str(client.build_request("GET", resource.path, params=parameters).url)
    while url:
        answer = await client.get(url)
        assert answer.status_code == 200, answer.text
        url = following(answer)
        rows: list[Json] = answer.json()
        assert rows or not url
        yield rows


async def walked(client: Client, resource: Resource, /, **parameters: Any) -> list[Json]:
    return [row async for page in pages(client, resource, **parameters) for row in page]


async def ids(client: Client, resource: Resource, /, **parameters: Any) -> list[Any]:
    answer = await client.get(resource.path, params=parameters)
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()]
