"""Rows from bodies: `Entity.model_validate(body)` without a second validation of the same values.

This is possible if the body is an argument of the handler that was not changed since its validation, and has immutable
values only, and if every rule of the entity (a type, constraint or setting) is one of the body's class too. An entity
with functions of the application among its rules is validated: a second call may change the value again.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from operator import is_not
from types import NoneType
from typing import Any, cast, get_origin

from pydantic_core import PydanticUndefined
from sqlalchemy import inspect
from sqlalchemy.orm.attributes import manager_of_class
from sqlmodel import SQLModel

from kit.fast.listeners import of_object
from kit.fast.mappings import IMMUTABLE, mapping_of
from kit.models.annotations import calls_function, rules_of
from kit.models.children import nested_bodies
from kit.models.descriptors import settable_descriptors
from kit.models.entities import Body, Entity
from kit.models.kinds import UNIONS, Shape, shape_of_field

USUAL = frozenset((*IMMUTABLE, NoneType))
"""The types of most values. They are immutable, and so are those of their subclasses, such as enums."""
SET = object.__setattr__
"""Sets an attribute without the `__setattr__` of an entity, which pydantic's own state does not need."""
SQLALCHEMY_LISTENERS = 1
"""The number of `init` listeners of SQLAlchemy itself."""
DECORATORS = ("validators", "field_validators", "root_validators", "model_validators")
OTHER_SETTINGS = frozenset({"extra", "table", "registry", "title", "json_schema_extra", "from_attributes"}) | {
    "read_from_attributes", "read_with_orm_mode", "validate_by_name", "ignored_types", "defer_build"
}  # fmt: skip
"""Settings of a model that do not affect the validation of a value."""


class ValidatedBodies:
    """The bodies among the arguments of a handler, each with a copy of its validated values.

    A body with a mutable value, such as a list, is left out: validation copies the list for each row, and a list that
    was changed in place has to be validated again.
    """

    def __init__(self, arguments: Iterable[object]) -> None:
        self._values: dict[int, tuple[Body, Mapping[str, Any]]] = {}
        for argument in arguments:
            for body in argument if isinstance(argument, list) else (argument,):
                if isinstance(body, Body) and are_immutable(vars(body).values()):
                    self._values[id(body)] = body, dict(vars(body))

    def row_of(self, entity: type[Entity], body: object) -> Entity | None:
        """Return the row that `entity.model_validate(body)` would return; None if it has to be called."""
        _, values = self._values.get(id(body), (None, None))
        if values is None or is_changed(vars(body), values):
            return None
        template = template_of(entity, cast("type[Body]", type(body)))
        return None if template is None or has_listeners(entity) else template.row_of(values)


def are_immutable(values: Collection[Any]) -> bool:
    return USUAL.issuperset(map(type, values)) or all(isinstance(value, (*IMMUTABLE, NoneType)) for value in values)


def is_changed(values: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Return whether a value was replaced, also by one that is equal but has another type, such as `True` for `1`."""
    return values != before or any(map(is_not, values.values(), before.values()))


@dataclass(frozen=True)
class RowTemplate:
    """What all rows of an entity from bodies of one class have in common."""

    entity: type[Entity]
    manager: Any
    """SQLAlchemy's `ClassManager`."""
    fields: Mapping[str, Any]
    """All fields in their order, with their constant defaults."""
    factories: Sequence[tuple[str, Callable[[], Any]]]
    """The fields with a default factory, which is called for each row."""
    of_body: frozenset[str]
    """The fields whose value is in the body."""
    has_other_fields: bool
    """Whether the body has fields that the entity has not."""

    def row_of(self, values: Mapping[str, Any]) -> Entity:
        """Return a transient row as the constructor of the entity makes it, with the values of a body."""
        row = object.__new__(self.entity)
        content = row.__dict__
        content["_sa_instance_state"] = self.manager._state_constructor(row, self.manager)
        content.update(self.fields)
        content.update({name: values[name] for name in self.of_body} if self.has_other_fields else values)
        for name, factory in self.factories:
            content[name] = factory()
        SET(row, "__pydantic_fields_set__", set(self.of_body))  # these three as SQLModel's `__new__`
        SET(row, "__pydantic_extra__", None)
        SET(row, "__pydantic_private__", None)
        return row


@cache
def template_of(entity: type[Entity], body: type[Body]) -> RowTemplate | None:
    """Return the template of rows of an entity; None if bodies of this class need a second validation."""
    defaults = defaults_of(entity, body)
    if defaults is None:
        return None
    constants = {name: field.default for name, field in entity.model_fields.items() if is_constant(field)}
    of_body = frozenset(name for name, factory in defaults.items() if factory is None)
    factories = [(name, make) for name, make in defaults.items() if make is not None and name not in constants]
    fields = {name: constants.get(name) for name in defaults}
    has_other_fields = not of_body >= body.model_fields.keys()
    return RowTemplate(entity, manager_of_class(entity), fields, factories, of_body, has_other_fields)


Defaults = Mapping[str, Callable[[], Any] | None]
"""The fields of an entity, each with the factory of its default, or None if the value is in the body."""


def defaults_of(entity: type[Entity], body: type[Body]) -> Defaults | None:
    """Return the fields of an entity with their defaults; None if bodies of this class need a second validation."""
    if mapping_of(entity) is None or inspect(entity).validators or not has_same_rules(entity, body):
        return None
    if sets_others(entity, body):
        return None
    defaults: dict[str, Callable[[], Any] | None] = {}
    for name, field in entity.model_fields.items():
        other = body.model_fields.get(name)
        if other is not None and comparable(*rules_of(field)) != comparable(*rules_of(other)):
            return None
        if other is None and (field.is_required() or field.validate_default):
            return None
        if other is not None and other.default is None and not shape_of_field(other).is_nullable:
            return None  # the default is not validated
        defaults[name] = None if other is not None else default_factory(field)
    return defaults


def sets_others(entity: type[Entity], body: type[Body]) -> bool:
    """Return whether fields of a body become related rows, or set descriptors, of the entity."""
    has_related = not nested_bodies(body).keys() <= entity.model_fields.keys()
    return has_related or not settable_descriptors(entity).isdisjoint(body.model_fields)


def may_change_again(shape: Shape) -> bool:
    """Return whether a second validation may change a valid value: the kit does not know each step of it."""
    return shape.kind is None or get_origin(shape.plain) in UNIONS or any(map(calls_function, shape.metadata))


def comparable(annotation: Any, rules: Iterable[Any]) -> tuple[Any, list[Any]]:
    """Return a form of the rules that can be compared by `==`: some of pydantic's objects compare by identity."""
    return annotation, [(type(rule), vars(rule)) if is_of_pydantic(rule) else rule for rule in rules]


def is_of_pydantic(rule: object) -> bool:
    return type(rule).__module__.startswith("pydantic.") and hasattr(rule, "__dict__")


def default_factory(field: Any) -> Callable[[], Any]:
    """Return a function that returns the default of a field: for each row a deep copy if it is mutable, as pydantic."""
    if is_constant(field):
        return lambda: field.default
    factory: Any = field.default_factory
    made: Callable[[], Any] = partial(deepcopy, field.default) if factory in (None, PydanticUndefined) else factory
    return made


def is_constant(field: Any) -> bool:
    """Return whether rows may share the default of a field."""
    return field.default_factory in (None, PydanticUndefined) and is_hashable(field.default)


def is_hashable(value: object) -> bool:
    """Return whether a value can be hashed. pydantic copies the defaults that cannot, such as a tuple with a list."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def has_same_rules(entity: type[Entity], body: type[Body]) -> bool:
    """Return whether a body has all settings of the entity, which has no validators and constructs rows as usual."""
    ours = entity.__pydantic_decorators__
    shapes = [shape_of_field(field) for name, field in entity.model_fields.items() if name in body.model_fields]
    has_validators = any(getattr(ours, kind) for kind in DECORATORS) or any(map(may_change_again, shapes))
    settings = {*entity.model_config, *body.model_config} - OTHER_SETTINGS
    is_configured = any(entity.model_config.get(name) != body.model_config.get(name) for name in settings)
    has_plain_init = manager_of_class(entity).original_init is Entity.__init__
    has_plain_fields = entity.__setattr__ is Entity.__setattr__ and entity.__pydantic_post_init__ is None
    has_plain_new = entity.__new__ is SQLModel.__new__
    has_plain_validate = cast("Any", entity.model_validate).__func__ is cast("Any", Entity.model_validate).__func__
    is_plain = has_plain_init and has_plain_new and has_plain_validate and has_plain_fields
    return not has_validators and not is_configured and is_plain


def has_listeners(entity: type[Entity]) -> bool:
    """Return whether an entity has listeners to `init`, or to the setting of an attribute."""
    return sum(map(len, listeners_of(entity))) > SQLALCHEMY_LISTENERS


@cache
def listeners_of(entity: type[Entity]) -> list[Collection[Any]]:
    """Return the collections of these listeners. Listeners that are added later enter the same collections."""
    attributes = [getattr(entity, attribute.key) for attribute in inspect(entity).column_attrs]
    found = [*of_object(manager_of_class(entity).dispatch, "init")]
    return found + [part for attribute in attributes for part in of_object(attribute.dispatch, "set")]
