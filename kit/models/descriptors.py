"""Descriptors: the attributes of a table that are not fields, and that SQLAlchemy can set.

SQLModel refuses to set them, and leaves them out of the values of a new or updated row.
"""

from functools import cache
from typing import Any

from sqlalchemy import Column, inspect
from sqlalchemy.ext.associationproxy import AssociationProxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapper


@cache
def settable_descriptors(table: Any) -> frozenset[str]:
    """Return the names of these attributes; none of a class without a table."""
    mapper = inspect(table, raiseerr=False)
    if mapper is None:
        return frozenset()
    known = {*table.model_fields, *table.__sqlmodel_relationships__}
    others = [*mapper.relationships.keys(), *mapper.all_orm_descriptors.keys()]  # in this order: of a `backref` too
    return frozenset(name for name in others if name not in known and is_settable(mapper, name))


def is_settable(mapper: Mapper[Any], name: str) -> bool:
    """Return whether a descriptor is a relationship, column, synonym, composite, proxy, or a hybrid with a setter."""
    descriptor = mapper.all_orm_descriptors[name]
    if isinstance(descriptor, hybrid_property):
        return descriptor.fset is not None
    if name in mapper.column_attrs:
        return isinstance(mapper.column_attrs[name].columns[0], Column)  # and no SQL expression
    mapped = (mapper.relationships, mapper.synonyms, mapper.composites)
    return isinstance(descriptor, AssociationProxy) or any(name in part for part in mapped)
