"""Loads: the requests that every server gets."""

import json
from dataclasses import dataclass

from benchmarks.wrk import REPORT

POST = {"name": "Captain North America", "secret_name": "Esteban Rogelios", "age": 93, "power": 150, "team_id": 7}
FILTERED = "/heroes/?age__gte={age}&sort=-power&limit=100"
RANDOMLY_FILTERED = FILTERED.format(age='" .. math.random(20, 60) .. "')
LONG_SECONDS, LONG_AT_ONCE = 4, 4
PAGES = 100
"""The number of first pages from which a random one is requested."""
JSON_HEADER = 'wrk.headers["Content-Type"] = "application/json"\n'
GET = 'wrk.format("GET", "/heroes/" .. math.random(ROWS))'
CHANGE = """wrk.format("PATCH", "/heroes/" .. math.random(ROWS), nil, '{"power": ' .. math.random(1000000) .. '}')"""


@dataclass(frozen=True)
class Load:
    """A kind of request: a constant path, or a Lua expression that makes each request."""

    title: str
    path: str = ""
    each: str = ""
    body: str = ""
    rows: int = 1
    """The number of rows that a request writes."""
    against_itself: str = ""
    """Another load of our service to compare with, in place of a peer."""
    only_ours: bool = False
    takes_long: bool = False
    """Whether requests are so long that more seconds and fewer connections are needed to count them."""

    def seconds(self, usual: int) -> int:
        """Return the duration of a run, in seconds."""
        return max(usual, LONG_SECONDS) if self.takes_long else usual

    def at_once(self, connections: int) -> int:
        """Return the number of connections. Requests that run at the end are not counted, so there must be few."""
        return min(connections, LONG_AT_ONCE) if self.takes_long else connections

    def script(self, rows: int, seed: int, paths: dict[str, str]) -> str:
        """Return the Lua script for wrk, which draws ids from this number of rows."""
        lines = [f"local ROWS = {rows}", f"math.randomseed({seed})", REPORT, JSON_HEADER]
        if self.body:
            lines.append(f"wrk.method = 'POST'\nwrk.body = [==[{self.body}]==]\n")
        if self.each:
            lines.append(f"function request()\n{self.each}\nend\n")
        return "\n".join(lines) + f"\nwrk.path = '{self.path.format(**paths)}'\n"


def heroes(number: int) -> str:
    return json.dumps([POST | {"name": f"Hero {place} of many", "power": place} for place in range(number)])


LOADS = {
    "get": Load("GET by random id", each=f"return {GET}"),
    "get-same": Load("GET the same id", path="/heroes/4711"),
    "list": Load(
        "list of 100, random page",
        each=f'return wrk.format("GET", "/heroes/?limit=100&offset=" .. 100 * math.random(0, {PAGES - 1}))',
    ),
    "list-same": Load("list of 100, the same", path="/heroes/?limit=100"),
    "filtered": Load(
        "filtered and sorted list",
        each=f'return wrk.format("GET", "{RANDOMLY_FILTERED}")',
    ),
    "cursor": Load("page 10,000 by cursor", path="{page_10000}", against_itself="cursor-first", only_ours=True),
    "cursor-first": Load("page 1", path="/heroes/?limit=100", only_ours=True),
    "posts": Load("posts with authors, 100", path="/posts/?limit=100"),
    "post": Load("POST", path="/heroes/", body=json.dumps(POST)),
    "patch": Load("PATCH", each=f"return {CHANGE}"),
    "bulk": Load(
        "POST 1,000 at once (rows)",
        path="/heroes/bulk",
        body=heroes(1000),
        rows=1000,
        takes_long=True,
        against_itself="post",
    ),
    "mixed": Load(
        "80 % reads, 20 % writes",
        each=f"""
local dice = math.random(100)
if dice <= 60 then return {GET} end
if dice <= 80 then return wrk.format("GET", "/heroes/?limit=20&offset=" .. 20 * math.random(0, {PAGES - 1})) end
if dice <= 90 then return wrk.format("POST", "/heroes/", nil, [==[{json.dumps(POST)}]==]) end
return {CHANGE}""",
    ),
}
EVERYWHERE = [name for name in LOADS if name != "cursor-first"]
SOME = {1: ["get", "list-same", "post"], 100: ["get", "list-same", "mixed"]}
"""The loads over one and over a hundred connections; over 32 connections, all loads."""


def asked(connections: int) -> list[str]:
    return SOME.get(connections, EVERYWHERE)
