"""Tokens of several users, who log in before the measurement, so that a load does not come from one user only."""

from dataclasses import dataclass

import httpx

from benchmarks.loads import Load
from benchmarks.rows import PASSWORD, SUPERUSERS_FROM

MANY = 32


@dataclass(frozen=True)
class Tokens:
    """The tokens of members, and those of superusers, who may change heroes."""

    members: tuple[str, ...] = ()
    superusers: tuple[str, ...] = ()

    def of(self, load: Load, connections: int) -> tuple[str, ...]:
        """Return a token for each connection. From 33 connections on, some share the token of a user."""
        return (self.superusers if load.writes else self.members)[:connections]


def log_in(client: httpx.Client, number: int) -> str:
    form = {"username": f"user-{number}", "password": PASSWORD}
    token: str = client.post("/auth/token", data=form).raise_for_status().json()["access_token"]
    return token


def logged_in(url: str, many: int = MANY) -> Tokens:
    """Log in this number of members, and of superusers. Returns their tokens."""
    with httpx.Client(base_url=url, timeout=30) as client:
        members = tuple(log_in(client, number) for number in range(1, many + 1))
        superusers = tuple(log_in(client, SUPERUSERS_FROM + place) for place in range(many))
    return Tokens(members, superusers)
