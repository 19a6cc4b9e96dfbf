"""Clients of an ASGI application in this process."""

from typing import Any

import httpx


def client_of(app: Any, token: str | None = None, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """Return a client with this token and client address. An unexpected exception of the application becomes a 500."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 12345))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)
