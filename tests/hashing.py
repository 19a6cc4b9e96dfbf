"""Hashes of passwords that cost next to nothing, for tests that are about something else."""

from fastapi import FastAPI
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

import main
from heroes.kit import password

CHEAP = PasswordHash([Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)])


def app() -> FastAPI:
    """The service as it is but for the price of a hash; a factory, for uvicorn."""
    password.hasher = CHEAP
    return main.app
