"""The contestants: our service in several settings, and its peers; how each is started, and what it is."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import PROJECT, SERVER_CORE

OURS, BARE, WITH_TOKEN, WITH_LOG = "ours", "ours-bare", "ours-token", "ours-log"
FASTIFY = PROJECT / "benchmarks/peers/fastify"
ROBYN = PROJECT / ".venv-bench-robyn/bin/python"
POOL = {"POOL_SIZE": "30", "POOL_OVERFLOW": "0", "POOL_PRE_PING": "false"}
"""The pool of every server: 30 connections without overflow."""
PRODUCTION = {
    "ENVIRONMENT": "production",
    "LOG_LEVEL": "INFO",
    "SECRET_KEY": "0123456789abcdef" * 2,
    "TOKEN_MINUTES": "1440",
    "USER_RATE": "1000000000",
    "ADDRESS_RATE": "1000000000",
    "MAX_IN_FLIGHT": "1000",
    "SHUTDOWN_DELAY": "0",
}
"""The settings of our service. Rates are counted as in production, with a limit that is never reached."""
NO_TOKEN, NO_LOG = {"REQUIRE_AUTH": "false"}, {"LOG_LEVEL": "WARNING"}
Words = tuple[str, ...]


def peer_command(name: str) -> Words:
    return (sys.executable, "-m", "benchmarks.peers.serve", name)


@dataclass(frozen=True)
class Contestant:
    """A way to serve. The port is appended to the command."""

    what: str
    command: Words
    settings: Mapping[str, str] = field(default_factory=dict)
    has_token: bool = False
    """Whether requests carry tokens."""
    is_framework: bool = False
    """Whether it is a Python framework for services."""
    has_orm: bool = False
    """Whether its handlers use an ORM, as ours do, not hand-written SQL."""
    on_sqlite: bool = False

    def started_on(self, port: int, pinned: bool = True) -> list[str]:
        core = ["taskset", "-c", str(SERVER_CORE)] if pinned else []
        return [*core, *self.command, str(port)]

    def environment(self, database_url: str) -> dict[str, str]:
        own = {"NODE_ENV": "production", "DATABASE_URL": database_url}
        return {**os.environ, **POOL, **PRODUCTION, **self.settings, **own}


def ours(what: str, *left_out: Mapping[str, str], on_sqlite: bool = False) -> Contestant:
    """Return our service with production settings. The settings given here replace some, to turn features off."""
    command = (sys.executable, "-m", "uvicorn", "main:app", "--port")
    settings = {name: value for settings in left_out for name, value in settings.items()}
    return Contestant(what, command, settings, has_token=NO_TOKEN not in left_out, on_sqlite=on_sqlite)


def peer(what: str, module: str, *, on_sqlite: bool = False, has_orm: bool = True, **settings: str) -> Contestant:
    """Return a peer that uvicorn serves."""
    framework = module != "limit"
    command = peer_command(module)
    return Contestant(what, command, settings, is_framework=framework, has_orm=has_orm, on_sqlite=on_sqlite)


CONTESTANTS = {
    OURS: ours("this service as in production: log lines of INFO, and a token with each request", on_sqlite=True),
    BARE: ours("this service without both, as its peers are", NO_TOKEN, NO_LOG, on_sqlite=True),
    WITH_TOKEN: ours("with tokens, without log lines", NO_LOG),
    WITH_LOG: ours("with log lines, without tokens", NO_TOKEN),
    "seed": peer("the complete example of SQLModel's async tutorial", "seed", on_sqlite=True),
    "seed-ping": peer("the same with `pool_pre_ping`, as the tutorial documents it", "seed", POOL_PRE_PING="true"),
    "limit": peer(
        "asyncpg by hand: bare ASGI, one prepared statement a request, no validation", "limit", has_orm=False
    ),
    "litestar": peer("Litestar, Advanced Alchemy's repositories, msgspec", "litestar"),
    "sqlspec": peer("Litestar, SQLSpec on asyncpg: SQL by hand, msgspec", "sqlspec", has_orm=False),
    "ninja": peer("Django Ninja, async, with Django's psycopg pool, prepared statements, orjson", "ninja"),
    "template": peer("synchronous SQLModel on psycopg, as in the full-stack FastAPI template", "template"),
    "fastcrud": peer("FastCRUD on FastAPI", "fastcrud"),
    "robyn": Contestant(
        "Robyn, whose HTTP server is written in Rust, with asyncpg: SQL by hand, bodies by pydantic",
        (str(ROBYN), "-m", "benchmarks.peers.robyn"),
        {"ROBYN_LOG_LEVEL": "WARNING"},
        is_framework=True,
    ),
    "fastify": Contestant(
        "Node's Fastify and pg, prepared statements, answers serialized by schema",
        ("node", str(FASTIFY / "server.js")),
    ),
}
PEERS = tuple(name for name in CONTESTANTS if not name.startswith(OURS))
FRAMEWORKS = tuple(name for name, contestant in CONTESTANTS.items() if contestant.is_framework)
"""The peers that are Python frameworks: `limit` is no framework, `fastify` is not Python."""
NEEDED: Mapping[str, tuple[Path, str]] = {
    "fastify": (FASTIFY / "node_modules", "Node or its packages are missing; on Debian: apt install nodejs npm"),
    "robyn": (ROBYN, "its environment is missing: make .venv-bench-robyn/ready"),
}


def left_out(peers: Sequence[str]) -> dict[str, str]:
    """Return the peers that cannot run on this machine, each with the reason."""
    missing = {name: why for name, (path, why) in NEEDED.items() if name in peers and not path.exists()}
    return missing if shutil.which("node") or "fastify" not in peers else missing | {"fastify": NEEDED["fastify"][1]}
