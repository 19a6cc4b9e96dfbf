"""Tokens: signed positions that clients send back, `timeline.LSN.signature`, in a header or a cookie."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from functools import lru_cache

from kit.replicas.positions import UNKNOWN_POSITION, Position

MAC_SIZE = 12
MAX_LENGTH = 64


class Tokens:
    """Issues tokens that are signed with the first of the secrets, and reads those that any of them has signed.

    `system` is the identifier of the database cluster. It is part of each signature, so that tokens of other clusters
    are not valid.
    """

    def __init__(self, secrets: Sequence[bytes], system: str) -> None:
        self.keys = [hmac.digest(secret, f"read-after:{system}".encode(), "sha256") for secret in secrets]
        self.issue = lru_cache(1)(self._issue)
        self.read = lru_cache(1000)(self._read)

    def _issue(self, position: Position) -> str:
        return signed(self.keys[0], f"{position.timeline:x}.{position.lsn:x}")

    def _read(self, token: str) -> Position:
        """Return the position in a token; `UNKNOWN_POSITION` for a token with an invalid signature."""
        text = token.rpartition(".")[0]
        if len(token) > MAX_LENGTH or not token.isascii():
            return UNKNOWN_POSITION
        if not any(hmac.compare_digest(token, signed(key, text)) for key in self.keys):
            return UNKNOWN_POSITION
        timeline, lsn = text.split(".")
        return Position(int(timeline, 16), int(lsn, 16))


def signed(key: bytes, text: str) -> str:
    mac = hmac.digest(key, text.encode(), "sha256")[:MAC_SIZE]
    return f"{text}.{urlsafe_b64encode(mac).decode()}"
