"""Embedding: related rows in a response, under the name of their relationship, loaded by one query for a page."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.interfaces import ORMOption

from kit.models.entities import Entity
from kit.models.reads import Read


@cache
def read_variant(name: str) -> type[Read]:
    """The read variant with this name. It is looked up because a parent resource does not import its children."""
    return next(variant for variant in _variants_of(Read) if variant.__name__ == name)


def _variants_of(parent: type[Read]) -> Iterator[type[Read]]:
    for child in parent.__subclasses__():
        yield from (child, *_variants_of(child))


def embedding(model: type[Entity], relationship: str, read: type[Read]) -> ORMOption:
    """The loader option for an embedded relationship. It loads the columns that the read variant shows."""
    option = selectinload(getattr(model, relationship))
    target = inspect(model).relationships[relationship].mapper
    if read.model_computed_fields or not set(read.model_fields) <= set(target.column_attrs.keys()):
        return option  # the variant may need other columns too
    return option.load_only(*(getattr(target.class_, name) for name in read.model_fields))


def embedded(row: object, relationship: str, read: type[Read]) -> Any:
    """The related row, or the list of related rows, as instances of the read variant."""
    related = getattr(row, relationship)
    if isinstance(related, list):
        return [read.of(one) for one in related]
    return None if related is None else read.of(related)
