"""Issuers: tokens of another service are verified by the keys that it publishes, whatever happens to it."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jwt
import pytest
from fastapi import APIRouter
from starlette.requests import HTTPConnection

from kit import Authenticator, Caller, IssuerTokens, Principal, Problem, Who, allowing
from kit.auth import issuers
from kit.auth.tokens import LEEWAY
from tests.kit.issuer import Issuer, issuing, jwk
from tests.kit.server.small import asking, small_service

pytestmark = pytest.mark.no_fast_path


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """Provide an issuer with the key `one`."""
    with issuing() as issuer:
        issuer.add("one")
        yield issuer


@pytest.fixture
def tokens(issuer: Issuer) -> IssuerTokens:
    return IssuerTokens(issuer.url, "shop", keys=f"{issuer.url}/jwks")


async def renewed(tokens: IssuerTokens) -> None:
    """Wait until the keys were fetched that are being fetched."""
    assert tokens.published._fetching is not None
    await tokens.published._fetching


@pytest.mark.parametrize("kind", ["EC", "RSA"])
async def test_a_token_of_the_issuer_is_verified_by_its_published_key(
    issuer: Issuer, tokens: IssuerTokens, kind: str
) -> None:
    issuer.add("two", kind)
    token = issuer.token("two", roles=["admin"], sub="7f3c0c6e-8f3f-4b60-9c8f-7d6f3a1b2c3d")
    claims = [await tokens.verify(token), await tokens.verify(token)]
    assert claims[0] is claims[1]
    assert claims[0] is not None
    assert (claims[0]["sub"], claims[0]["roles"]) == ("7f3c0c6e-8f3f-4b60-9c8f-7d6f3a1b2c3d", ["admin"])
    assert issuer.requests == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other"},
        {"aud": "other"},
        {"aud": None},
        {"exp": None},
        {"sub": None},
        {"sub": 5},
        {"iss": None},
    ],
)
async def test_a_token_with_other_claims_is_refused(
    issuer: Issuer, tokens: IssuerTokens, claims: dict[str, Any]
) -> None:
    assert await tokens.verify(issuer.token("one", **claims)) is None


@pytest.mark.parametrize(("seconds", "is_valid"), [(-LEEWAY + 2, True), (-LEEWAY - 1, False)])
async def test_the_clocks_of_both_hosts_may_differ_by_some_seconds(
    issuer: Issuer, tokens: IssuerTokens, seconds: int, is_valid: bool
) -> None:
    moment = int(time.time())
    assert (await tokens.verify(issuer.token("one", exp=moment + seconds)) is not None) is is_valid
    assert (
        await tokens.verify(issuer.token("one", iat=moment - seconds, nbf=moment - seconds)) is not None
    ) is is_valid


async def test_the_algorithm_is_never_that_of_the_token(issuer: Issuer, tokens: IssuerTokens) -> None:
    content = {"iss": issuer.url, "aud": "shop", "sub": "1", "exp": int(time.time()) + 60}
    unsigned = jwt.encode(content, "", "none", {"kid": "one"})
    by_secret = jwt.encode(content, b"k" * 32, "HS256", {"kid": "one"})
    issuer.add("rsa", "RSA")
    for token in (unsigned, by_secret, issuer.token("rsa", "RS512"), "no.token", ""):
        assert await tokens.verify(token) is None


async def test_an_algorithm_is_allowed_by_name(issuer: Issuer) -> None:
    issuer.add("rsa", "RSA")
    tokens = IssuerTokens(issuer.url, None, keys=issuer.url, algorithms=["RS256"])
    assert await tokens.verify(issuer.token("one")) is None
    assert await tokens.verify(issuer.token("rsa", aud=None)) is not None


async def test_forged_key_ids_cause_one_fetch(issuer: Issuer, tokens: IssuerTokens) -> None:
    issuer.add("forged")
    forged = issuer.token("forged")
    del issuer.keys["forged"]
    assert await asyncio.gather(*(tokens.verify(forged) for _ in range(20))) == [None] * 20
    assert [await tokens.verify(forged) for _ in range(20)] == [None] * 20
    assert issuer.requests == 1


async def test_a_new_key_is_fetched_and_a_withdrawn_one_is_refused(
    issuer: Issuer, tokens: IssuerTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = issuer.token("one")
    assert await tokens.verify(old) is not None
    issuer.add("two")
    new = issuer.token("two")
    assert await tokens.verify(new) is None  # the keys were fetched just now
    del issuer.keys["one"]
    monkeypatch.setattr(tokens.published, "_earliest", 0.0)
    assert await tokens.verify(new) is not None
    assert await tokens.verify(old) is None


async def test_while_the_issuer_is_down_known_keys_verify_tokens_and_others_are_a_503(
    issuer: Issuer, tokens: IssuerTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.status = 500
    with pytest.raises(Problem) as refused:
        await tokens.verify(issuer.token("one"))
    assert (refused.value.status_code, issuer.requests) == (503, 1)
    with pytest.raises(Problem):
        await tokens.verify(issuer.token("one"))
    assert issuer.requests == 1
    issuer.status = 200
    monkeypatch.setattr(tokens.published, "_earliest", 0.0)
    assert await tokens.verify(issuer.token("one")) is not None
    issuer.status = 500
    monkeypatch.setattr(tokens.published, "_due", 0.0)
    assert await tokens.verify(issuer.token("one")) is not None
    await renewed(tokens)
    assert issuer.requests == 3
    assert await tokens.verify(issuer.token("one", sub="b")) is not None


@pytest.mark.parametrize("document", [[1], {"keys": []}, {"keys": [{"kty": "EC"}]}, {"keys": "no"}])
async def test_a_document_without_keys_is_a_503(issuer: Issuer, tokens: IssuerTokens, document: Any) -> None:
    issuer.document = document
    with pytest.raises(Problem, match="unavailable"):
        await tokens.verify(issuer.token("one"))


async def test_a_published_secret_or_key_for_encryption_verifies_nothing(issuer: Issuer, tokens: IssuerTokens) -> None:
    secret = {"kty": "oct", "k": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s", "kid": "one"}
    issuer.document = {"keys": [secret, jwk(issuer.keys["one"]) | {"kid": "one", "use": "enc"}]}
    assert await tokens.verify(issuer.token("one")) is None


async def test_a_slow_issuer_does_not_block_the_event_loop_and_is_given_up(
    issuer: Issuer, tokens: IssuerTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.delay = 0.5
    monkeypatch.setattr(issuers, "FETCH_SECONDS", 0.1)
    verifying = asyncio.create_task(tokens.verify(issuer.token("one")))
    await asyncio.sleep(0.02)  # the loop runs
    assert not verifying.done()
    with pytest.raises(Problem, match="unavailable"):
        await verifying


def test_a_wrong_declaration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="is not the URL of the keys"):
        IssuerTokens("a", "b", keys="file:///etc/keys")
    with pytest.raises(ValueError, match=r"\['HS256'\] are not those of public keys"):
        IssuerTokens("a", "b", keys="https://a.example/jwks", algorithms=["HS256", "RS256"])
    monkeypatch.setattr(issuers, "find_spec", lambda _: None)
    with pytest.raises(RuntimeError, match=r"pyjwt\[crypto\]"):
        IssuerTokens("a", "b", keys="https://a.example/jwks")


async def test_a_service_knows_the_callers_of_another_issuer(issuer: Issuer, tokens: IssuerTokens) -> None:
    async def find(_: HTTPConnection, claims: Mapping[str, Any]) -> Principal | None:
        return Principal(7) if claims["sub"] == "a-1" else None

    router = APIRouter(route_class=allowing(read=Who.MEMBERS))

    @router.get("/me")
    async def me(caller: Caller) -> int | None:
        return caller.id if caller else None

    service = small_service(router, authenticator=Authenticator(True, tokens, find))
    with pytest.raises(TypeError, match="those of another issuer"):
        _ = service.runtime.authenticator.tokens
    async with asking(service) as client:
        for claims, expected in (({}, 200), ({"sub": "b"}, 401), ({"aud": "c"}, 401)):
            headers = {"Authorization": f"Bearer {issuer.token('one', **claims)}"}
            assert (await client.get("/me", headers=headers)).status_code == expected
