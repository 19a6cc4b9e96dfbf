"""Loads: the requests that every server gets."""

import json
from dataclasses import dataclass
from typing import Any

POST: dict[str, Any] = {
    "name": "Captain North America",
    "secret_name": "Esteban Rogelios",
    "age": 93,
    "power": 150,
    "team_id": 7,
}
FILTERED = "/heroes/?age__gte={age}&sort=-power&limit=100"
PAGES = 100
"""Random pages are chosen from the first 100 pages."""
LAST_PAGE = 10_000 * 100
"""The number of rows on the first 10,000 pages."""
BULK, BULK_CONNECTIONS, BULK_SECONDS = 1000, 4, 2


@dataclass(frozen=True)
class Load:
    """A kind of request: a Lua expression that returns each request, or a body that is sent repeatedly."""

    title: str
    each: str = ""
    """A Lua expression that calls the functions of `SCRIPT`."""
    bulk: bool = False
    """Whether a request writes many rows. As it takes long, few connections are used, and all responses awaited."""
    writes: bool = False
    """Whether the requests need the rights of a superuser."""

    def at_once(self, connections: int) -> int:
        """Return the number of concurrent connections: fewer than given for bulk requests."""
        return min(connections, BULK_CONNECTIONS) if self.bulk else connections

    def seconds(self, usual: int) -> int:
        """Return the duration of a run in seconds, given the usual one."""
        return max(usual, BULK_SECONDS) if self.bulk else usual


def heroes(number: int) -> bytes:
    """Return the body of a bulk request."""
    return json.dumps([POST | {"name": f"Hero {place} of many", "power": place} for place in range(number)]).encode()


CHANGE = """send("PATCH", "/heroes/" .. math.random(ROWS), '{"power": ' .. math.random(1000000) .. '}')"""
CREATE = f"""send("POST", "/heroes/", [==[{json.dumps(POST)}]==])"""
READ = 'get("/heroes/" .. math.random(ROWS))'
SOME_AGE = FILTERED.format(age='" .. math.random(20, 60) .. "')
LOADS = {
    "get": Load("GET by random id", READ),
    "list-same": Load("list of 100, the same", 'get("/heroes/?limit=100")'),
    "list": Load("list of 100, random page", f'get("/heroes/?limit=100&offset=" .. 100 * math.random(0, {PAGES - 1}))'),
    "post": Load("POST", CREATE, writes=True),
    "patch": Load("PATCH", CHANGE, writes=True),
    "bulk": Load(f"POST {BULK:,} at once (rows)", bulk=True, writes=True),
    "filtered": Load("filtered and sorted list", f'get("{SOME_AGE}")'),
    "posts": Load("posts with authors, 100", 'get("/posts/?limit=100")'),
    "mixed": Load("80 % reads, 20 % writes", "mixed()", writes=True),
    "cursor": Load("page 10,000 by cursor", "get(PAGE)"),
    "cursor-first": Load("page 1 by cursor", 'get("/heroes/?limit=100")'),
}
SCRIPT = """
local ROWS, PAGE, HOST, TOKENS, place = {rows}, "{page}", "{host}", {{{tokens}}}, 0
math.randomseed({seed})

local function head(method, path)
  local first = method .. " " .. path .. " HTTP/1.1\\r\\nHost: " .. HOST .. "\\r\\n"
  if #TOKENS == 0 then return first end
  place = place % #TOKENS + 1
  return first .. "Authorization: Bearer " .. TOKENS[place] .. "\\r\\n"
end

local function get(path) return head("GET", path) .. "\\r\\n" end

local function send(method, path, body)
  return head(method, path) .. "Content-Type: application/json\\r\\nContent-Length: " .. #body .. "\\r\\n\\r\\n" .. body
end

local function mixed()
  local dice = math.random(100)
  if dice <= 60 then return {read} end
  if dice <= 80 then return get("/heroes/?limit=20&offset=" .. 20 * math.random(0, {last})) end
  if dice <= 90 then return {create} end
  return {change}
end

function request() return {each} end
"""
"""The script of wrk. It calls `request` before each request; the tokens are used in rotation."""


@dataclass(frozen=True)
class Choices:
    """The values from which a script chooses the parameters of its requests."""

    rows: int
    """The largest id of a hero. Requests use random ids from 1 to this number."""
    seed: int
    page: str = ""
    """The path of page 10,000, with its cursor."""
    tokens: tuple[str, ...] = ()


def script(load: Load, host: str, choices: Choices) -> str:
    """Return the script for wrk."""
    requests = {"read": READ, "create": CREATE, "change": CHANGE, "each": load.each, "last": PAGES - 1}
    tokens = ", ".join(f'"{token}"' for token in choices.tokens)
    values = {"rows": choices.rows, "seed": choices.seed, "page": choices.page, "tokens": tokens, "host": host}
    return SCRIPT.format(**requests, **values)
