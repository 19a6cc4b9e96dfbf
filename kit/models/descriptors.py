"""Descriptors: the attributes of a table that are no fields, and that SQLAlchemy can set.

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
    others = {} if mapper is None else mapper.all_orm_descriptors
    known = {*table.model_fields, *table.__sqlmodel_relationships__}
    return frozenset(
        name for name, descriptor in others.items() if name not in known and is_settable(mapper, name, descriptor)
    )


def is_settable(mapper: Mapper[Any], name: str, descriptor: object) -> bool:
    """Return whether a descriptor is a synonym, composite, association proxy, hybrid with a setter, or a column."""
    if isinstance(descriptor, hybrid_property):
        return descriptor.fset is not None
    if name in mapper.column_attrs:
        return isinstance(mapper.column_attrs[name].columns[0], Column)  # and no SQL expression
    return isinstance(descriptor, AssociationProxy) or name in mapper.synonyms or name in mapper.composites
