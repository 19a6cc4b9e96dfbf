"""Versions of the project: this one and the commit before, each served with a separate database."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from benchmarks.contestants import CONTESTANTS, OURS, PRODUCTION
from benchmarks.loads import POST, heroes
from benchmarks.machine import PROJECT, printed
from benchmarks.server import NotAliveError, Server, started
from benchmarks.tokens import Tokens

BEFORE, NOW = "before", "now"
ROWS = 1000
"""The number of heroes."""
ROOT = {"username": "root", "password": "correct horse battery"}
SEVERAL = 8
"""The number of tokens."""


class VersionError(Exception):
    """A version cannot be prepared or started."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


def git(*words: str) -> str:
    """Run git with these arguments. Returns its output; an empty string if it fails."""
    return printed(shutil.which("git") or "git", "-C", str(PROJECT), *words)


def commit_before() -> str:
    """Return the hash of the commit to compare with; an empty string if there is none.

    It is the merge base with the main branch of `origin`, or the parent of HEAD if HEAD is on that branch.
    """
    here, left = git("rev-parse", "HEAD"), git("merge-base", "HEAD", "origin/HEAD")
    return left if left and left != here else git("rev-parse", "--quiet", "--verify", "HEAD~1^{commit}")


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """Yield a folder with this commit checked out, which is removed when the block ends."""
    git("worktree", "add", "--detach", str(folder), commit)
    try:
        yield folder
    finally:
        git("worktree", "remove", "--force", str(folder))


def prepare(name: str, folder: Path, url: str) -> None:
    """Migrate a database and create a superuser, with the commands of this version, whose tables may differ."""
    root = {f"SUPERUSER_{field.upper()}": value for field, value in ROOT.items()}
    root["SUPERUSER_EMAIL"] = "root@example.com"
    environment = {**os.environ, **root, "DATABASE_URL": url, "SECRET_KEY": PRODUCTION["SECRET_KEY"]}
    for words in ("-m alembic upgrade head", "superuser.py"):
        command = [sys.executable, *words.split()]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  the words are ours
        if done.returncode:
            raise VersionError(name, f"`{words}` failed: {done.stderr[-2000:]}")


@contextmanager
def running(folders: Mapping[str, Path], urls: Mapping[str, str], logs: Path) -> Iterator[dict[str, Server]]:
    """Prepare the databases, and serve the versions as in production, for the duration of the block."""
    with ThreadPoolExecutor() as threads:
        list(threads.map(prepare, folders, folders.values(), [urls[name] for name in folders]))
    kind = CONTESTANTS[OURS]
    servers = {name: Server(name, urls[name], logs / f"{name}.log", folder, kind) for name, folder in folders.items()}
    with ExitStack() as stack:
        try:
            stack.enter_context(started(servers.values()))
        except NotAliveError as failure:
            raise VersionError(failure.name, str(failure)) from None
        yield servers


def logged_in(server: Server) -> Tokens:
    """Create teams and heroes, the same for each version. Returns several tokens of the superuser."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        answers = [client.post("/auth/token", data=ROOT).raise_for_status().json() for _ in range(SEVERAL)]
        tokens = tuple(answer["access_token"] for answer in answers)
        headers = {"Authorization": f"Bearer {tokens[0]}", "Content-Type": "application/json"}
        teams = [{"name": f"Team {place}", "headquarters": "Long Street"} for place in range(POST["team_id"])]
        client.post("/teams/bulk", json=teams, headers=headers).raise_for_status()
        client.post("/heroes/bulk", content=heroes(ROWS), headers=headers).raise_for_status()
    return Tokens(tokens, tokens)
