"""nginx and Caddy in front of the service, with the configurations of `deploy/`."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kit.database.migrations import upgrade
from tests.application import KEY, settings_for
from tests.deploy.programs import DEPLOY, free_port, program, run, running
from tests.live import Server, serving

HOST = "service.example.com"
LIMIT = 5
"""Requests per minute of an address in these tests."""


@pytest.fixture
async def server(new_database: Any, log_file: Path) -> AsyncIterator[Server]:
    """Provide the service as in production. It believes a proxy on this host."""
    url = await new_database()
    await upgrade(settings_for(url).database)
    limits = {"ADDRESS_RATE": str(LIMIT), "TRUSTED_HOSTS": f"{HOST},127.0.0.1", "FORWARDED_ALLOW_IPS": "127.0.0.1"}
    with serving(url, log_file, ENVIRONMENT="production", SECRET_KEY=KEY, **limits) as server:
        yield server


@pytest.fixture
async def nginx(server: Server, tmp_path: Path) -> AsyncIterator[str]:
    """Provide the URL of nginx with a certificate of its own."""
    command, ports = program("nginx", "apt install nginx-light"), (free_port(), free_port())
    key, certificate = tmp_path / "service.key", tmp_path / "service.pem"
    subject = ("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-days", "2")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *subject)
    site = (DEPLOY / "nginx.conf").read_text()
    for old, new in {
        "listen 80;": f"listen 127.0.0.1:{ports[0]};",
        "listen 443 ": f"listen 127.0.0.1:{ports[1]} ",
        "127.0.0.1:8000": f"127.0.0.1:{server.port}",
        "/etc/ssl": str(tmp_path),
    }.items():
        assert old in site
        site = site.replace(old, new)
    temporary = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in TEMPORARY)
    main = tmp_path / "nginx.conf"
    main.write_text(
        f"pid {tmp_path}/pid; error_log stderr; daemon off; user root;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}{site} }}\n"
    )
    with running(ports[1], tmp_path / "nginx.log", command, "-c", main, "-e", "stderr", "-p", tmp_path):
        plain = await asyncio.to_thread(httpx.get, f"http://127.0.0.1:{ports[0]}/docs", headers={"Host": HOST})
        assert (plain.status_code, plain.headers["Location"]) == (308, f"https://{HOST}/docs")
        yield f"https://127.0.0.1:{ports[1]}"


TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@pytest.fixture
async def caddy(server: Server, tmp_path: Path) -> AsyncIterator[str]:
    """Provide the URL of Caddy, with plain HTTP: for HTTPS it would ask an authority for a certificate."""
    command, port = program("caddy", "apt install caddy"), free_port()
    site = (DEPLOY / "Caddyfile").read_text()
    assert f"\n{HOST} {{" in site
    file = tmp_path / "Caddyfile"
    site = site.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    file.write_text(f"{{\n\tadmin off\n}}\n{site}".replace(f"\n{HOST} {{", f"\nhttp://{HOST}:{port} {{"))
    folders = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    with running(port, tmp_path / "caddy.log", command, "run", "--config", file, **folders):
        yield f"http://127.0.0.1:{port}"


def client_of(url: str, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """Return a client that connects from this address of the host."""
    transport = httpx.AsyncHTTPTransport(local_address=address, verify=False)
    return httpx.AsyncClient(transport=transport, base_url=url, headers={"Host": HOST})


async def is_served_through(url: str) -> None:
    async with client_of(url) as client:
        ready = await client.get("/health/ready", headers={"X-Request-ID": "mine"})
        assert (ready.json()["status"], ready.headers["X-Request-ID"]) == ("ready", "mine")
        secure = "Strict-Transport-Security" in ready.headers  # the service sends it, if it believes the proxy
        assert secure == url.startswith("https")
        user = {"username": "natasha", "email": "natasha@example.com", "password": "correct horse"}
        created = await client.post("/users/", json=user)
        assert (created.status_code, created.headers["Location"]) == (201, "/users/1")
        form = {"username": "natasha", "password": "correct horse"}
        token = (await client.post("/auth/token", data=form)).json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        read = await client.get("/users/1", headers=bearer)
        assert read.headers["ETag"].removeprefix("W/").startswith('"1.')  # with a digest, as a user has private fields
        changes, matching = {"full_name": "Natasha"}, {"If-Match": read.headers["ETag"]}
        changed = await client.patch("/users/1", json=changes, headers=bearer | matching)
        assert (changed.status_code, changed.json()["version"]) == (200, 2)


async def addresses_are_counted_by_themselves(url: str) -> None:
    """Expect the limit of an address to hold whatever the client claims, and not for another address."""
    async with client_of(url, "127.0.0.2") as client, client_of(url, "127.0.0.3") as other:
        claims = [{"X-Forwarded-For": f"203.0.113.{number}"} for number in range(LIMIT + 1)]
        answers = [(await client.get("/users/me", headers=claim)).status_code for claim in claims]
        assert answers == [401] * LIMIT + [429]
        assert (await other.get("/users/me")).status_code == 401


async def test_nginx_passes_on_what_the_contract_promises(nginx: str) -> None:
    await is_served_through(nginx)


async def test_behind_nginx_a_client_cannot_choose_its_address(nginx: str) -> None:
    await addresses_are_counted_by_themselves(nginx)


async def test_caddy_passes_on_what_the_contract_promises(caddy: str) -> None:
    await is_served_through(caddy)


async def test_behind_caddy_a_client_cannot_choose_its_address(caddy: str) -> None:
    await addresses_are_counted_by_themselves(caddy)
