"""Product deletions: the deletion of a product as a resource. Deleting the deletion restores the product."""

from uuid import UUID

from fastapi import APIRouter

from heroes.product import Product
from kit import IfMatch, Session, Who, allowing, found

router = APIRouter(
    prefix="/products/{product_id}/deletion", tags=["products"], route_class=allowing(change=Who.SUPERUSERS)
)


@router.delete("", status_code=204, summary="Restore a deleted product")
async def restore_product(product_id: UUID, session: Session, matching: IfMatch) -> None:
    """Returns a 409 if another product has taken the slug or the SKU."""
    product = matching(found(await session.get(Product, product_id)))
    found(product.deleted_at)
    product.deleted_at = None
