"""The principal of a request: the user on whose behalf it is served, and the roles that the user has."""

from contextvars import ContextVar
from dataclasses import dataclass, field

SUPERUSER = "superuser"
"""The role that may do everything."""


@dataclass(frozen=True)
class Principal:
    """A user and their roles. Without an id it is nobody: a request without a token, or a program at a terminal."""

    id: int | None = None
    roles: frozenset[str] = frozenset()
    is_superuser: bool = field(init=False, repr=False, compare=False)
    """Whether the roles include `superuser`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_superuser", SUPERUSER in self.roles)


ANONYMOUS = Principal()
"""A request without a token."""
UNRESTRICTED = Principal(roles=frozenset({SUPERUSER}))
"""Nobody in particular, with all rights: every request while authentication is off, and programs at a terminal."""
CURRENT_PRINCIPAL: ContextVar[Principal] = ContextVar("current_principal", default=UNRESTRICTED)
"""The principal of the request that this task serves. A handler takes the dependency `Caller` instead."""
