"""Authentication: the principal of a request's bearer token (RFC 6750), and the check of its permission."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from starlette.requests import HTTPConnection

from kit.auth.embedding import FOR_OWNERS, NO_ENTITIES
from kit.auth.permissions import Who, forbidden, unauthenticated
from kit.auth.tokens import Tokens, Verifier
from kit.http.principals import ANONYMOUS, CURRENT_PRINCIPAL, SUPERUSER, UNDETERMINED, UNRESTRICTED, Principal
from kit.models.entities import Entity

C = TypeVar("C")
FindPrincipal = Callable[[HTTPConnection, C], Awaitable[Principal | None]]
MAX_KNOWN = 10_000
PRINCIPAL = "kit.principal"
"""The key in the ASGI scope of the principal of the request; None without a token."""


@dataclass(frozen=True)
class Authenticator(Generic[C]):
    """Determines the principal of a request. `is_required`: whether operations need a token (`REQUIRE_AUTH`).

    `find` loads the principal that the claims of a verified token name. It returns None if the token was revoked.
    """

    is_required: bool
    verifier: Verifier[C]
    find: FindPrincipal[C]
    known_callers: dict[bytes, int] = field(default_factory=dict)
    """The user id by `Authorization` header, for headers that were valid at their last check.

    Admission reads it to share the service fairly between users, before a request is authenticated. It grants nothing.
    """
    for_owners: set[type[Entity]] = field(default_factory=set)
    """The entities whose rows only their owners and superusers may read."""

    @property
    def tokens(self) -> Tokens:
        """The tokens that this service issues. Raises a TypeError if they are those of another issuer."""
        if not isinstance(self.verifier, Tokens):
            raise TypeError("The tokens are those of another issuer: remove the login from the resources.")
        return self.verifier

    async def admit(self, connection: HTTPConnection, who: Who) -> None:
        """Determine the principal of the request. Raises a 401 or 403 if it lacks the permission `who`."""
        scope = connection.scope
        if PRINCIPAL in scope:
            principal: Principal | None = scope[PRINCIPAL]
        else:
            principal = scope[PRINCIPAL] = await self._bearer(connection, who)
        self.authorize(principal, who)

    async def caller(self, connection: HTTPConnection, who: Who) -> Principal | None:
        """Return the principal of the request; None without a token.

        Raises a 401 for an invalid token if the operation needs one. Otherwise an invalid token counts as none: it may
        be for another service, and a dependency may read it.
        """
        scope = connection.scope
        if PRINCIPAL not in scope:
            scope[PRINCIPAL] = await self._bearer(connection, who)
        principal: Principal | None = scope[PRINCIPAL]
        return principal

    async def _bearer(self, connection: HTTPConnection, who: Who) -> Principal | None:
        """Return the principal of a bearer token; None without one. Other schemes, such as Basic, are ignored."""
        credentials: bytes | None = dict(reversed(connection.scope["headers"])).get(b"authorization")
        if credentials is None:
            return None
        scheme, _, token = credentials.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        claims = await self.verifier.verify(token.strip())
        principal = None if claims is None else await self.find(connection, claims)
        if principal is None or credentials not in self.known_callers:
            self._note(credentials, principal)
        if principal is None and self.is_required and who is not Who.ANYONE:
            raise unauthenticated()
        return principal

    def _note(self, credentials: bytes, principal: Principal | None) -> None:
        """Store the user id of valid credentials, and forget invalid ones. The oldest of `MAX_KNOWN` are dropped."""
        known = self.known_callers
        if principal is None or principal.id is None:
            known.pop(credentials, None)
        else:
            known[credentials] = principal.id
            if len(known) > MAX_KNOWN:
                del known[next(iter(known))]

    def authorize(self, caller: Principal | None, who: Who) -> None:
        """Set `CURRENT_PRINCIPAL`. Raises a 401 without a token, or a 403, if the caller lacks the permission `who`.

        While no token is required, every caller has all permissions. The session checks whether a row belongs to the
        principal when the row is read or written.
        """
        if caller is UNDETERMINED:  # every caller may use the route
            CURRENT_PRINCIPAL.set(UNDETERMINED if self.is_required else UNRESTRICTED)
            FOR_OWNERS.set(self.for_owners if self.is_required else NO_ENTITIES)
            return
        if self.is_required:
            principal = caller or ANONYMOUS
        else:
            principal = replace(caller, roles=caller.roles | {SUPERUSER}) if caller else UNRESTRICTED
        CURRENT_PRINCIPAL.set(principal)
        FOR_OWNERS.set(NO_ENTITIES if principal.is_superuser else self.for_owners)
        if who is Who.ANYONE or principal.is_superuser:
            return
        if principal.id is None:
            raise unauthenticated()
        if who is Who.SUPERUSERS:
            raise forbidden()
