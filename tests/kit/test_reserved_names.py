"""Reserved names: a field or relationship works under its name, or is refused when its class is defined."""

import warnings
from itertools import count
from typing import Any

import pytest
from pydantic import model_validator
from sqlalchemy import MetaData, inspect
from sqlalchemy.orm import Mapped, declared_attr, mapped_column, registry
from sqlmodel import Field, Relationship, SQLModel

from kit import BIGINT, Body, Changes, Entity, ListQuery, Name, Read, Stamped

pytestmark = pytest.mark.no_fast_path

NUMBERS = count()
METACLASS: Any = type(Entity)


class NamedEntity(Entity, registry=registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))):
    """Tables that no migration knows."""


class Basket(NamedEntity, table=True):
    """A relationship with the name of a method of dictionaries."""

    name: str
    items: list["Fruit"] = Relationship(back_populates="values")

    @model_validator(mode="before")
    @classmethod
    def keep(cls, values: Any) -> Any:
        """Return a validator that reads the values, as those of resources do."""
        return dict(values) if isinstance(values, dict) else values


class Fruit(NamedEntity, table=True):
    name: str
    basket_id: int | None = Field(default=None, foreign_key="basket.id", sa_type=BIGINT)
    values: Basket | None = Relationship(back_populates="items")


def resource_with(name: str, annotation: Any = Name, **options: Any) -> Any:
    """Return the table, the bodies, the read variant and the query of a resource with this field."""
    number = next(NUMBERS)

    def kind(prefix: str, *bases: Any, **content: Any) -> Any:
        is_table = {"table": True} if NamedEntity in bases else {}
        return METACLASS(f"{prefix}{number}", bases, {"__module__": __name__, **content}, **is_table)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic warns of some of the names
        base = kind("Base", SQLModel, __annotations__={name: annotation}, **{name: Field(**options)})
        create = kind("Create", base, Body)
        table, read = kind("Table", base, NamedEntity), kind("Read", Stamped, base, Read)
    query = type(f"Query{number}", (ListQuery,), {"model": table, "read": read})
    return table, create, kind("Update", create, Changes), read, query


def test_a_relationship_may_have_the_name_of_a_method_of_dictionaries() -> None:
    basket = Basket.model_validate({"name": "b", "items": [{"name": "apple"}]})
    assert [fruit.name for fruit in basket.items] == ["apple"]
    assert Basket.model_validate({"name": "b"}, update={"name": "c"}).name == "c"
    assert Basket.model_validate({"name": "b"}).items == []
    fruit = Fruit.model_validate({"name": "pear", "values": basket})
    assert basket.items[-1] is fruit
    assert Fruit(name="fig").values is None


@pytest.mark.parametrize(
    "name", ["items", "values", "keys", "order", "group", "user", "type", "self", "data", "update"]
)
def test_a_field_may_have_any_other_name(name: str) -> None:
    table, create, update, read, query = resource_with(name, max_length=20, index=True)
    for body in (create, update):
        row = table.model_validate(body.model_validate({name: "abc"}))
        assert read.model_validate(table(id=1, **{name: "abc"})).model_dump()[name] == "abc"
        assert getattr(row.sqlmodel_update({name: "x"}), name) == "x"
    assert {name, f"{name}__in"} <= query.parameters.keys()


@pytest.mark.parametrize(
    "name", ["copy", "json", "schema", "dict", "reserved", "belongs_to", "cls", "read_only", "select", "registry"]
)
def test_a_field_that_would_hide_an_attribute_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"\d\.{name} would hide .* give it another name, such as `{name}_value`"):
        resource_with(name, max_length=20)


def test_a_relationship_that_would_hide_an_attribute_is_refused() -> None:
    content = {"__module__": __name__, "__annotations__": {"copy": "Basket"}, "copy": Relationship()}
    with pytest.raises(TypeError, match=r"Hidden\.copy would hide `Entity.copy`"):
        METACLASS("Hidden", (NamedEntity,), content, table=True)


@pytest.mark.parametrize("name", ["limit", "offset", "cursor", "sort", "count", "fields"])
def test_a_filter_with_the_name_of_another_parameter_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"Query\d+ would have two parameters '{name}'"):
        resource_with(name, max_length=20, index=True)
    assert name in resource_with(name, max_length=20)[-1].parameters


@pytest.mark.parametrize("name", ["id", "version", "created_at", "updated_at"])
def test_a_field_that_every_body_ignores_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"Create.*{name} would be ignored, because `read_only` has '{name}'"):
        resource_with(name, max_length=20)


def test_a_column_of_the_service_keeps_its_type() -> None:
    content = {"__module__": __name__, "__annotations__": {"version": str}, "version": Field(max_length=9)}
    with pytest.raises(TypeError, match=r"Release\.version is maintained by the service, with another type"):
        METACLASS("Release", (NamedEntity,), content, table=True)


@pytest.mark.parametrize("field", ["items", "items_next"])
def test_an_embedded_relationship_with_the_name_of_a_field_is_refused(field: str) -> None:
    read = METACLASS("BasketRead", (Read,), {"__module__": __name__, "__annotations__": {field: str}})
    with pytest.raises(TypeError, match="includes has 'items', but BasketRead has a field of that name"):
        type("BasketQuery", (ListQuery,), {"model": Basket, "read": read, "includes": {"items": "FruitRead"}})


def test_a_table_does_not_extend_another_table() -> None:
    with pytest.raises(TypeError, match=r"Melon extends the table Fruit: put the fields .* into a base"):
        METACLASS("Melon", (Fruit,), {"__module__": __name__, "__tablename__": "fruit"}, table=True)


def test_the_primary_key_is_the_id_alone() -> None:
    content = {"__module__": __name__, "__annotations__": {"place": int}, "place": Field(primary_key=True)}
    with pytest.raises(TypeError, match=r"Stall has more columns .*: write `UniqueConstraint\('place'\)`"):
        METACLASS("Stall", (NamedEntity,), content, table=True)


@pytest.mark.parametrize("arguments", [{"confirm_deleted_rows": False}, declared_attr.directive(lambda cls: {})])
def test_a_table_with_mapper_arguments_keeps_its_version(arguments: Any) -> None:
    mixin = type("Mixin", (), {"__mapper_args__": arguments})
    for base in (NamedEntity, mixin):
        bases = (NamedEntity,) if base is NamedEntity else (METACLASS("Mixed", (mixin, NamedEntity), {}),)
        content = {"__module__": __name__} | ({"__mapper_args__": arguments} if base is NamedEntity else {})
        table = METACLASS(f"Counter{next(NUMBERS)}", bases, content, table=True)
        assert inspect(table).version_id_col is table.__table__.c.version


@pytest.mark.parametrize("annotation", [Mapped[int], "Mapped[int]"])
def test_a_column_with_the_annotation_of_sqlalchemy_is_refused(annotation: Any) -> None:
    content = {"__module__": __name__, "__annotations__": {"size": annotation}, "size": mapped_column()}
    with pytest.raises(TypeError, match=r"Crate\.size is annotated with Mapped: write `size: int = Field\(\)`"):
        METACLASS("Crate", (NamedEntity,), content, table=True)
