"""Ownership checks at start: they find declarations of entities whose rows a restricted session could not protect."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import configure_mappers

from kit.auth.owners import (
    OwnershipError,
    entities,
    forget_entities,
    is_field,
    is_of_users,
    not_a_column,
    owned_parent,
    table_of,
)
from kit.models.entities import Entity


def ownership_errors() -> Iterator[str]:
    """Yield a message for each such declaration of all entities. With a message, the service does not start."""
    configure_mappers()
    forget_entities()
    yield from several_users()
    yield from users_without_numbers()
    yield from owners_of_tables()
    for entity in entities():
        for check in (owner_errors, reserved_errors, unnoticed_changes):
            yield from check(entity)


def several_users() -> Iterator[str]:
    """Yield a message for each table of users but the first: an id would be that of two users."""
    known: dict[Any, type[Entity]] = {}
    for entity in filter(is_of_users, entities()):
        first = known.setdefault(inspect(entity).registry, entity)
        if first is not entity:
            yield (
                f'{first.__name__} and {entity.__name__} both have `belongs_to = "id"`, which only the table of users '
                "has: write the foreign key to the user."
            )


def users_without_numbers() -> Iterator[str]:
    """Yield a message for a table of users whose ids are not integers. `Principal.id` and `Owner` are integers."""
    for entity in filter(is_of_users, entities()):
        if entity.model_fields["id"].annotation not in (int, int | None):
            yield (
                f"{entity.__name__} is the table of users, whose ids must be integers, as `Principal.id` and `Owner` "
                f"are: write `class {entity.__name__}(Entity, table=True)`, with a UUID in a field of its own, as in "
                "`public_id: UUID = Field(default_factory=uuid4, unique=True)`."
            )


def owners_of_tables() -> Iterator[str]:
    """Yield a message for each table that declares an owner and is not an entity: it would have no effect."""
    mappers = {mapper for entity in entities() for mapper in inspect(entity).registry.mappers}
    for kind in sorted((mapper.class_ for mapper in mappers), key=str):
        if isinstance(getattr(kind, "belongs_to", None), str) and not issubclass(kind, Entity):
            yield (
                f"{kind.__name__}.belongs_to has no effect, because {kind.__name__} is not an `Entity`: write "
                f"`class {kind.__name__}(Entity, table=True)`."
            )


def owner_errors(entity: type[Entity]) -> Iterator[str]:
    if entity.belongs_to is not None:
        try:
            owned_parent(entity)
        except OwnershipError as error:
            yield str(error)


def reserved_errors(entity: type[Entity]) -> Iterator[str]:
    for name in entity.reserved:
        if not is_field(entity, name):
            yield not_a_column(entity, "reserved", name)


def unnoticed_changes(entity: type[Entity]) -> Iterator[str]:
    """Yield an error for `onupdate` of the owner's column, and for `post_update` of that column or a reserved one.

    SQLAlchemy sets these values after the events of a flush in which owners and reserved fields are checked.
    """
    owner = table_of(entity).c.get(str(entity.belongs_to))
    if owner is not None and owner.onupdate is not None:
        yield f"{entity.__name__}.{entity.belongs_to} may not have onupdate: it changes the owner of rows unnoticed."
    for each in inspect(entity).relationships:
        if each.post_update and any(map(is_owner_column, (*each.local_columns, *each.remote_side))):
            yield f"{each} may not have post_update: it changes the owner of rows unnoticed."
        if each.post_update and any(map(is_reserved_column, (*each.local_columns, *each.remote_side))):
            yield f"{each} may not have post_update: it changes reserved fields of rows unnoticed."


def is_reserved_column(candidate: Any) -> bool:
    return any(table_of(entity).c.get(name) is candidate for entity in entities() for name in entity.reserved)


def is_owner_column(candidate: Any) -> bool:
    owned = [entity for entity in entities() if entity.belongs_to is not None]
    return any(table_of(entity).c.get(str(entity.belongs_to)) is candidate for entity in owned)
