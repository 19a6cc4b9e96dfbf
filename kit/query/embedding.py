"""How is a related thing shown: by a read variant, and loaded in one query for a whole page."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, get_args

from sqlalchemy import inspect, select
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.interfaces import ORMOption
from sqlmodel import SQLModel, col

from kit.auth.privacy import hidden
from kit.database.reading import ReadSession
from kit.fast.rows import among
from kit.models.entities import Entity, Read


def variant(name: str) -> type[Read]:
    """The read variant of this name; by name, because a parent does not import its children."""
    return next(variant for variant in every(Read) if variant.__name__ == name)


def every(parent: type[Read]) -> Iterator[type[Read]]:
    for child in parent.__subclasses__():
        yield from (child, *every(child))


@cache
def shape(read: type[SQLModel]) -> Sequence[tuple[str, type[SQLModel] | None]]:
    """The names of a variant's fields, each with the variant of what is embedded there."""
    return [(name, inner_variant(field.annotation)) for name, field in read.model_fields.items()]


def inner_variant(annotation: Any) -> type[SQLModel] | None:
    kinds = get_args(annotation) or (annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, SQLModel)), None)


@cache
def showing(model: type[Entity], relationship: str, read: type[Read]) -> ORMOption:
    """For one thing: load what a variant shows of a related one, and nothing else of it."""
    target, _, _ = joined(model, relationship)
    columns = [getattr(target, name) for name in read.model_fields]
    return selectinload(getattr(model, relationship)).load_only(*columns, raiseload=True)


@cache
def joined(model: type[Entity], relationship: str) -> tuple[type[Entity], str, str]:
    """To what a relationship leads, the field on this side, and the one on the other that has the same value."""
    way = inspect(model).relationships[relationship]
    here, there = next(iter(way.local_remote_pairs or ()))
    return way.mapper.class_, str(here.key), str(there.key)


async def embed(
    session: ReadSession, model: type[Entity], name: str, read: type[SQLModel], rows: Sequence[dict[str, Any]]
) -> None:
    """Put what a variant shows of the related things into these rows, under the relationship's name."""
    target, here, there = joined(model, name)
    fields = [field for field in read.model_fields if field not in hidden(target)]
    columns = [getattr(target, field) for field in (there, *fields)]
    values = list(dict.fromkeys(row[here] for row in rows if row[here] is not None))
    related = defaultdict(list)
    if values:
        wanted = select(*columns).where(among(getattr(target, there), values)).order_by(col(target.id))
        for key, *shown in await session.fetch(wanted):
            related[key].append(dict(zip(fields, shown, strict=True)))
    is_list = inspect(model).relationships[name].uselist
    for row in rows:
        found = related[row[here]]
        row[name] = found if is_list else next(iter(found), None)
