"""Links: the rows of many-to-many relationships (`secondary`), which SQLAlchemy writes without events for rows.

A restricted session writes a link between rows of the principal, or between such a row and a row that cannot have an
owner. A link table that is an entity has its own owners, and is not written through a relationship. Another link table
is written only through relationships, because its rows have no owner that could be checked.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper

from kit.auth.owners import OwnershipError, entity_of, name_of, names_of_links, without_owner
from kit.models.entities import Entity


def linked_rows(rows: Iterable[object]) -> Iterator[Entity]:
    """Yield the rows with owners at both ends of the links that a flush of these rows adds or deletes.

    Raises a 403 for a link between rows without owners.
    """
    for row in rows:
        for name in written_links(inspect(row).mapper):
            history = inspect(row).attrs[name].history
            if history.has_changes():
                yield from owned_ends(row, [*(history.added or ()), *(history.deleted or ())])


def owned_ends(row: object, others: Sequence[object]) -> list[Entity]:
    ends = [end for end in (row, *others) if isinstance(end, Entity)]
    owned = [end for end in ends if end.belongs_to is not None]
    if ends and not owned:
        raise without_owner()
    return owned


def refuse_links(changed: Iterable[object], deleted: Collection[object]) -> None:
    """Raise an OwnershipError if a flush of these rows writes link rows whose owner cannot be checked."""
    for row in (*changed, *deleted):
        mapper = inspect(row).mapper
        if not isinstance(row, Entity):
            refuse_link_table(mapper.local_table)
        for name, link in written_links(mapper).items():
            is_written = row in deleted or inspect(row).attrs[name].history.has_changes()
            if link is not None and is_written:
                raise OwnershipError(
                    f"A restricted session does not check what {type(row).__name__}.{name} writes: make it viewonly, "
                    f"and add or delete rows of {link.__name__}."
                )


@cache
def written_links(mapper: Mapper[Any]) -> dict[str, type[Entity] | None]:
    """Return the names of the relationships that write a link table, each with the entity of the table, if any."""
    written = [each for each in mapper.relationships if each.secondary is not None and not each.viewonly]
    return {each.key: entity_of(each.secondary) for each in written}


def refuse_link_table(rows: Any) -> None:
    """Raise an OwnershipError for a table that links owned rows and is not an entity."""
    if entity_of(rows) is None and name_of(rows) in names_of_links():
        raise OwnershipError(
            f"A restricted session cannot tell whose rows the link table {rows.name} has: change the relationship, or "
            "make the table an entity with `belongs_to`."
        )
