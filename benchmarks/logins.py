"""The effect of logins on other requests: the p99 of `GET /heroes/1` during 50 concurrent logins, and without logins.

Run it in the project's folder: `python -m benchmarks.logins`. It creates and serves a separate database.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx

LOGINS, ROUNDS, READS = 50, 3, 400
MANY = httpx.Limits(max_connections=None)
PROJECT = Path(__file__).parents[1]
ROOT = {"username": "root", "password": "correct horse battery"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def wait_until_alive(client: httpx.AsyncClient) -> None:
    while True:
        with suppress(httpx.TransportError):
            await client.get("/health/live")
            return
        await asyncio.sleep(0.1)


async def p99(client: httpx.AsyncClient, headers: dict[str, str]) -> float:
    """Return the 99th percentile of the latency of a client that reads repeatedly, in milliseconds."""
    taken = []
    for _ in range(READS):
        begun = time.perf_counter()
        (await client.get("/heroes/1", headers=headers)).raise_for_status()
        taken.append(time.perf_counter() - begun)
        await asyncio.sleep(0.005)
    return statistics.quantiles(taken, n=100)[98] * 1000


async def log_in(client: httpx.AsyncClient, until: asyncio.Event) -> int:
    """Log in repeatedly until the event. Returns the number of successful logins."""
    done = 0
    while not until.is_set():
        done += (await client.post("/auth/token", data=ROOT)).status_code == 200
    return done


async def measure(client: httpx.AsyncClient) -> None:
    token = (await client.post("/auth/token", data=ROOT)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    await client.post("/heroes/", headers=headers, json={"name": "Deadpond", "secret_name": "Dive Wilson"})
    ratios = []
    for turn in range(1, ROUNDS + 1):
        idle, until = await p99(client, headers), asyncio.Event()
        logins = [asyncio.create_task(log_in(client, until)) for _ in range(LOGINS)]
        busy = await p99(client, headers)
        until.set()
        ratios.append(busy / idle)
        done = sum(await asyncio.gather(*logins))
        sys.stdout.write(f"round {turn}: idle {idle:.1f} ms, with {LOGINS} who log in {busy:.1f} ms; {done} logins\n")
    sys.stdout.write(f"median of the ratios: {statistics.median(ratios):.2f}\n")


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="heroes-") as folder:
        port = free_port()
        settings = {"DATABASE_URL": f"sqlite:///{folder}/bench.db", "SECRET_KEY": "0123456789abcdef" * 2}
        environment = os.environ | settings | {"ENVIRONMENT": "production", "LOG_LEVEL": "WARNING"}
        environment |= {"LOGIN_FAILURES": "1000", "LOGIN_FAILURES_ADDRESS": "1000"}  # all from one address
        made = {f"SUPERUSER_{name.upper()}": value for name, value in ROOT.items()}
        made["SUPERUSER_EMAIL"] = "root@example.com"
        for script in ("-m alembic upgrade head", "superuser.py"):
            subprocess.run([sys.executable, *script.split()], cwd=PROJECT, env=environment | made, check=True)  # noqa: ASYNC221, S603  nothing else runs yet; the words are ours
        command = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(port)]
        service = subprocess.Popen(command, cwd=PROJECT, env=environment)  # noqa: ASYNC220, S603  it returns at once; the words are ours
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=MANY) as client:
                await wait_until_alive(client)
                await measure(client)
        finally:
            service.terminate()
            service.wait()


if __name__ == "__main__":
    asyncio.run(main())
