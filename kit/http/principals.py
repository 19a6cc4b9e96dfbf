"""Principals: the user on whose behalf a request is served, and the roles of that user."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

SUPERUSER = "superuser"
"""The role that has all permissions."""


@dataclass(frozen=True)
class Principal:
    """A user and their roles. The id is None for a request without a token, and for a command-line program."""

    id: int | None = None
    roles: frozenset[str] = frozenset()
    is_superuser: bool = field(init=False, repr=False, compare=False)
    """Whether the roles include `superuser`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_superuser", SUPERUSER in self.roles)


class UndeterminedPrincipal(Principal):
    """The principal of a request with a token whose user was not looked up. Its fields raise a RuntimeError."""

    def __init__(self) -> None:
        pass

    def __getattribute__(self, name: str) -> Any:
        if name in ("id", "roles", "is_superuser"):
            raise RuntimeError(
                "The user of this request was not looked up, because its handler takes no `Caller`: add the parameter "
                "`caller: Caller`, or remove `@needs_no_caller`."
            )
        return super().__getattribute__(name)


UNDETERMINED = UndeterminedPrincipal()
ANONYMOUS = Principal()
"""The principal of a request without a token."""
UNRESTRICTED = Principal(roles=frozenset({SUPERUSER}))
"""The principal with all permissions: of requests while authentication is off, and of command-line programs."""
OUTSIDE = Principal(roles=frozenset({SUPERUSER}))
"""The principal of code that serves no request, such as a job, a worker, or a thread that was started without the
context of its request. It is equal to `UNRESTRICTED`, but serializes no private fields: see `kit.models.privacy`."""
CURRENT_PRINCIPAL: ContextVar[Principal] = ContextVar("current_principal", default=OUTSIDE)
"""The principal of the request that this task serves. Handlers use the dependency `Caller` instead."""
