"""Fixtures of the server's tests, many of which are not coroutines: their clients run their own event loops."""

import pytest


@pytest.fixture(autouse=True)
def async_fixtures(anyio_backend: str) -> str:
    """Let tests that are not coroutines use asynchronous fixtures."""
    return anyio_backend
