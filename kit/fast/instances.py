"""What is a row as a thing of its kind, when no session of the ORM has loaded or stored it."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import inspect
from sqlalchemy.orm.attributes import instance_state, manager_of_class

from kit.models.entities import Entity

E = TypeVar("E", bound=Entity)


def detached(entity: type[E], values: Mapping[str, Any]) -> E:
    """The thing with all these values, as a session that is over would have left it."""
    made = made_by(entity)
    thing: E = made.new()
    thing.__dict__.update(values)
    instance_state(thing).key = made.identify((values["id"],))
    return thing


class Made(NamedTuple):
    """What makes a thing of a kind, and the key by which sessions know it."""

    new: Callable[[], Any]
    identify: Callable[[tuple[Any, ...]], Any]


@cache
def made_by(entity: type[Entity]) -> Made:
    return Made(manager_of_class(entity).new_instance, inspect(entity).identity_key_from_primary_key)
