"""Permissions: which callers may use an operation, and the problems that the others get."""

from dataclasses import dataclass
from enum import Enum, auto

from kit.http.problems import Problem


class Who(Enum):
    """Who may use an operation.

    `ANYONE` needs no token. `MEMBERS` are all users with a token. `OWNERS` are members, who may use the operation for
    rows that belong to them. `SUPERUSERS` have the role `superuser`, and may use every operation.
    """

    ANYONE = auto()
    MEMBERS = auto()
    OWNERS = auto()
    SUPERUSERS = auto()


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """Who may use each kind of operation of a resource; superusers where nothing is said."""

    read: Who = Who.SUPERUSERS
    create: Who = Who.SUPERUSERS
    bulk: Who = Who.SUPERUSERS
    change: Who = Who.SUPERUSERS

    def of(self, method: str, path: str) -> Who:
        """GET and HEAD read, POST creates (`…/bulk` many at once), and every other method changes."""
        if method in ("GET", "HEAD"):
            return self.read
        if method == "POST":
            return self.bulk if path.endswith("/bulk") else self.create
        return self.change


def unauthenticated(detail: str = "A valid token is needed: see POST /auth/token.") -> Problem:
    """A 401, with the challenge that RFC 6750 asks for."""
    return Problem(401, detail, kind="unauthenticated", headers={"WWW-Authenticate": "Bearer"})


def forbidden(detail: str = "You may not do this.") -> Problem:
    return Problem(403, detail, kind="forbidden")
