"""Tokens: a signed position, which another service, another secret or another cluster does not accept."""

import pytest

from kit.replicas.positions import UNKNOWN_POSITION, Position, number_of
from kit.replicas.tokens import Tokens

SECRETS = [b"a" * 32, b"b" * 32]
POSITION = Position(3, 0x16B374D848)


def test_a_token_is_the_position_and_a_signature() -> None:
    token = Tokens(SECRETS, "7").issue(POSITION)
    timeline, lsn, signature = token.split(".")
    assert (timeline, lsn, len(signature)) == ("3", "16b374d848", 16)
    assert Tokens(SECRETS, "7").read(token) == POSITION


def test_a_token_stays_valid_while_the_secret_is_replaced() -> None:
    token = Tokens(SECRETS[1:], "7").issue(POSITION)
    assert Tokens(SECRETS, "7").read(token) == POSITION
    assert Tokens(SECRETS[:1], "7").read(token) == UNKNOWN_POSITION


@pytest.mark.parametrize("token", ["", "1", "1.2", "1.2.3", "3.16b374d848.AAAAAAAAAAAAAAAA", "ü.ü.ü", "3." * 50, "..."])
def test_a_forged_token_is_nowhere(token: str) -> None:
    assert Tokens(SECRETS, "7").read(token) == UNKNOWN_POSITION


def test_a_token_of_another_cluster_is_nowhere() -> None:
    assert Tokens(SECRETS, "8").read(Tokens(SECRETS, "7").issue(POSITION)) == UNKNOWN_POSITION


@pytest.mark.parametrize(
    ("lsn", "number"),
    [("", 0), ("0/10", 16), ("1/0", 2**32), ("16/B374D848", 0x16B374D848), ("0/2018", 0x2000), ("0/2030", 0x2030)],
)
def test_a_position_has_a_number_that_a_standby_can_reach(lsn: str, number: int) -> None:
    assert number_of(lsn) == number
