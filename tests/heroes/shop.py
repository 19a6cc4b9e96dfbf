"""Rows of the shop: categories, and products with a stock."""

from typing import Any

from tests.engines import Client
from tests.rows import Json, made, numbers, read


def product_body(**fields: Any) -> Json:
    number = next(numbers)
    return {"name": f"Kettle {number}", "slug": f"kettle-{number}", "sku": f"KET-{number}"} | fields


async def new_category(client: Client, **fields: Any) -> Json:
    number = next(numbers)
    return await made(client, "/categories/", **{"name": f"Room {number}", "slug": f"room-{number}"} | fields)


async def new_product(client: Client, *, stock: int = 0, **fields: Any) -> Json:
    """Create a product, and its stock by one movement."""
    product = await made(client, "/products/", **product_body(**fields))
    if stock:
        await made(client, "/stock-movements/", product_id=product["id"], quantity=stock)
    shown: Json = await read(client, f"/products/{product['id']}")
    return shown
