"""Cheap password hashes, for tests of other things."""

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from kit.auth import passwords

CHEAP = PasswordHash([Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)])
UNKNOWN_USER_HASH = CHEAP.hash("nobody knows it")
"""The hash that is verified for an unknown user, which must also be cheap."""


def cheapen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(passwords, "hasher", CHEAP)
    patch.setattr(passwords, "UNKNOWN_USER_HASH", UNKNOWN_USER_HASH)
