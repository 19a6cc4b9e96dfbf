"""Tokens: JSON web tokens (RFC 7519) signed with HS256, for one audience and a limited time.

Checking a signature takes a third of the time of a read, so the claims of valid tokens are remembered until they
expire.
"""

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import jwt

from kit.models.entities import now
from kit.models.types import MAX_ID

ALGORITHM = "HS256"
ID = re.compile(r"[1-9][0-9]{0,18}")
LEEWAY = 5
"""Seconds by which the clocks of two hosts may differ."""
MAX_KNOWN = 5_000
"""The number of valid tokens whose claims are remembered, the latest ones: about 3 MiB."""
REQUIRED = ["iss", "aud", "exp", "iat", "jti", "sub", "gen"]


@dataclass(frozen=True)
class Claims:
    """The user of a token, and the `generation` of their password when the token was issued."""

    user_id: int
    generation: int


class Verified(NamedTuple):
    """The claims of a token whose signature is valid, and the times between which it is (Unix time, seconds)."""

    claims: Claims
    begin: float
    end: float


def claims_of(content: Mapping[str, Any]) -> Claims | None:
    """Return the claims in the payload of a token; None if it does not have the form of tokens that are issued here."""
    subject, generation = content["sub"], content["gen"]
    if not isinstance(generation, int) or not ID.fullmatch(subject) or int(subject) > MAX_ID:
        return None
    return Claims(int(subject), generation)


@dataclass(frozen=True)
class Tokens:
    """Issues and reads tokens. The first of the `secrets` signs, and all of them verify, so keys can be replaced."""

    secrets: Sequence[bytes]
    audience: str
    lifetime: timedelta
    """How long a token is valid."""
    issuer: str = ""
    """The issuer (`iss`) of tokens. If it is empty, the audience is the issuer too."""
    _known: dict[str, Verified] = field(default_factory=dict, init=False, repr=False, compare=False)

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
        known, moment = self._known.get(token), time.time()
        if known is not None and known.begin - LEEWAY <= moment < known.end + LEEWAY:
            return known.claims
        content = self._verified(token)
        claims = None if content is None else claims_of(content)
        if content is None or claims is None:
            self._known.pop(token, None)
            return None
        self._known[token] = Verified(claims, max(int(content["iat"]), int(content.get("nbf", 0))), int(content["exp"]))
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        return claims

    def _verified(self, token: str) -> Mapping[str, Any] | None:
        """Return the payload of a token, if it was signed by one of the secrets, and is valid now."""
        expected: Any = {"audience": self.audience, "issuer": self.issuer or self.audience, "leeway": LEEWAY}
        for secret in self.secrets:
            try:
                content: Mapping[str, Any] = jwt.decode(token, secret, [ALGORITHM], {"require": REQUIRED}, **expected)
            except jwt.PyJWTError:
                continue
            return content
        return None
