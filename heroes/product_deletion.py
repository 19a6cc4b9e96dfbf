"""The deletion of a product, as a thing of its own: deleting it restores the product."""

from uuid import UUID

from fastapi import APIRouter

from heroes.product import Product
from kit.auth.permissions import Who
from kit.http.problems import found
from kit.operations.preconditions import IfMatch
from kit.operations.unit_of_work import Session, allowing

router = APIRouter(
    prefix="/products/{product_id}/deletion", tags=["products"], route_class=allowing(change=Who.SUPERUSERS)
)


@router.delete("", status_code=204, summary="Restore a deleted product")
async def restore_product(product_id: UUID, session: Session, matching: IfMatch) -> None:
    """A 409 if its slug or SKU has been taken since."""
    product = matching(found(await session.get(Product, product_id)))
    found(product.deleted_at)
    product.deleted_at = None
