"""Authentication: the principal of a request's bearer token (RFC 6750), and the check of its permission."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from starlette.requests import HTTPConnection

from kit.auth.permissions import Who, forbidden, unauthenticated
from kit.auth.tokens import Claims, Tokens
from kit.http.principals import ANONYMOUS, CURRENT_PRINCIPAL, SUPERUSER, UNRESTRICTED, Principal

FindPrincipal = Callable[[HTTPConnection, Claims], Awaitable[Principal | None]]
MAX_KNOWN = 10_000
PRINCIPAL = "kit.principal"
"""The key in the ASGI scope of the principal of the request; None without a token."""


@dataclass(frozen=True)
class Authenticator:
    """Determines the principal of a request. `is_required`: whether requests need a token.

    `find` loads the principal of a token's claims. It returns None if the token was revoked.
    """

    is_required: bool
    tokens: Tokens
    find: FindPrincipal
    known_callers: dict[bytes, int] = field(default_factory=dict)
    """The users of the `Authorization` headers that were valid when they were checked last; for fairness only."""

    async def caller(self, connection: HTTPConnection, who: Who) -> Principal | None:
        """Return the principal of the request; None without a token.

        Raises a 401 for an invalid token where one is required. Elsewhere it may be a token of another service, which
        a dependency reads.
        """
        scope = connection.scope
        if PRINCIPAL not in scope:
            credentials: bytes | None = dict(reversed(scope["headers"])).get(b"authorization")
            scope[PRINCIPAL] = None if credentials is None else await self._bearer(connection, credentials, who)
        principal: Principal | None = scope[PRINCIPAL]
        return principal

    async def _bearer(self, connection: HTTPConnection, credentials: bytes, who: Who) -> Principal | None:
        """Return the principal of a bearer token; None for other credentials, which a dependency may read."""
        scheme, _, token = credentials.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        claims = self.tokens.read(token.strip())
        principal = await self.find(connection, claims) if claims else None
        self._note(credentials, principal)
        if principal is None and self.is_required and who is not Who.ANYONE:
            raise unauthenticated()
        return principal

    def _note(self, credentials: bytes, principal: Principal | None) -> None:
        """Remember the user of valid credentials, for the latest `MAX_KNOWN` credentials."""
        known = self.known_callers
        if principal is None or principal.id is None:
            known.pop(credentials, None)
        elif credentials not in known:
            known[credentials] = principal.id
            if len(known) > MAX_KNOWN:
                del known[next(iter(known))]

    def authorize(self, caller: Principal | None, who: Who) -> None:
        """Set the principal of this task. Raises a 401 without a token, or a 403, if the caller lacks the permission.

        While no token is required, every caller has all permissions. The session checks whether a row belongs to the
        principal when the row is read or written.
        """
        if self.is_required:
            principal = caller or ANONYMOUS
        else:
            principal = replace(caller, roles=caller.roles | {SUPERUSER}) if caller else UNRESTRICTED
        CURRENT_PRINCIPAL.set(principal)
        if who is Who.ANYONE or principal.is_superuser:
            return
        if principal.id is None:
            raise unauthenticated()
        if who is Who.SUPERUSERS:
            raise forbidden()
