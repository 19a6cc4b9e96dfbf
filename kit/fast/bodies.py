"""Rows of bodies: `Entity.model_validate` of a body that was validated a moment ago, by the same fields.

A body qualifies if a request brought it and nobody has changed it since, and if the table has no field, validator or
listener that the body's class has not.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from copy import copy
from functools import cache, partial
from typing import Any, cast

from pydantic_core import PydanticUndefined
from sqlalchemy import inspect
from sqlalchemy.orm.attributes import manager_of_class
from sqlmodel import SQLModel

from kit.fast.listeners import of_object
from kit.fast.mappings import mapping_of
from kit.models.entities import Body, Entity
from kit.models.fields import rules_of

OF_SQLALCHEMY = 1
"""Listeners to `init` that SQLAlchemy itself has."""
DECORATORS = ("validators", "field_validators", "root_validators", "model_validators")
OTHER_SETTINGS = frozenset({"extra", "table", "registry", "title", "json_schema_extra", "from_attributes"}) | {
    "read_from_attributes", "read_with_orm_mode"
}  # fmt: skip
"""Settings of a model that change nothing in how a value is validated."""


class ValidatedBodies:
    """The bodies that a request brought, each with the values that were validated."""

    def __init__(self, arguments: Iterable[object]) -> None:
        self._values: dict[int, tuple[Body, Mapping[str, Any]]] = {}
        for argument in arguments:
            for body in argument if isinstance(argument, list) else (argument,):
                if isinstance(body, Body):
                    self._values[id(body)] = body, dict(vars(body))

    def row_of(self, entity: type[Entity], body: object) -> Entity | None:
        """The row that `entity.model_validate(body)` would make; None if that has to be done."""
        _, values = self._values.get(id(body), (None, None))
        if values is None or vars(body) != values:
            return None
        makers = makers_of(entity, cast("type[Body]", type(body)))
        if makers is None or is_heard(entity):
            return None
        return made(entity, makers, values)


def made(entity: type[Entity], makers: Mapping[str, Callable[[], Any] | None], values: Mapping[str, Any]) -> Entity:
    mapping = mapping_of(entity)
    assert mapping is not None
    row: Entity = entity.__new__(entity)
    content = row.__dict__
    content["_sa_instance_state"] = mapping.manager._state_constructor(row, mapping.manager)
    for name, make in makers.items():
        content[name] = values[name] if make is None else make()
    object.__setattr__(row, "__pydantic_fields_set__", makers.keys() & values.keys())
    return row


@cache
def makers_of(entity: type[Entity], body: type[Body]) -> Mapping[str, Callable[[], Any] | None] | None:
    """The fields of a table, each with what makes its default if the body has no such field; None for no shortcut."""
    if mapping_of(entity) is None or inspect(entity).validators or not has_same_rules(entity, body):
        return None
    makers: dict[str, Callable[[], Any] | None] = {}
    for name, field in entity.model_fields.items():
        other = body.model_fields.get(name)
        if other is not None and rules_of(field) != rules_of(other):
            return None
        if other is None and field.is_required():
            return None
        makers[name] = None if other is not None else default_of(field)
    return makers


def default_of(field: Any) -> Callable[[], Any]:
    factory: Any = field.default_factory
    return factory if factory not in (None, PydanticUndefined) else partial(copy, field.default)


def has_same_rules(entity: type[Entity], body: type[Body]) -> bool:
    """Whether a table is validated by nothing but what the class of the body is validated by."""
    ours, theirs = entity.__pydantic_decorators__, body.__pydantic_decorators__
    known = all(getattr(theirs, kind).keys() >= getattr(ours, kind).keys() for kind in DECORATORS)
    settings = {*entity.model_config, *body.model_config} - OTHER_SETTINGS
    is_configured = any(entity.model_config.get(name) != body.model_config.get(name) for name in settings)
    is_made_plainly = manager_of_class(entity).original_init is SQLModel.__init__
    is_validated_plainly = cast("Any", entity.model_validate).__func__ is cast("Any", Entity.model_validate).__func__
    has_factory_with_data = any(getattr(field, "default_factory_takes_validated_data", False)
                                for field in entity.model_fields.values())  # fmt: skip
    return known and not is_configured and is_made_plainly and is_validated_plainly and not has_factory_with_data


def is_heard(entity: type[Entity]) -> bool:
    """Whether somebody listens to rows that are made, or to attributes that are set."""
    return sum(map(len, listeners_of(entity))) > OF_SQLALCHEMY


@cache
def listeners_of(entity: type[Entity]) -> list[Collection[Any]]:
    """The collections of those who listen, now and later."""
    attributes = [getattr(entity, attribute.key) for attribute in inspect(entity).column_attrs]
    found = [*of_object(manager_of_class(entity).dispatch, "init")]
    return found + [part for attribute in attributes for part in of_object(attribute.dispatch, "set")]
