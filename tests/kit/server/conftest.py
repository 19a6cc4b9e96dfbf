"""Tests of what surrounds the routes; many of them are no coroutines, because their clients have loops of their own."""

import pytest


@pytest.fixture(autouse=True)
def async_fixtures(anyio_backend: str) -> str:
    """Lets tests that are no coroutines use fixtures that are."""
    return anyio_backend
