"""Trees: refuses cycles among the rows of an entity with a foreign key to itself."""

from typing import Any

from sqlmodel import col, select

from kit.database.sessions import WriteSession
from kit.http.problems import conflict
from kit.models.entities import Entity


async def refuse_cycle(session: WriteSession, row: Entity, field: str = "parent_id") -> None:
    """Raise a 409 if a row is its own ancestor. `field` is the foreign key to the parent.

    To be called after the change of `field`. A lock serializes such changes of the table, because two concurrent ones
    could form a cycle together. The ancestors of all owners count.
    """
    entity: Any = type(row)
    await session.lock_exclusively(f"tree of {entity.__tablename__}")
    await session.flush()
    above = select(getattr(entity, field).label("id")).where(col(entity.id) == row.id).cte("above", recursive=True)
    above = above.union(select(getattr(entity, field)).where(col(entity.id) == above.c.id))
    if await session.find_trusted(select(above.c.id).where(above.c.id == row.id)) is not None:
        raise conflict(field, f"{field} would make it its own ancestor.", "cycle")
