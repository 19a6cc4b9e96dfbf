"""A ledger of stock movements. Each has two effects in the database, and a unique name by which it is counted."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.faults.client import Answer, Client

PRODUCTS = 8
"""The number of products: few, so that writers compete for rows, but not all of them for the same row."""


class Ledger:
    """The responses to stock movements, by name, to compare with the stored rows."""

    def __init__(self, products: list[str]) -> None:
        self.products = products
        self.statuses: Counter[int | str] = Counter()
        self.acknowledged: set[str] = set()
        self.refused: set[str] = set()
        """The movements that the service reported as not applied."""
        self.progress = asyncio.Event()

    async def move(self, client: Client, name: str, **headers: str) -> Answer | None:
        """Send a movement once the service accepts connections; None if the connection broke (outcome unknown)."""
        body = {"product_id": self.products[sum(name.encode()) % PRODUCTS], "quantity": 1, "reason": name}
        try:
            answer = await client.send("POST", "/stock-movements/", body, **headers)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
            return await self.move(client, name, **headers)
        except ConnectionError:
            self.statuses["lost"] += 1
            return None
        self.statuses[answer.status] += 1
        if answer.status == 201:
            self.acknowledged.add(name)
            self.progress.set()
        elif answer.json().get("outcome") == "not_applied":
            self.refused.add(name)
        return answer

    async def move_all(self, port: int, names: Iterable[str], pause: float = 0.1) -> None:
        """Send the movements of one client one after the other, with a pause after a failure."""
        async with Client(port) as client:
            for name in names:
                answer = await self.move(client, name)
                if answer is None or answer.status >= 500:
                    await asyncio.sleep(pause)

    async def reaches(self, acknowledged: int) -> None:
        while len(self.acknowledged) < acknowledged:
            self.progress.clear()
            await self.progress.wait()

    async def check(self, port: int) -> int:
        """Compare the stored movements with the responses. Returns the number of stored movements."""
        movements = await everything(port, "/stock-movements/?fields=product_id,quantity,reason")
        names = Counter(movement["reason"] for movement in movements)
        assert not [name for name, times in names.items() if times > 1], "doubled"
        assert self.acknowledged <= names.keys(), "lost, though acknowledged"
        assert not (self.refused - self.acknowledged) & names.keys(), "stored, though refused"
        sums = Counter(dict.fromkeys(self.products, 0))
        for movement in movements:
            sums[movement["product_id"]] += movement["quantity"]
        stocks = await everything(port, "/products/?fields=id,stock")
        assert {product["id"]: product["stock"] for product in stocks} == sums, "half a movement"
        return len(movements)


async def open_ledger(port: int) -> Ledger:
    bodies = [{"name": f"Kettle {n}", "slug": f"kettle-{n}", "sku": f"KET-{n}"} for n in range(PRODUCTS)]
    async with Client(port) as client:
        return Ledger([(await client.send("POST", "/products/", body)).json()["id"] for body in bodies])


async def everything(port: int, path: str) -> list[Any]:
    """Return all rows of a list, page by page."""
    rows, following = [], path
    async with Client(port) as client:
        while following:
            answer = await client.send("GET", following)
            assert answer.status == 200, answer.body
            rows += answer.json()
            link = re.fullmatch(r'<(?:https?://[^/]+)?(.*)>; rel="next"', answer.headers.get("link", ""))
            following = link[1] if link else ""
    return rows
