"""Tokens: the claims of a valid token are remembered, and only as long as it is valid."""

import time
from datetime import timedelta
from types import SimpleNamespace

import jwt
import pytest

from kit import Claims, Tokens
from kit.auth import tokens as module
from kit.auth.tokens import LEEWAY

KEY = b"k" * 32
CLAIMS = Claims(7, 3)


@pytest.fixture
def tokens() -> Tokens:
    return Tokens([KEY], "library", timedelta(minutes=5))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Provide the tokens whose signatures were checked."""
    seen: list[str] = []
    decode = jwt.decode

    def noting(token: str, *values: object, **options: object) -> object:
        seen.append(token)
        return decode(token, *values, **options)  # type: ignore[arg-type]  # as they are given

    monkeypatch.setattr(jwt, "decode", noting)
    return seen


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set the clock of `kit.auth.tokens` ahead by this number of seconds."""
    clock = time.time
    monkeypatch.setattr("kit.auth.tokens.time", SimpleNamespace(time=lambda: clock() + seconds))


def test_the_signature_of_a_token_is_checked_once(tokens: Tokens, decoded: list[str]) -> None:
    token = tokens.issue(CLAIMS)
    assert tokens.read(token) == tokens.read(token) == CLAIMS
    assert decoded == [token]


def test_a_token_that_is_not_valid_is_checked_each_time(tokens: Tokens, decoded: list[str]) -> None:
    forged = Tokens([b"f" * 32], "library", timedelta(minutes=5)).issue(CLAIMS)
    assert tokens.read(forged) is None
    assert tokens.read(forged) is None
    assert decoded == [forged, forged]


@pytest.mark.parametrize("seconds", [300 + LEEWAY + 1, -LEEWAY - 1])
def test_outside_of_its_time_a_known_token_is_checked_again(
    tokens: Tokens, decoded: list[str], monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    token = tokens.issue(CLAIMS)
    tokens.read(token)
    set_clock(monkeypatch, seconds)
    tokens.read(token)
    assert decoded == [token, token]


def test_a_token_that_has_expired_is_forgotten(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token = Tokens([KEY], "library", timedelta(seconds=-LEEWAY + 1)).issue(CLAIMS)
    assert tokens.read(token) == CLAIMS
    set_clock(monkeypatch, 2)
    monkeypatch.setattr(jwt, "decode", lambda *_, **__: (_ for _ in ()).throw(jwt.ExpiredSignatureError()))
    assert tokens.read(token) is None
    assert not tokens._known


def test_the_number_of_known_tokens_is_bounded(
    tokens: Tokens, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 2)
    issued = [tokens.issue(CLAIMS) for _ in range(3)]
    for token in (*issued, *reversed(issued)):
        tokens.read(token)
    assert len(tokens._known) == 2
    assert decoded == [*issued, issued[0]]
