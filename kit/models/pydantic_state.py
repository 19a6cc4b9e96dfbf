"""Pydantic's state of a row: keeps private attributes, and `validate_assignment`, compatible with SQLAlchemy."""

from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined


def keep_pydantic_state(entity: type[BaseModel]) -> None:
    """Change an entity so that private attributes and `validate_assignment` work for rows that SQLAlchemy loads.

    SQLAlchemy does not call `__init__` for them. Raises a TypeError for a default that cannot be set.
    """
    if entity.__private_attributes__:
        set_private_attributes(entity)
    if entity.model_config.get("validate_assignment"):
        keep_dictionary(entity)


def set_private_attributes(entity: Any) -> None:
    """Set the defaults of private attributes in `__new__`, the only method that SQLAlchemy calls for a loaded row."""
    make, attributes = entity.__new__, entity.__private_attributes__
    for name, attribute in attributes.items():
        if attribute.default_factory_takes_validated_data:
            raise TypeError(
                f"{entity.__name__}.{name} has a `default_factory` that takes the other values, which a row does not "
                "have before it is loaded: write a factory without parameters, or a property."
            )

    def new(cls: Any, *values: Any, **fields: Any) -> Any:
        row = make(cls, *values, **fields)
        defaults = {name: attribute.get_default(call_default_factory=True) for name, attribute in attributes.items()}
        given = {name: value for name, value in defaults.items() if value is not PydanticUndefined}
        object.__setattr__(row, "__pydantic_private__", given)
        return row

    entity.__new__ = staticmethod(new)


def keep_dictionary(entity: Any) -> None:
    """Let assignments set the validated values as attributes of SQLAlchemy, in the same `__dict__`.

    With `validate_assignment`, pydantic replaces the `__dict__` of a row. SQLAlchemy keeps a reference to it during a
    flush, and would set the next version in the old dictionary. If a value is not valid, the row stays as it is.
    """
    set_value = entity.__setattr__

    def set_validated(row: Any, name: str, value: Any) -> None:
        values = row.__dict__
        has_no_id = name == "id" and value is None
        if "_sa_instance_state" not in values or name not in entity.model_fields or has_no_id:
            set_value(row, name, value)
            return
        before = dict(values)
        BaseModel.__setattr__(row, name, value)
        validated = dict(row.__dict__)
        values.clear()
        values.update(before)
        object.__setattr__(row, "__dict__", values)
        for key in entity.model_fields:
            if key in validated and (key == name or validated[key] is not before.get(key)):
                set_value(row, key, validated[key])

    entity.__setattr__ = set_validated
