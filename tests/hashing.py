"""Hashes of passwords that cost next to nothing, for tests that are about something else."""

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from kit.auth import passwords

CHEAP = PasswordHash([Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)])
OF_NOBODY = CHEAP.hash("nobody knows it")
"""What a password is verified against where there is no user; that too is as dear as the real thing."""


def cheapen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(passwords, "hasher", CHEAP)
    patch.setattr(passwords, "OF_NOBODY", OF_NOBODY)
