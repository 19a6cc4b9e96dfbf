"""Access tokens: JSON Web Tokens (RFC 7519), signed with HS256, for one audience and a limited time.

Verifying a signature would take a third of the time of a simple GET, so the claims of valid tokens are cached until
they expire.
"""

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jwt

from kit.models.entities import now
from kit.models.types import MAX_ID

ALGORITHM = "HS256"
ID = re.compile(r"[1-9][0-9]{0,18}")
LEEWAY = 5
"""Seconds by which the clocks of two hosts may differ."""
MAX_KNOWN = 5_000
"""The maximum number of cached tokens, about 3 MiB. Beyond it, the oldest is dropped."""
REQUIRED = ["iss", "aud", "exp", "iat", "jti", "sub", "gen"]
C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)


class Verifier(Protocol[C_co]):
    """Verifies bearer tokens: those that this service issues (`Tokens`), or those of an issuer (`IssuerTokens`)."""

    async def verify(self, token: str) -> C_co | None:
        """Return the claims of a token; None if it is not valid. Raises a Problem if this is not known at present."""


@dataclass(frozen=True)
class Claims:
    """The claims of a token that the kit reads: the id of the user (`sub`), and the generation of their tokens (`gen`).

    A token is revoked when the user gets a higher generation, as with a new password.
    """

    user_id: int
    generation: int


class Verified(NamedTuple, Generic[C]):
    """The claims of a token with a valid signature, and when its validity begins and ends (Unix time, seconds)."""

    claims: C
    begin: float
    end: float


class VerifiedTokens(dict[str, Verified[C]]):
    """A cache of tokens with a valid signature. Beyond `MAX_KNOWN`, the oldest is dropped."""

    def current(self, token: str) -> C | None:
        """Return the claims of a cached token that is valid now; None if there is none."""
        known, moment = self.get(token), time.time()
        if known is not None and known.begin - LEEWAY <= moment < known.end + LEEWAY:
            return known.claims
        return None

    def store(self, token: str, claims: C, content: Mapping[str, Any]) -> None:
        """Store the claims of a token. `content` is its payload, with `exp`, and perhaps `iat` and `nbf`."""
        begin = max(int(content.get("iat", 0)), int(content.get("nbf", 0)))
        self[token] = Verified(claims, begin, int(content["exp"]))
        if len(self) > MAX_KNOWN:
            del self[next(iter(self))]


def claims_of(content: Mapping[str, Any]) -> Claims | None:
    """Return the claims of a verified payload; None if `sub` is not an id from 1 to `MAX_ID`, or `gen` no integer."""
    subject, generation = content["sub"], content["gen"]
    if not isinstance(generation, int) or not ID.fullmatch(subject) or int(subject) > MAX_ID:
        return None
    return Claims(int(subject), generation)


@dataclass(frozen=True)
class Tokens:
    """Issues and verifies tokens. The first of the `secrets` signs; all of them verify, so that keys can be rotated."""

    secrets: Sequence[bytes]
    audience: str
    lifetime: timedelta
    """The time from `iat` to `exp`."""
    issuer: str = ""
    """The issuer (`iss`) of tokens. By default, it is the audience."""
    _known: VerifiedTokens[Claims] = field(default_factory=VerifiedTokens, init=False, repr=False, compare=False)

    def issue(self, claims: Claims) -> str:
        issued = now()
        content = {
            "iss": self.issuer or self.audience,
            "aud": self.audience,
            "iat": issued,
            "exp": issued + self.lifetime,
        }
        content |= {"jti": uuid.uuid4().hex, "sub": str(claims.user_id), "gen": claims.generation}
        return jwt.encode(content, self.secrets[0], ALGORITHM)

    def read(self, token: str) -> Claims | None:
        """Return the claims of a token; None if it is forged, expired, not valid yet, or for another audience."""
        known = self._known.current(token)
        if known is not None:
            return known
        content = self._verified(token)
        claims = None if content is None else claims_of(content)
        if content is None or claims is None:
            self._known.pop(token, None)
            return None
        self._known.store(token, claims, content)
        return claims

    async def verify(self, token: str) -> Claims | None:
        """Return the claims of a token, as `read` does."""
        return self.read(token)

    def _verified(self, token: str) -> Mapping[str, Any] | None:
        """Return the payload of a token; None if no secret verifies its signature, or if it is not valid now."""
        expected: Any = {"audience": self.audience, "issuer": self.issuer or self.audience, "leeway": LEEWAY}
        for secret in self.secrets:
            try:
                content: Mapping[str, Any] = jwt.decode(token, secret, [ALGORITHM], {"require": REQUIRED}, **expected)
            except jwt.PyJWTError:
                continue
            return content
        return None
