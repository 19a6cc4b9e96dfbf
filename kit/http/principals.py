"""Principals: the user on whose behalf a request is served, and the roles of that user."""

from contextvars import ContextVar
from dataclasses import dataclass, field

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


ANONYMOUS = Principal()
"""The principal of a request without a token."""
UNRESTRICTED = Principal(roles=frozenset({SUPERUSER}))
"""The principal with all permissions: of requests while authentication is off, and of command-line programs."""
CURRENT_PRINCIPAL: ContextVar[Principal] = ContextVar("current_principal", default=UNRESTRICTED)
"""The principal of the request that this task serves. Handlers use the dependency `Caller` instead."""
