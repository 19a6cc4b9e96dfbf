"""Startup checks of owners and private fields: find rows without owners, and values shown to the wrong users."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy import inspect
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.sql import visitors
from sqlmodel import SQLModel

from kit.auth import privacy
from kit.auth.permissions import Who
from kit.models.entities import Entity
from kit.models.privacy import is_private, owner_field, private_fields
from kit.models.reads import Read
from kit.operations.dependants import dependencies_of, query_variant
from kit.operations.route import Operation
from kit.operations.unit_of_work import SAFE
from kit.query import shown_values
from kit.query.embedding import read_variant
from kit.query.list_query import ListQuery
from kit.query.shown_values import Path, attributes_behind, paths_of
from kit.server.annotations import models_in, returned_by
from kit.server.relation_checks import entities_of
from kit.server.route_tables import permission_of, query_variants_of, tables_returned_by
from kit.server.routes import Entry

Shown = tuple[type[Any], type[BaseModel]]
"""A table, and a response model of its rows."""


def rows_without_owner(entry: Entry) -> Iterator[str]:
    """Yield an error for each entity without owners whose rows an operation reads for owners: it would show them all.

    Changes of such rows need no check, because they are refused to all but superusers.
    """
    if (
        not isinstance(entry.route, Operation)
        or entry.method not in SAFE
        or entry.route.read_permission is not Who.OWNERS
    ):
        return
    for entity in dict.fromkeys([*(query.model for query in queries_of(entry)), *returned_entities(entry)]):
        if entity.belongs_to is None:
            yield (
                f"{entry.description} is for owners, but rows of {entity.__name__} have none: write the foreign key to "
                f'the user in {entity.__name__}, as in `belongs_to = "owner_id"`; or write `Who.MEMBERS` in `allowing`.'
            )


def tables_for_owners(entry: Entry) -> Iterator[str]:
    """Yield an error for each table that is not an entity, and whose rows an operation for owners returns.

    Nothing restricts such rows to their owners, neither in reads nor in changes.
    """
    if isinstance(entry.route, Operation) and entry.route.permission_by_method[entry.method] is Who.OWNERS:
        for table in dict.fromkeys(tables_returned_by(entry)):
            if not issubclass(table, Entity):
                yield (
                    f"{entry.description} is for owners, but {table.__name__} is not an `Entity`, so that its rows "
                    f'have none: write `class {table.__name__}(Entity, table=True)` with `belongs_to = "owner_id"`; or '
                    "write `Who.MEMBERS` in `allowing`, and a condition in the handler."
                )


def copied_private_fields(entry: Entry) -> Iterator[str]:
    """Yield an error for each field of a response model that would show a private field of a table to everybody."""
    for table, model in shown_of(entry):
        for name in sorted(unmarked_fields(table, model)):
            kind = "" if issubclass(model, Read) else f"derive {model.__name__} from `Read`, and "
            yield (
                f"{entry.description} shows {table.__name__} as {model.__name__}, whose field {name} would show a "
                f"private field to everybody: {kind}inherit the field from the base of the table, or repeat "
                "`sa_column_kwargs=PRIVATE`; if it has another value, give it another name."
            )


def unknown_owners(entry: Entry) -> Iterator[str]:
    """Yield an error for each read variant with private fields whose `belongs_to` is not the id of a user."""
    models = dict.fromkeys([*response_models(entry), *(model for _, model in shown_of(entry))])
    names = {model: getattr(model, "belongs_to", None) for model in models}
    names |= {model: table.belongs_to for table, model in shown_of(entry) if lacks_owner(table, model)}
    for model, name in names.items():
        has_owner = issubclass(model, Read) and name is not None
        if has_owner and private_fields(model) and owner_field(model) is None:
            yield (
                f"{entry.description} responds with {model.__name__}, whose private fields its owner would not see: "
                f"{name} is not the id of a user in it. Give table and variant a field with the id of the owner, or "
                "write `belongs_to = None` in the variant, to show them to superusers only."
            )


def orders_by_private_fields(entry: Entry) -> Iterator[str]:
    """Yield an error for each list or embedded list that is sorted by a private field.

    Its order would tell about the values of others, and the cursors in its links contain the values.
    """
    who = entry.route.permission_by_method[entry.method] if isinstance(entry.route, Operation) else Who.SUPERUSERS
    for place, names, read in private_orders(entry) if who is not Who.SUPERUSERS else ():
        if names and (who is not Who.OWNERS or owner_field(read) is None):
            yield (
                f"{entry.description} would reveal the values of {', '.join(sorted(names))}, a private field, by the "
                f"order in {place}: sort by another field there, or write `Who.SUPERUSERS` in `allowing`."
            )


def embedded_for_others(entries: Sequence[Entry], public: Collection[str], closed: Collection[str]) -> Iterator[str]:
    """Yield an error for each read variant that only superusers may read, and that another route embeds for others.

    A variant of its own, as of a user with two fields, is embedded on purpose.
    """
    permissions = {id(entry): permission_of(entry, public, closed) for entry in entries}
    readers: defaultdict[type[BaseModel], set[Who]] = defaultdict(set)
    for entry in entries:
        for model in own_variants(entry) if entry.method == "GET" else ():
            readers[model].add(permissions[id(entry)])
    closed_variants = {model for model, who in readers.items() if who == {Who.SUPERUSERS}}
    for entry in (entry for entry in entries if permissions[id(entry)] is not Who.SUPERUSERS):
        shown = dict.fromkeys(model for _, model in shown_of(entry))
        for model in (model for model in shown if model in closed_variants and model not in own_variants(entry)):
            yield (
                f"{entry.description} embeds {model.__name__}, which only superusers may read: write `read=` in "
                f"`allowing` of its routes; or embed a variant of its own, with the fields that others may see."
            )


def own_variants(entry: Entry) -> Collection[type[BaseModel]]:
    """Return the read variants that an operation responds with, not those within them."""
    if not isinstance(entry.route, Operation):
        return ()
    given = [part for each in responses_of(entry) for part in shown_values.models_in(each)]
    return [part for part in (*given, *(query.read for query in queries_of(entry))) if issubclass(part, Read)]


def private_orders(entry: Entry) -> Iterator[tuple[str, Collection[str], type[Read]]]:
    """Yield the orders of the lists of a route, and of those that they include.

    Each is the place of its declaration, the private fields in it, and the read variant of the rows.
    """
    for query in query_variants_of(entry.context.dependant):
        fields = {term.removeprefix("-") for term in query.default_sort.split(",")}
        yield f"{query.__name__}.default_sort", fields & privacy.private_fields_of(query.model), query.read
    for query in queries_of(entry):
        for name, variant in query.includes.items():
            relationship = inspect(query.model).relationships[name]
            shown = read_variant(variant, query.model, name)
            yield f"the `order_by` of {relationship}", private_columns_of(relationship), shown


def private_columns_of(relationship: RelationshipProperty[Any]) -> Collection[str]:
    """Return the names of the private columns in the order of a relationship."""
    parts: list[Any] = [part for term in relationship.order_by or () for part in visitors.iterate(term)]
    return {part.name for part in parts if privacy.is_private_column(part)}


def lacks_owner(table: Any, model: type[BaseModel]) -> bool:
    """Return whether a variant does not say `belongs_to`, and the rows of its table belong to rows that have owners."""
    is_silent = not any("belongs_to" in vars(base) for base in model.__mro__ if base is not Read)
    return is_silent and getattr(table, "belongs_to", None) is not None and owner_field(table) is None


def unmarked_fields(table: type[Any], model: type[BaseModel]) -> Iterator[str]:
    """Yield the fields of a response model that show private fields of a table, and are not hidden."""
    marked = private_fields(model) if issubclass(model, Read) else ()
    for name, field in model.model_fields.items():
        for path in (*paths_of(field.validation_alias), (name,)):
            owner, last = followed(table, path)
            if owner is not None and name not in marked and is_private_column(owner, last):
                yield name


def is_private_column(table: type[Any], name: str) -> bool:
    """Return whether an attribute is a private column of a table, or a synonym of one."""
    mapper = inspect(table)
    synonym = mapper.synonyms.get(name)
    column: Any = mapper.columns.get(name if synonym is None else synonym.name)
    return is_private(getattr(column, "info", None))


def followed(table: type[Any], path: Path) -> tuple[type[Any] | None, str]:
    """Return the table to which a path of relationships leads, and the last name; None if it leads to no table."""
    first, *rest = (*attributes_behind(inspect(table), path[0]), *path[1:])
    if not rest:
        return table, first
    related = related_table(table, first)
    return (None, first) if related is None else followed(related, tuple(rest))


def related_table(table: type[Any], name: str) -> Any:
    """Return the table of a relationship; None if there is no relationship of that name."""
    relationship = inspect(table).relationships.get(name)
    return None if relationship is None else relationship.mapper.class_


# --- The tables and models of a route


def shown_of(entry: Entry) -> Iterator[Shown]:
    """Yield the tables whose rows a route shows, each with a response model, and recursively their related tables."""
    seen: set[Shown] = set()
    for table, model in direct_pairs(entry):
        yield from with_related(table, model, seen)


def with_related(table: Any, model: type[BaseModel], seen: set[Shown]) -> Iterator[Shown]:
    if (table, model) in seen:
        return
    seen.add((table, model))
    yield table, model
    for name, field in model.model_fields.items():
        for path in (*paths_of(field.validation_alias), (name,)):
            owner, last = followed(table, path)
            related = None if owner is None else related_table(owner, last)
            for part in () if related is None else shown_values.models_in(field.annotation):
                yield from with_related(related, part, seen)


def direct_pairs(entry: Entry) -> Iterator[Shown]:
    """Yield what a route certainly shows: by its queries, by its return annotation, and by common base classes."""
    for query in queries_of(entry):
        yield query.model, query.read
        yield from included_by(query)
    for entity in returned_entities(entry):
        yield from ((entity, part) for each in responses_of(entry) for part in shown_values.models_in(each))
    for part in response_models(entry):
        related = list(entities_of(part)) if issubclass(part, SQLModel) else []
        if len(related) == 1:
            yield related[0], part


def included_by(query: type[ListQuery]) -> Iterator[Shown]:
    for name, variant in query.includes.items():
        yield related_table(query.model, name), read_variant(variant, query.model, name)


def responses_of(entry: Entry) -> Sequence[Any]:
    """Return the response model of a route, or else the return annotation, and the type of the items of a stream."""
    if not isinstance(entry.route, APIRoute):
        return ()
    model = entry.context.response_model
    return returned_by(entry.handler) if model is None else model, entry.context.stream_item_type


def response_models(entry: Entry) -> Iterator[type[BaseModel]]:
    """Yield the models in the responses of a route, and recursively in their fields."""
    for each in responses_of(entry):
        yield from models_in(each)


def queries_of(entry: Entry) -> Iterator[type[ListQuery]]:
    """Yield the query variants that a route takes."""
    if isinstance(entry.route, APIRoute):
        yield from filter(None, map(query_variant, dependencies_of(entry.context.dependant)))


def returned_entities(entry: Entry) -> Iterator[type[Entity]]:
    """Yield the entities in the return annotation of a handler."""
    for part in shown_values.models_in(returned_by(entry.handler)):
        if issubclass(part, Entity) and hasattr(part, "__table__"):
            yield part
