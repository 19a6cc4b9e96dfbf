"""Checks of names and annotations when a class is defined: declarations that cannot work raise a TypeError."""

from collections.abc import Iterable
from enum import Flag
from typing import Any, get_origin

from pydantic import BaseModel
from sqlalchemy.orm import Mapped

from kit.models.annotations import has_explicit_type
from kit.models.kinds import shape_of_field

METHODS_OF_DICTIONARIES = frozenset(dir(dict))
OF_DECLARATION = frozenset({"cls", "registry"})
"""Names that are not attributes: `cls` is the parameter of `__new__`, and SQLAlchemy takes `registry` from a table."""


def is_reserved(name: str, base: type[BaseModel]) -> bool:
    """Return whether a field or relationship of a subclass of `base` cannot have this name."""
    return name in OF_DECLARATION or hasattr(base, name)


def refuse_reserved(model: type[BaseModel], base: type[BaseModel], relationships: Iterable[str] = ()) -> None:
    """Raise a TypeError for a field or relationship with the name of an attribute of the base class."""
    for name in (*model.model_fields, *relationships):
        if name not in base.model_fields and is_reserved(name, base):
            raise TypeError(
                f"{model.__name__}.{name} would hide `{base.__name__}.{name}`, which the service needs: "
                f"give it another name, such as `{name}_value`."
            )


def refuse_parent_table(entity: type[BaseModel]) -> None:
    """Raise a TypeError for a table that extends another table, which SQLModel cannot map."""
    for parent in entity.__mro__[1:]:
        if hasattr(parent, "__table__"):
            raise TypeError(
                f"{entity.__name__} extends the table {parent.__name__}: put the fields that they share into a base "
                f"without `table=True`, as `{parent.__name__}Base`, or refer to {parent.__name__} by a foreign key."
            )


def refuse_mapped(entity: type[BaseModel]) -> None:
    """Raise a TypeError for a column annotated with SQLAlchemy's `Mapped`: it would not be a field of the model."""
    for name, annotation in vars(entity).get("__annotations__", {}).items():
        if get_origin(annotation) is Mapped or str(annotation).startswith("Mapped["):
            raise TypeError(
                f"{entity.__name__}.{name} is annotated with Mapped: write `{name}: int = Field()`, or "
                f"`{name}: list[...] = Relationship()`, with the type that is now in the brackets."
            )


def refuse_read_only(body: type[BaseModel], read_only: Iterable[str]) -> None:
    """Raise a TypeError for a field of a body that is among its `read_only` names, which are ignored."""
    for name in read_only:
        if name in body.model_fields:
            raise TypeError(
                f"{body.__name__}.{name} would be ignored, because `read_only` has {name!r}, which the service sets: "
                f"give it another name, or declare `read_only` without it."
            )


def refuse_redefined(entity: type[BaseModel], base: type[BaseModel]) -> None:
    """Raise a TypeError if an entity declares a field of `base`, which the service sets, with another type."""
    for name, field in base.model_fields.items():
        if entity.model_fields[name].annotation != field.annotation:
            raise TypeError(
                f"{entity.__name__}.{name} is maintained by the service, with another type: "
                f"give your field another name, such as `{name}_value`."
            )


def refuse_required_id(entity: type[BaseModel]) -> None:
    """Raise a TypeError for an id without a default: a row that is made from a body has no id yet."""
    if entity.model_fields["id"].is_required():
        raise TypeError(
            f"{entity.__name__}.id has no default, and bodies have no id: leave the field out if the database is "
            "to number the rows, give it a `default_factory`, or write `default=None` if the handler sets it."
        )


def refuse_frozen(entity: type[BaseModel]) -> None:
    """Raise a TypeError for a frozen table, or a frozen field of a table: SQLAlchemy sets the attributes of rows."""
    names = [f".{name}" for name, field in entity.model_fields.items() if field.frozen]
    if entity.model_config.get("frozen") or names:
        raise TypeError(
            f"{entity.__name__}{(names or [''])[0]} is frozen, but SQLAlchemy sets the attributes of rows: leave "
            "`frozen=True` out of the table and its base, or give it to the bodies and read variants only."
        )


def refuse_factories_with_data(entity: type[BaseModel]) -> None:
    """Raise a TypeError for a default that is made of other values, which the constructor of SQLModel cannot call."""
    for name, field in entity.model_fields.items():
        if field.default_factory_takes_validated_data:
            raise TypeError(
                f"{entity.__name__}.{name} has a `default_factory` that takes the other values, which SQLModel does "
                f"not pass to it: leave it to the body, and declare `{name}` in the table with a default of its own, "
                "or set it by a `@model_validator`."
            )


def refuse_flags(entity: type[BaseModel]) -> None:
    """Raise a TypeError for a field of a `Flag` without `sa_type`: its CHECK would refuse combinations of members."""
    for name, field in entity.model_fields.items():
        plain = shape_of_field(field).plain
        if isinstance(plain, type) and issubclass(plain, Flag) and not has_explicit_type(field):
            raise TypeError(
                f"{entity.__name__}.{name} is a Flag, whose combinations are not members: write an `int` with "
                "`ge=0` and `le=…`, a `bool` for each member, or `sa_type=Integer` for a column without a CHECK."
            )


def refuse_column_prefix(entity: Any) -> None:
    """Raise a TypeError for `column_prefix` in `__mapper_args__`: attributes must have the names of the fields."""
    if entity.__mapper_args__.get("column_prefix"):
        raise TypeError(
            f"{entity.__name__} has a `column_prefix`, by which its fields would not be its columns: write the names "
            'in the database into the fields, as `Field(sa_column_kwargs={"name": "power"})`.'
        )


class Values(dict[str, Any]):
    """A dictionary without the methods that have the name of a relationship.

    SQLModel takes related rows from the attributes of the object that it validates. For a relationship `items`, it
    would get the method `dict.items`.
    """

    def __init__(self, values: Any, relationships: Iterable[str]) -> None:
        super().__init__(values)
        self.__dict__["hidden"] = METHODS_OF_DICTIONARIES.intersection(relationships)

    def __getattribute__(self, name: str) -> Any:
        if name != "__dict__" and name in self.__dict__["hidden"]:
            raise AttributeError(name)
        return super().__getattribute__(name)
