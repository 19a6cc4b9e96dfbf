"""How is a related thing shown: by a read variant, and loaded in one query for a whole page."""

from collections.abc import Iterator
from functools import cache

from sqlalchemy import inspect
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.interfaces import ORMOption

from heroes.kit.model import Entity, Read


def variant(name: str) -> type[Read]:
    """The read variant of this name; by name, because a parent does not import its children."""
    return next(variant for variant in every(Read) if variant.__name__ == name)


def every(parent: type[Read]) -> Iterator[type[Read]]:
    for child in parent.__subclasses__():
        yield from (child, *every(child))


@cache
def showing(model: type[Entity], relationship: str, read: type[Read]) -> ORMOption:
    """Load what a variant shows of a related thing, for a whole page in one query, and nothing else of it."""
    target = inspect(model).relationships[relationship].mapper.class_
    columns = [getattr(target, name) for name in read.model_fields]
    return selectinload(getattr(model, relationship)).load_only(*columns, raiseload=True)
