"""The comparison of responses before the measurement: all servers must return equal values."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

from benchmarks.contestants import OURS
from benchmarks.loads import FILTERED, POST
from benchmarks.server import Server

READS = (
    "/heroes/1",
    "/heroes/10",
    "/heroes/4711",
    "/heroes/?limit=100",
    "/heroes/?limit=100&offset=4200",
    "/heroes/?limit=20&offset=40",
    FILTERED.format(age=42),
    "/posts/?limit=100",
)
OWN = ("id", "created_at", "updated_at")
"""The fields that each server sets by itself, so that they differ between servers."""
CHANGED = 4242


def plain(value: Any, *, own: tuple[str, ...] = ()) -> Any:
    """Remove acceptable differences from a value: the format of times, the order of keys, and the `own` fields."""
    if isinstance(value, list):
        return [plain(one, own=own) for one in value]
    if isinstance(value, dict):
        return {key: "its own" if key in own else timed(key, plain(one, own=own)) for key, one in value.items()}
    return value


def timed(key: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if key.endswith("_at") and isinstance(value, str) else value


def answer(client: httpx.Client, method: str, path: str, body: object = None) -> Any:
    response = client.request(method, path, json=body)
    if not response.is_success:
        raise SystemExit(f"{method} {path} of {client.headers['x-server']} was answered {response.status_code}.")
    return response.json()


def answers(server: Server, token: str) -> dict[str, Any]:
    """Send one request of each load to a server, and return the responses."""
    headers = {"X-Server": server.name}
    if server.contestant.has_token:
        headers["Authorization"] = f"Bearer {token}"
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
        said = {f"GET {path}": plain(answer(client, "GET", path)) for path in READS}
        made = answer(client, "POST", "/heroes/", POST)
        path = f"/heroes/{made['id']}"
        said["POST /heroes/"] = plain(made, own=OWN)
        said["GET what was made"] = plain(answer(client, "GET", path), own=OWN)
        said["PATCH"] = plain(answer(client, "PATCH", path, {"power": CHANGED}), own=OWN)
        said["GET what was changed"] = plain(answer(client, "GET", path), own=OWN)
        many = answer(client, "POST", "/heroes/bulk", [POST, POST | {"age": None}])
        said["POST /heroes/bulk"] = plain(many, own=OWN)
    return said


def compare(servers: Mapping[str, Server], token: str) -> None:
    """Exit with a message if a peer returns other values than our service; compares reads first, then writes.

    The token is that of a superuser.
    """
    wanted = answers(servers[OURS], token)
    for name, server in servers.items():
        for request, said in answers(server, token).items():
            if said != wanted[request]:
                both = f"ours: {short(wanted[request])}\nit:   {short(said)}"
                raise SystemExit(f"{name} answers {request} otherwise than ours.\n{both}")


def short(value: object) -> str:
    return str(value)[:600]
