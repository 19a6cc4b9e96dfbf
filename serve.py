"""The server of `make run`: reloads in development, starts several workers, and says which settings were changed."""

import errno
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from kit.server.folders import folder_refusal
from kit.server.log_lines import configure_logging
from settings import HERE, Settings, load, read

HEALTH_SECONDS = 30
"""The timeout of uvicorn's health check of a worker, in seconds; a worker that does not answer is replaced."""
MAX_PORT = 65_535


class Server(BaseSettings):
    """The settings of the server. Each has the name of its environment variable, in lower case."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=MAX_PORT)
    workers: int = Field(default=1, ge=1, le=1000, validation_alias=AliasChoices("workers", "web_concurrency"))
    reload: bool | None = None
    uvicorn_root_path: str = ""

    def reloads(self, settings: Settings) -> bool:
        """Return whether the server restarts when a file changes: by default in development with one worker."""
        default = settings.in_development and self.workers == 1 and find_spec("watchfiles") is not None
        return default if self.reload is None else self.reload


def refusal(server: Server, settings: Settings) -> str | None:
    """Return an error message if the server cannot start; None if it can."""
    if server.reload and server.workers > 1:
        return "A server that reloads has one worker: leave out RELOAD=true, or WORKERS."
    if server.reload and not settings.in_development:
        return "A server reloads in development only: leave out RELOAD=true, or ENVIRONMENT=production."
    if settings.metrics_port == server.port:
        return f"METRICS_PORT={server.port} is the port of the service: write another one."
    return address_refusal(server.host, server.port) or metrics_refusal(settings)


def metrics_refusal(settings: Settings) -> str | None:
    """Return an error message if the separate port of the metrics, or the folder of the workers, cannot be used."""
    if settings.metrics_port is not None:
        refused = address_refusal(settings.metrics_host, settings.metrics_port, "METRICS_")
        if refused is not None:
            return refused
    reason = folder_refusal(Path(settings.metrics_dir)) if settings.metrics_dir else None
    return reason and f"{reason}: write another METRICS_DIR=, or leave it out."


def address_refusal(host: str, port: int, prefix: str = "") -> str | None:
    """Return an error message if no socket can be bound to this address; None if it is free.

    `prefix` is the beginning of the names of both settings, as in `METRICS_HOST`.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except UnicodeError:
        reason: str | None = "it is not a host name"
    except OSError as failure:
        if failure.errno == errno.EADDRINUSE:
            other = port + 1 if port < MAX_PORT else port - 1
            return f"Port {port} of {host} is taken: stop what uses it, or write {prefix}PORT={other}."
        reason = failure.strerror
    else:
        return None
    return f"Nothing can listen at {host}, port {port}: {reason}. Write another {prefix}HOST= or {prefix}PORT=."


def remarks(server: Server, settings: Settings) -> list[str]:
    """Return the lines to print at start: the settings that differ from their defaults, and the URL of the docs."""
    changed = [f"{name}={value}" for name, value in settings.changed.items()]
    lines = [f"Settings that differ from their defaults: {', '.join(changed)}."] if changed else []
    if server.workers > 1 and settings.limits_url.get_secret_value().startswith("memory:"):
        lines.append("Each worker counts failed logins and rates by itself: LIMITS_URL=redis://… counts them together.")
    host = f"[{server.host}]" if ":" in server.host else server.host
    return [*lines, f"The docs will be at http://{host}:{server.port}/docs"]


def unwatched(project: Path) -> list[str]:
    """Return the folders whose changes cause no restart; only folders: uvicorn fails on the absolute path of a file."""
    folders = (path for path in project.iterdir() if path.is_dir())
    return [str(path) for path in folders if path.name.startswith(".") or path.name == "tests"]


TRIAL = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import main

async def start():
    async with main.app.router.lifespan_context(main.app):
        pass

asyncio.run(start())
"""
"""A program that starts the application and ends it."""


def application_starts() -> bool:
    """Return whether the application starts in another process, which runs its lifespan. Its error is in the output.

    If workers fail at their start, uvicorn ends with the status 0; if earlier, it starts others again and again.
    """
    return subprocess.run([sys.executable, "-c", TRIAL, str(HERE)], check=False).returncode == 0  # noqa: S603  own code


def main() -> str | None:
    """Serve until the process is stopped. Returns an error message if the server cannot start."""
    settings, server = load(), read(Server)
    refused = refusal(server, settings)
    if refused is not None:
        return refused
    sys.stdout.write("".join(f"{line}\n" for line in remarks(server, settings)))
    sys.stdout.flush()
    os.environ["WEB_CONCURRENCY"] = str(server.workers)  # tells each worker how many there are
    if server.workers > 1 and not application_starts():
        return "The application cannot start, for the reason above."
    configure_logging(as_json=not settings.in_development, level=settings.log_level, levels=settings.levels)
    options: dict[str, Any] = {"workers": server.workers, "timeout_worker_healthcheck": HEALTH_SECONDS}
    if server.reloads(settings):
        os.environ.setdefault("SHUTDOWN_DELAY", "0")  # a reload needs no time for load balancers
        options = {"reload": True, "reload_excludes": unwatched(HERE)}
    options["root_path"] = server.uvicorn_root_path  # uvicorn's command line reads both, but not from `.env`
    options["forwarded_allow_ips"] = settings.forwarded_allow_ips
    uvicorn.run("main:app", host=server.host, port=server.port, log_config=None, log_level="info", **options)
    return None


if __name__ == "__main__":
    sys.exit(main())
