"""Permissions: the groups of callers who may use an operation, and the problems for refused callers."""

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
    """The permissions of a resource by kind of operation. The default is superusers."""

    read: Who = Who.SUPERUSERS
    create: Who = Who.SUPERUSERS
    bulk: Who = Who.SUPERUSERS
    change: Who = Who.SUPERUSERS

    def of(self, method: str, path: str) -> Who:
        """Return who may use an operation: `read` for GET and HEAD, `change` for PUT, PATCH and DELETE.

        For POST it is `bulk` if the path ends in `/bulk`, otherwise `create`.
        """
        if method in ("GET", "HEAD"):
            return self.read
        if method == "POST":
            return self.bulk if path.endswith("/bulk") else self.create
        return self.change


def unauthenticated(detail: str = "A valid token is needed.") -> Problem:
    """Return a 401 with `WWW-Authenticate: Bearer` (RFC 6750)."""
    return Problem(401, detail, kind="unauthenticated", headers={"WWW-Authenticate": "Bearer"})


def forbidden(detail: str = "You may not do this.") -> Problem:
    return Problem(403, detail, kind="forbidden")
