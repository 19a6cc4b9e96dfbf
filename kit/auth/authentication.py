"""Authentication: the principal for whom the bearer token of a request stands (RFC 6750)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from starlette.requests import HTTPConnection

from kit.auth.permissions import unauthenticated
from kit.auth.tokens import Claims, Tokens
from kit.http.principals import ANONYMOUS, SUPERUSER, UNRESTRICTED, Principal
from kit.http.request_headers import header

FindPrincipal = Callable[[HTTPConnection, Claims], Awaitable[Principal | None]]


@dataclass(frozen=True)
class Authenticator:
    """Finds the principal of a request. `is_required` is whether operations are closed to requests without a token.

    `find` loads the principal for whom a token's claims stand; None if the token has been revoked.
    """

    is_required: bool
    tokens: Tokens
    find: FindPrincipal

    async def authenticate(self, connection: HTTPConnection) -> Principal | None:
        """The principal whose token the request carries, None without a token; a 401 for a token that is not valid."""
        scheme, _, token = (header(connection.scope, b"authorization") or "").partition(" ")
        if scheme.lower() != "bearer":  # credentials of another kind may be for a dependency of the route
            return None
        claims = self.tokens.read(token.strip())
        principal = await self.find(connection, claims) if claims else None
        if principal is None:
            raise unauthenticated()
        return principal

    def effective(self, principal: Principal | None) -> Principal:
        """The rights of a principal. While no token is required, everybody has those of a superuser."""
        if self.is_required:
            return principal or ANONYMOUS
        return replace(principal, roles=principal.roles | {SUPERUSER}) if principal else UNRESTRICTED
