"""Who are you, and what may you do: the caller of a request, and a rule for every operation."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, auto

from fastapi import Request

from kit.auth.tokens import Claims, Tokens
from kit.http.problems import Problem
from kit.http.request_headers import header


@dataclass(frozen=True)
class Caller:
    """Who asks; without an id it is nobody in particular."""

    id: int | None = None
    is_superuser: bool = False


ANYBODY = Caller(is_superuser=True)
"""Who asks where nobody is asked who they are."""
CALLER: ContextVar[Caller] = ContextVar("caller", default=ANYBODY)


class Who(Enum):
    """Who may do something: anyone, also without a token; members; members with what is theirs; superusers."""

    ANYONE = auto()
    MEMBERS = auto()
    OWNERS = auto()
    SUPERUSERS = auto()


@dataclass(frozen=True, kw_only=True)
class May:
    """Who may do what with a resource; what is not said is for superusers only."""

    read: Who = Who.SUPERUSERS
    create: Who = Who.SUPERUSERS
    bulk: Who = Who.SUPERUSERS
    change: Who = Who.SUPERUSERS

    def of(self, method: str, path: str) -> Who:
        """The rule for an operation: GET reads, POST creates, or many in bulk, and everything else changes."""
        if method == "GET":
            return self.read
        if method == "POST":
            return self.bulk if path.endswith("/bulk") else self.create
        return self.change


Find = Callable[[Request, Claims], Awaitable[Caller | None]]


@dataclass(frozen=True)
class Guard:
    """`find` looks up whom a token's claims stand for; without `is_on`, everybody may do everything."""

    is_on: bool
    registration: bool
    tokens: Tokens
    find: Find

    async def admit(self, request: Request, who: Who) -> None:
        """Set the CALLER of this request, or refuse it: 401 without a valid token, 403 if it is not for them."""
        caller = await self.caller_of(request)
        if not self.is_on:
            CALLER.set(ANYBODY if caller is None else Caller(caller.id, is_superuser=True))
            return
        CALLER.set(caller or Caller())
        if who is Who.ANYONE and self.registration:
            return
        if caller is None:
            raise unknown_caller()
        if who in (Who.ANYONE, Who.SUPERUSERS) and not caller.is_superuser:
            raise forbidden()

    async def caller_of(self, request: Request) -> Caller | None:
        """Whose token the request carries; None if it carries none."""
        given = header(request.scope, b"authorization")
        if given is None:
            return None
        scheme, _, token = given.partition(" ")
        claims = self.tokens.read(token.strip()) if scheme.lower() == "bearer" else None
        caller = await self.find(request, claims) if claims else None
        if caller is None:
            raise unknown_caller()
        return caller


def unknown_caller(detail: str = "A valid token is needed: see POST /auth/token.") -> Problem:
    return Problem(401, detail, kind="unauthenticated", headers={"WWW-Authenticate": "Bearer"})


def forbidden(detail: str = "You may not do this.") -> Problem:
    return Problem(403, detail, kind="forbidden")
