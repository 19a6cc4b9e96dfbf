"""Startup checks of nested bodies: find children that would be ignored, not validated, or unbounded in number."""

from collections.abc import Iterator
from typing import Any, get_args

from annotated_types import MaxLen
from pydantic import BaseModel
from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, RelationshipProperty
from sqlmodel import SQLModel

from kit.auth.owners import entities, entity_of
from kit.models.children import body_in
from kit.models.entities import Body, Entity, Stamped
from kit.operations.route import Operation
from kit.server.routes import Entry

SHARED = (SQLModel, Stamped, Body)
"""The base classes that bodies and tables of different resources have in common."""


def unsafe_children(entry: Entry) -> Iterator[str]:
    """Yield the errors in the bodies of an operation that contain other bodies."""
    if isinstance(entry.route, Operation):
        for field in entry.context.dependant.body_params:
            body = body_in(field.field_info.annotation)
            if body is not None:
                yield from errors_of_body(entry, body, set())


def errors_of_body(entry: Entry, body: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    """Yield the errors of a body and, recursively, of the bodies within it, except those in `seen`."""
    if body in seen:
        return
    seen.add(body)
    mappers = [inspect(entity) for entity in closest_entities(body)]
    known = {name for mapper in mappers for name in (*mapper.class_.model_fields, *mapper.relationships.keys())}
    for mapper in mappers:
        table = mapper.class_.__name__
        yield from dropped_children(body, mapper)
        yield from incomplete_links(mapper)
        for name, field in body.model_fields.items():
            nested = body_in(field.annotation)
            if name in mapper.relationships:
                yield from errors_of_children(entry, body, name, nested, mapper.relationships[name])
            elif nested is not None and name not in known:
                yield (
                    f"{body.__name__}.{name} would be dropped: {table} has no relationship of that name: "
                    f'write `{name}: list["…"] = Relationship()` there, or leave it out of the body.'
                )
    for nested in filter(None, (body_in(field.annotation) for field in body.model_fields.values())):
        yield from errors_of_body(entry, nested, seen)


def entities_of(body: type[BaseModel]) -> Iterator[type[Entity]]:
    """Yield the entities of a body: those with a common base class that has fields."""
    yield from (table for table in tables_of(body) if issubclass(table, Entity))


def closest_entities(body: type[BaseModel]) -> list[type[Entity]]:
    """Return the entities of a body without those that share fewer of its base classes than another one.

    Entities of other resources may have a base class such as `Named` in common with it.
    """
    shared = {entity: {*body.__mro__} & {*entity.__mro__} for entity in entities_of(body)}
    return [entity for entity, bases in shared.items() if not any(bases < others for others in shared.values())]


def tables_of(body: type[BaseModel]) -> Iterator[type[Any]]:
    """Yield the tables of a body or read variant, entities or not: those with a common base class that has fields."""
    shared = [base for base in body.__mro__ if issubclass(base, SQLModel) and base not in SHARED and base.model_fields]
    found = dict.fromkeys(child for base in shared for child in entities(base))
    yield from (table for table in found if table is not body)


def dropped_children(body: type[BaseModel], mapper: Mapper[Any]) -> Iterator[str]:
    """Yield an error for each relationship to many rows in `read_only`: its children would be ignored silently."""
    for name in getattr(body, "read_only", ()):
        if name in mapper.relationships and mapper.relationships[name].uselist:
            yield f"{body.__name__}.read_only has {name!r}, so that children would be dropped: leave it out."


def incomplete_links(mapper: Mapper[Any]) -> Iterator[str]:
    """Yield an error for each relationship whose link table is an entity: SQLAlchemy would write only foreign keys."""
    for relationship in mapper.relationships:
        link = None if relationship.secondary is None or relationship.viewonly else entity_of(relationship.secondary)
        if link is not None:
            yield (
                f"{relationship} would write rows of {link.__name__} without their version: give it "
                f'`sa_relationship_kwargs={{"viewonly": True}}`, and add rows of {link.__name__}.'
            )


def errors_of_children(
    entry: Entry,
    body: type[BaseModel],
    name: str,
    nested: type[BaseModel] | None,
    relationship: RelationshipProperty[Any],
) -> Iterator[str]:
    """Yield the errors of the field `name` of a body, which is written to a relationship. `nested` is its body."""
    field, target = f"{body.__name__}.{name}", relationship.mapper.class_.__name__
    is_many = is_list(body.model_fields[name].annotation)
    if nested is None or hasattr(nested, "__table__") or is_many != bool(relationship.uselist):
        written = f"list[{target}Create]" if relationship.uselist else f"{target}Create | None"
        yield f"{field} is written to a relationship: give it the type `{written}`, a body of its own, or another name."
        return
    if not entry.methods <= {"POST"}:
        yield (
            f"{entry.description} takes {field}, but PUT and PATCH change no related rows: give {body.__name__} a base "
            f"without `{name}`, and change {name} by a resource of their own."
        )
    if relationship.viewonly:
        yield f"{field} would be dropped: {relationship} is viewonly; leave that out."
    if is_many and not any(isinstance(part, MaxLen) for part in body.model_fields[name].metadata):
        yield f"{field} has no bound: write `{name}: list[{nested.__name__}] = Field(max_length=100)`."
    given = {str(column.key) for _, column in relationship.local_remote_pairs or ()} if relationship.uselist else set()
    for key in sorted(given & nested.model_fields.keys() if relationship.secondary is None else ()):
        yield f"{nested.__name__}.{key} is given by {field}: use a body without it there."


def is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is list or any(map(is_list, get_args(annotation)))
