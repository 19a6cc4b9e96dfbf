"""Authentication: the principal for whom the bearer token of a request stands (RFC 6750), and whether it may go on."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from starlette.requests import HTTPConnection

from kit.auth.permissions import Who, forbidden, unauthenticated
from kit.auth.tokens import Claims, Tokens
from kit.http.principals import ANONYMOUS, CURRENT_PRINCIPAL, SUPERUSER, UNRESTRICTED, Principal

FindPrincipal = Callable[[HTTPConnection, Claims], Awaitable[Principal | None]]
MAX_KNOWN = 10_000
PRINCIPAL = "kit.principal"
"""In the scope of a request: the user who calls, once it is known; None for nobody."""


@dataclass(frozen=True)
class Authenticator:
    """Finds the principal of a request. `is_required` is whether operations are closed to requests without a token.

    `find` loads the principal for whom a token's claims stand; None if the token has been revoked.
    """

    is_required: bool
    tokens: Tokens
    find: FindPrincipal
    known_callers: dict[bytes, int] = field(default_factory=dict)
    """The users of the `Authorization` headers that were valid when they were checked last; for fairness only."""

    async def caller(self, connection: HTTPConnection, who: Who) -> Principal | None:
        """The user who calls; None for nobody. A 401 for a token that is not valid, which a public route ignores."""
        scope = connection.scope
        if PRINCIPAL not in scope:
            credentials: bytes | None = dict(reversed(scope["headers"])).get(b"authorization")
            scope[PRINCIPAL] = None if credentials is None else await self._bearer(connection, credentials, who)
        principal: Principal | None = scope[PRINCIPAL]
        return principal

    async def _bearer(self, connection: HTTPConnection, credentials: bytes, who: Who) -> Principal | None:
        """The principal of a bearer token. Credentials of another kind may be for a dependency of the route."""
        scheme, _, token = credentials.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        claims = self.tokens.read(token.strip())
        principal = await self.find(connection, claims) if claims else None
        self._note(credentials, principal)
        if principal is None and who is not Who.ANYONE:
            raise unauthenticated()
        return principal

    def _note(self, credentials: bytes, principal: Principal | None) -> None:
        """Remember the user of valid credentials, and of at most `MAX_KNOWN` of them those that came last."""
        known = self.known_callers
        if principal is None or principal.id is None:
            known.pop(credentials, None)
        elif credentials not in known:
            known[credentials] = principal.id
            if len(known) > MAX_KNOWN:
                del known[next(iter(known))]

    def admit(self, caller: Principal | None, who: Who) -> None:
        """Serve what follows on behalf of this caller; a 401 without a token, and a 403 with one, for who may not.

        While no token is required, everybody has the rights of a superuser. Whether a row belongs to the principal is
        checked by the session, when the row is read or written.
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
