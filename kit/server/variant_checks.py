"""Startup checks of response models: find fields that rows lack, and private fields that would not be omitted."""

from collections.abc import Collection, Iterator, Sequence
from types import NoneType
from typing import Any, get_args

from fastapi.routing import APIRoute
from sqlalchemy import inspect
from sqlalchemy.orm import RelationshipProperty
from sqlmodel import SQLModel

from kit.models.deletion import Deletable
from kit.models.entities import Entity
from kit.models.privacy import private_fields
from kit.models.reads import Read
from kit.operations.dependants import dependencies_of, query_variant
from kit.operations.results import bare, variant_of
from kit.operations.route import Operation
from kit.query.shown_values import queried_relationships, shown_by
from kit.server.annotations import models_in, returned_by
from kit.server.route_tables import entities_for_owners
from kit.server.routes import Entry


def shown_private_fields(entry: Entry) -> Iterator[str]:
    """Yield an error for each private field of a response model that is not a `Read`, which would show it to all."""
    if not isinstance(entry.route, APIRoute):
        return
    model = entry.context.response_model
    for response_type in (returned_by(entry.handler) if model is None else model, entry.context.stream_item_type):
        for part in models_in(response_type):
            is_plain = issubclass(part, SQLModel) and not issubclass(part, Read) and not hasattr(part, "__table__")
            for name in sorted(private_fields(part).intersection(part.model_fields)) if is_plain else ():
                yield (
                    f"{entry.description} responds with {part.__name__}, which shows the private field {name} to "
                    f"everybody: derive {part.__name__} from `Read`."
                )


def missing_fields(entry: Entry) -> Iterator[str]:
    """Yield an error for each required field of a read variant that the returned rows lack."""
    if isinstance(entry.route, Operation):
        for entity, read in dict.fromkeys(shown_rows(entry)):
            for name in () if makes_values(read) else lacking_fields(entity, read):
                yield (
                    f"{entry.description} shows rows of {entity.__name__} as {read.__name__}, whose field {name} "
                    f"they do not have: give {entity.__name__} a column or property of that name, or the field a "
                    "default."
                )


def lacking_fields(entity: type[Entity], read: type[Read]) -> Iterator[str]:
    """Yield the required fields of a read variant that are not attributes of an entity."""
    known = {name for part in entity.__mro__ for name in vars(part)}  # `hasattr` would call hybrid properties
    for name, field in read.model_fields.items():
        alias = field.validation_alias
        is_path = not isinstance(alias, str | None)  # as `AliasPath("owner", "name")`
        if field.is_required() and not is_path and known.isdisjoint((name, alias)):
            yield name


def unshaped_row(entry: Entry) -> Iterator[str]:
    """Yield an error for `of_one` with another response model than its row: `fields` and `include` would do nothing."""
    model = entry.context.response_model if isinstance(entry.route, Operation) else None
    if not any(issubclass(part, Read) for part in models_in(model)):
        return
    for part in dependencies_of(entry.context.dependant):
        query = query_variant(part)
        if query is not None and query is not part.call and variant_of(model) is not query.read:
            yield (
                f"{entry.description} takes the parameters of {query.__name__} for one row, but its response is not "
                f"such a row: give it the response model {query.read.__name__}, or no {query.__name__}."
            )


def queried_fields(entry: Entry) -> Iterator[str]:
    """Yield an error for each field of a read variant that is a relationship whose rows are only queried."""
    if isinstance(entry.route, Operation):
        for entity, read in dict.fromkeys(shown_rows(entry)):
            for relationship in () if makes_values(read) else queried_relationships(entity, shown_by(read)):
                yield (
                    f"{entry.description} shows {relationship} in {read.__name__}, but with "
                    f'`lazy="{relationship.lazy}"` its rows are queried, and never loaded: leave that out of the '
                    f"relationship, or leave {relationship.key} out of the read variant."
                )


def required_rows(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield an error for each required related row of a read variant that is left out of responses in some states."""
    for_owners = entities_for_owners(entries)
    operations = [entry for entry in entries if isinstance(entry.route, Operation)]
    variants = dict.fromkeys(pair for entry in operations for pair in shown_rows(entry))
    pending, seen = list(variants), set(variants)
    while pending:
        entity, read = pending.pop(0)
        for field, relationship, shown in () if makes_values(read) else related_rows(entity, read):
            target = relationship.mapper.class_
            is_required = not relationship.uselist and NoneType not in get_args(read.model_fields[field].annotation)
            if is_required and (reasons := reasons_to_leave_out(target, for_owners)):
                yield (
                    f"{read.__name__}.{field} is required, but its {target.__name__} is left out of responses when "
                    f"it {' or '.join(reasons)}: write `{field}: {shown.__name__} | None`."
                )
            pending += {(target, shown)} - seen
            seen.add((target, shown))


def reasons_to_leave_out(entity: type[Any], for_owners: Collection[type[Entity]]) -> list[str]:
    """Return when a row of an entity is left out of responses; empty if it never is."""
    reasons = ["is softly deleted"] if issubclass(entity, Deletable) else []
    return reasons + (["belongs to another user"] if entity in for_owners else [])


def related_rows(entity: type[Entity], read: type[Read]) -> Iterator[tuple[str, RelationshipProperty[Any], type[Read]]]:
    """Yield the fields of a read variant that show related rows, each with its relationship and its read variant."""
    relationships = inspect(entity).relationships
    for name, field in read.model_fields.items():
        kinds = (field.annotation, *get_args(bare(field.annotation))) if name in relationships else ()
        yield from ((name, relationships[name], shown) for shown in map(variant_of, kinds) if shown is not None)


def shown_rows(entry: Entry) -> Iterator[tuple[type[Entity], type[Read]]]:
    """Yield the entities whose rows a handler certainly returns, each with the read variant of the response."""
    model = entry.context.response_model
    kinds = [variant_of(model), *map(variant_of, get_args(bare(model)))]
    reads = [kind for kind in kinds if kind is not None]
    for query in filter(None, map(query_variant, dependencies_of(entry.context.dependant))):
        yield from ((query.model, read) for read in reads if read is query.read)
    returned = returned_by(entry.handler)
    for part in (returned, *get_args(returned)):
        if isinstance(part, type) and issubclass(part, Entity) and hasattr(part, "__table__"):
            yield from ((part, read) for read in reads)


def makes_values(read: type[Read]) -> bool:
    """Return whether a read variant has own methods or validators that may compute the values of its fields."""
    own: Any = read.__pydantic_decorators__
    methods = [(getattr(read, name).__func__, getattr(Read, name).__func__) for name in ("of", "model_validate")]
    return any(ours is not theirs for ours, theirs in methods) or bool(
        own.model_validators.keys() - Read.__pydantic_decorators__.model_validators.keys()
    )
