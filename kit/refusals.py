"""Refusals: end the process at start with a message, if a setting cannot be used."""

import sys
from typing import NoReturn

STARTUP_FAILURE = 3
"""The exit code of a worker that uvicorn does not start again."""


def refuse_start(sentence: str) -> NoReturn:
    """Print a message, and exit the process."""
    sys.stderr.write(f"{sentence}\n")
    end = SystemExit(sentence)
    end.code = STARTUP_FAILURE
    raise end
