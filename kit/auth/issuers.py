"""Issuers: verifies the tokens of another service, such as Keycloak, by the public keys that it publishes (RFC 7517).

The keys are fetched with the first token, and then by a task beside the requests, which use the present keys meanwhile
and while the issuer is down. A token with an unknown key id waits for a fetch, of which there is at most one in
`RETRY_SECONDS`, so that forged tokens cause few.
"""

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from http.client import HTTPException
from importlib.util import find_spec
from math import inf
from time import monotonic
from typing import Any
from urllib.request import Request, urlopen

import jwt

from kit.auth.tokens import LEEWAY, VerifiedTokens
from kit.http.problems import unavailable
from kit.http.urls import is_http_url

log = logging.getLogger("kit")
FRESH_SECONDS = 300.0
"""The time after which the keys are fetched again. A key that the issuer withdraws is accepted for this time."""
RETRY_SECONDS = 10.0
"""The shortest time between two fetches, also after one that has failed."""
FETCH_SECONDS = 5.0
MAX_DOCUMENT = 2**20
"""The largest document with keys, in bytes."""
HEADERS = {"Accept": "application/json", "User-Agent": "kit"}
ALGORITHMS = ("RS256", "ES256")
"""The algorithms that are accepted by default."""
OF_PUBLIC_KEYS = frozenset({f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)} | {"EdDSA"})


def download(url: str) -> list[jwt.PyJWK]:
    """Return the keys of a JWK Set. Raises an OSError, an HTTPException, a ValueError or a PyJWTError."""
    with urlopen(Request(url, headers=HEADERS), timeout=FETCH_SECONDS) as response:  # noqa: S310  it is HTTP
        document = json.loads(response.read(MAX_DOCUMENT))
    keys: Any = document.get("keys") if isinstance(document, dict) else None
    return jwt.PyJWKSet(keys).keys


class PublishedKeys:
    """The public keys of an issuer by their ids (`kid`), which the issuer publishes at a URL."""

    def __init__(self, url: str, algorithms: Sequence[str]) -> None:
        self.url, self.algorithms = url, algorithms
        self.keys: Mapping[str | None, jwt.PyJWK] = {}
        self.verified = VerifiedTokens[Mapping[str, Any]]()
        """The tokens that the present keys have verified."""
        self._has_failed = False
        self._due = self._earliest = -inf
        self._fetching: asyncio.Task[None] | None = None

    def renew(self, *, needs_more: bool = False) -> None:
        """Begin to fetch the keys, if they are not fresh, or if a token needs a key that is not among them."""
        now = monotonic()
        if self._fetching is None and now >= (self._earliest if needs_more else self._due):
            self._earliest = now + RETRY_SECONDS
            self._fetching = asyncio.create_task(self._fetch())

    async def find(self, ident: str | None) -> jwt.PyJWK | None:
        """Return a key; None if the issuer does not have it. Raises a 503 if the keys could not be fetched."""
        if ident not in self.keys:
            self.renew(needs_more=True)
            if self._fetching is not None:
                await asyncio.shield(self._fetching)  # the other requests wait for it too
            if ident not in self.keys and self._has_failed:
                raise unavailable("not_applied", "The keys of the issuer of tokens are unavailable; try again.")
        return self.keys.get(ident)

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                keys = await asyncio.to_thread(download, self.url)
        except (OSError, HTTPException, ValueError, jwt.PyJWTError) as failure:  # a TimeoutError is an OSError
            log.warning("The keys of %s cannot be fetched: %s", self.url, failure or type(failure).__name__)
            self._has_failed, self._due = True, monotonic() + RETRY_SECONDS
        else:
            self.keys = {key.key_id: key for key in self._usable(keys)}
            self.verified.clear()  # some may be signed by a key that was withdrawn
            self._has_failed, self._due = False, monotonic() + FRESH_SECONDS
        finally:
            self._fetching = None

    def _usable(self, keys: Iterable[jwt.PyJWK]) -> list[jwt.PyJWK]:
        """Return the keys that sign with one of the accepted algorithms."""
        signing = [key for key in keys if key.public_key_use in (None, "sig")]
        return [key for key in signing if key.algorithm_name in self.algorithms]


class IssuerTokens:
    """Verifies the tokens of an issuer, such as Keycloak, Auth0, Entra ID or Cognito. Their claims are those in JSON.

    `issuer` is the value of `iss`, `keys` the URL of its JWK Set. `audience` are the accepted values of `aud`; with
    None, `aud` is not checked, so that `find` of the `Authenticator` has to check another claim, such as `client_id`.
    A token has `exp` and `sub`. The algorithm is that of the key, and never that of the token.
    """

    def __init__(
        self, issuer: str, audience: str | Sequence[str] | None, *, keys: str, algorithms: Sequence[str] = ALGORITHMS
    ) -> None:
        if not is_http_url(keys):
            raise ValueError(f"keys={keys!r} is not the URL of the keys of an issuer, as in https://example.com/jwks.")
        if unsafe := sorted(set(algorithms) - OF_PUBLIC_KEYS):
            raise ValueError(f"algorithms={unsafe} are not those of public keys: write `RS256` or `ES256`.")
        if find_spec("cryptography") is None:
            raise RuntimeError("IssuerTokens need cryptography: write `pyjwt[crypto]` in pyproject.toml, `make lock`.")
        self.issuer, self.audience = issuer, audience
        self.published = PublishedKeys(keys, algorithms)

    async def verify(self, token: str) -> Mapping[str, Any] | None:
        """Return the claims of a token; None if it is not valid. Raises a 503 if the keys are unavailable."""
        self.published.renew()
        known = self.published.verified.current(token)
        return await self._verified(token) if known is None else known

    async def _verified(self, token: str) -> Mapping[str, Any] | None:
        """Return the payload of a token that is not cached, and cache it; None if it is not valid."""
        self.published.verified.pop(token, None)
        try:
            key = await self.published.find(jwt.get_unverified_header(token).get("kid"))
            content = None if key is None else self._payload(token, key)
        except jwt.PyJWTError:
            return None
        if content is not None:
            self.published.verified.store(token, content, content)
        return content

    def _payload(self, token: str, key: jwt.PyJWK) -> Mapping[str, Any]:
        """Return the payload of a token. Raises a PyJWTError if it is not valid."""
        options: Any = {"require": ["exp", "iss", "sub"], "verify_aud": self.audience is not None}
        expected: Any = {"audience": self.audience, "issuer": self.issuer, "leeway": LEEWAY}
        content: Mapping[str, Any] = jwt.decode(token, key, [str(key.algorithm_name)], options, **expected)
        return content
