"""Nested writes: bodies within a body are stored as related rows, in the same transaction.

Example: `InvoiceCreate.lines: list[LineCreate]`. When the list is assigned to the relationship `Invoice.lines`, as by
`Invoice.model_validate(new)`, listeners to SQLAlchemy's attribute events convert each body in it to a row.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from sqlalchemy import event
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.orm.attributes import QueryableAttribute

from kit.models.entities import Entity


@event.listens_for(Entity, "attribute_instrument")
def listen_to_relationship(entity: type[Entity], name: str, attribute: QueryableAttribute[Any]) -> None:
    """Add the listeners by which bodies that are assigned to a relationship become rows.

    An assignment to a `viewonly` relationship then raises a TypeError.
    """
    relationship = attribute.property
    if not isinstance(relationship, RelationshipProperty):
        return

    def converted(_: object, value: object, *__: object) -> object:
        if relationship.viewonly:
            raise TypeError(f"{entity.__name__}.{name} is viewonly, so nothing would be stored: set the foreign key.")
        return row_of(relationship.mapper.class_, value)

    def convert_all(target: object, values: list[Any], *_: object, **__: object) -> None:
        values[:] = [converted(target, value) for value in values]

    event.listen(attribute, "set", converted, retval=True)
    event.listen(attribute, "append", converted, retval=True)
    event.listen(attribute, "bulk_replace", convert_all)


def row_of(kind: type[Any], value: object) -> object:
    """Return a row of the class `kind` with the values of a body or dictionary. Other values are returned unchanged.

    The body was validated with the request. SQLAlchemy sets the row's foreign key to the parent.
    """
    if isinstance(value, BaseModel) and not hasattr(value, "__table__"):
        return kind(**{name: getattr(value, name) for name in type(value).model_fields})
    return kind(**value) if isinstance(value, Mapping) else value


@cache
def nested_bodies(body: type[BaseModel]) -> Mapping[str, type[BaseModel]]:
    """Return the fields of a body whose values are other bodies, each with the class of these."""
    found = {name: body_in(field.annotation) for name, field in body.model_fields.items()}
    return {name: kind for name, kind in found.items() if kind is not None}


def body_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in an annotation such as `Body`, `Body | None` or `list[Body]`; None if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(body_in, get_args(annotation))), None)
