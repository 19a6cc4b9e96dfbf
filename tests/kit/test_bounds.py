"""Bounds of fields: all of them hold, wherever they are written, or they are refused when the class is defined."""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import count
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import pydantic
import pytest
from annotated_types import Interval, Len, MultipleOf
from pydantic import BaseModel, EmailStr, StringConstraints, ValidationError
from sqlalchemy import MetaData
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from typing_extensions import TypeAliasType

from kit import Body, Changes, Database, Entity, Money, Name, Read, Reference, Slug, Text
from kit.auth.owners import names_of_links
from kit.models.type_parts import without_names
from tests.engines import url_for
from tests.kit.test_said_once import checks, table_of

pytestmark = pytest.mark.no_fast_path

NUMBERS = count()
METACLASS: Any = type(Entity)
given = pydantic.Field


class Shade(StrEnum):
    DARK = "dark"


class Point(BaseModel):
    x: Annotated[int, given(max_length=3)]


class Node(BaseModel):
    """A model that contains itself."""

    children: list["Node"] = []


def body_of(annotation: Any, base: Any = Body, **options: Any) -> Any:
    """Return a body with a field `value`."""
    content = {"__annotations__": {"value": annotation}, "value": Field(**options), "__module__": __name__}
    return METACLASS(f"Bounded{next(NUMBERS)}", (base,), content)


def accepts(body: Any, value: Any) -> bool:
    try:
        body.model_validate({"value": value})
    except ValidationError:
        return False
    return True


def schema_of(body: Any) -> Any:
    return body.model_json_schema()["properties"]["value"]


@pytest.mark.parametrize(
    ("annotation", "options", "valid", "invalid", "shown"),
    [
        (Name, {"min_length": 3}, "abc", "ab", {"minLength": 3}),
        (Slug, {"min_length": 3}, "abc", "ab", {"minLength": 3}),
        (Annotated[Text, given(min_length=1)], {}, "a", "", {"minLength": 1}),
        (Annotated[Text, given(min_length=2)], {"min_length": 1}, "ab", "a", {"minLength": 2}),
        (Annotated[Text, given(max_length=5)], {"max_length": 2}, "ab", "abc", {"maxLength": 2}),
        (Annotated[Text, given(max_length=2)], {"max_length": 5}, "ab", "abc", {"maxLength": 2}),
        (Annotated[str, Len(1, 3)], {"max_length": 2}, "ab", "abc", {"minLength": 1, "maxLength": 2}),
        (Annotated[str, StringConstraints(max_length=2, to_upper=True)], {}, "ab", "abc", {"maxLength": 2}),
        (Annotated[Slug, given(pattern="^a")], {}, "ab", "b", {"allOf": [{"pattern": "^a"}]}),
        (Annotated[Slug, given(pattern="^a")], {}, "ab", "a_", {"pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"}),
        (Annotated[Name, given(pattern="^[ a]+$")], {}, "a", " ", {"pattern": "^[ a]+$"}),
        (Annotated[EmailStr, given(pattern="^a")], {}, "a@b.de", "b@b.de", {"allOf": [{"pattern": "^a"}]}),
        (Name, {"schema_extra": {"pattern": "^a"}}, "ab", "b", {"pattern": "^a"}),
        (Reference, {"ge": 5}, 5, 4, {"minimum": 5}),
        (Reference, {"ge": -5}, 1, 0, {"minimum": 1}),
        (Annotated[int, Interval(ge=1, le=9)], {"le": 3}, 3, 4, {"minimum": 1, "maximum": 3}),
        (Annotated[int, given(multiple_of=4)], {"multiple_of": 6}, 12, 6, {"multipleOf": 12}),
        (Annotated[float, MultipleOf(0.5)], {"multiple_of": 0.75}, 1.5, 0.5, {"multipleOf": 1.5}),
        (date, {"ge": date(2020, 1, 1)}, "2020-01-01", "2019-12-31", {"formatMinimum": "2020-01-01"}),
        (time, {"lt": time(18)}, "17:59", "18:00", {"formatExclusiveMaximum": "18:00:00"}),
        (timedelta, {"gt": timedelta(0)}, "PT1S", "PT0S", {"formatExclusiveMinimum": "PT0S"}),
        (
            datetime,
            {"schema_extra": {"le": datetime(2026, 1, 1, tzinfo=UTC)}},
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:01Z",
            {"formatMaximum": "2026-01-01T00:00:00Z"},
        ),
        (list[str], {"min_length": 1}, ["a"], [], {"minItems": 1}),
        (Annotated[list[str], given(max_length=3)], {"max_length": 1}, ["a"], ["a", "b"], {"maxItems": 1}),
        (Annotated[list[str], given(max_length=1)], {"max_length": 3}, ["a"], ["a", "b"], {"maxItems": 1}),
        (dict[str, int], {"max_length": 1}, {"a": 1}, {"a": 1, "b": 2}, {"maxProperties": 1}),
    ],
)
def test_the_narrowest_bound_holds_and_is_shown(
    annotation: Any, options: Any, valid: Any, invalid: Any, shown: Any
) -> None:
    for body in (body_of(annotation, **options), body_of(annotation, base=Changes, **options)):
        assert accepts(body, valid)
        assert not accepts(body, invalid)
        assert schema_of(body).items() >= shown.items()


NUMBER = TypeAliasType("NUMBER", int)
SMALL = TypeAliasType("SMALL", Annotated[NUMBER, given(le=9)])
T = TypeVar("T")
MAYBE = TypeAliasType("MAYBE", T | None, type_params=(T,))


@pytest.mark.parametrize(
    ("named", "plain", "options", "invalid"),
    [
        (NUMBER, int, {}, "1"),
        (SMALL, Annotated[int, given(le=9)], {"ge": 1}, 10),
        (MAYBE[SMALL], Annotated[int, given(le=9)] | None, {}, True),
        (SMALL | None, Annotated[int, given(le=9)] | None, {}, 10),
        (list[SMALL], list[Annotated[int, given(le=9)]], {"max_length": 3}, [1.5]),
        (Annotated[MAYBE[Name], given(max_length=3)], Annotated[Name | None, given(max_length=3)], {}, " "),
    ],
    ids=str,
)
def test_a_name_of_a_type_stands_for_that_type(named: Any, plain: Any, options: Any, invalid: Any) -> None:
    body = body_of(named, **options)
    assert schema_of(body) == schema_of(body_of(plain, **options))
    assert not accepts(body, invalid)
    tables = [table_of(annotation, **options) for annotation in (named, plain)]
    assert len({str(table.c.value.type) for table in tables}) == len({table.c.value.nullable for table in tables}) == 1
    assert checks(tables[0]) == checks(tables[1])


def test_a_name_within_its_own_type_remains() -> None:
    class Tree:
        """A name of a type, as `type Tree = list[Tree] | list[int]` makes it from Python 3.12 on."""

        __type_params__ = ()

        @property
        def __value__(self) -> Any:
            return list[self] | list[NUMBER]  # type: ignore[valid-type]

    tree = Tree()
    assert without_names(tree) == list[tree] | list[int]  # type: ignore[valid-type]


@pytest.mark.parametrize(
    ("annotation", "options", "valid", "invalid"),
    [
        (Money, {"ge": 1}, "1", "0.99"),
        (Money, {"le": 100}, "100", "100.01"),
        (Money, {"max_digits": 5}, "123.45", "1234.5"),
        (Money, {"decimal_places": 1}, "12345678.1", "1.25"),
        (Money, {"decimal_places": 1}, "1.1", "123456789.1"),
        (Annotated[Decimal, given(max_digits=5)], {"decimal_places": 2}, "123.45", "1234.5"),
        (Decimal, {"max_digits": 2, "decimal_places": 3}, "0.02", "1"),
        (Annotated[Decimal, MultipleOf(Decimal("0.05"))], {"decimal_places": 2}, "1.05", "1.03"),
        (Annotated[Text, given(min_length=3)] | None, {"max_length": 5}, None, "ab"),
        (Annotated[Text | None, given(min_length=3)], {"max_length": 5}, "abc", "abcdef"),
        (list[Annotated[Name, given(min_length=3, max_length=5)]], {}, ["abc"], ["ab"]),
        (list[Annotated[int, given(ge=3, multiple_of=2)] | None], {}, [4, None], [3]),
        (dict[str, Annotated[int, given(ge=3)]], {}, {"a": 3}, {"a": 2}),
    ],
)
def test_bounds_hold_for_decimals_and_within_other_types(
    annotation: Any, options: Any, valid: Any, invalid: Any
) -> None:
    body = body_of(annotation, **options)
    assert accepts(body, valid)
    assert not accepts(body, invalid)


def test_a_column_has_room_for_what_the_bounds_allow() -> None:
    table: Any = table_of(Annotated[Text, given(max_length=9)], max_length=4, min_length=2)
    assert (table.c.value.type.length, checks(table)) == (4, ["ck_once_value: length(value) BETWEEN 2 AND 4"])
    money: Any = table_of(Money, decimal_places=1)
    assert (money.c.value.type.whole, money.c.value.type.places) == (8, 1)


@pytest.mark.parametrize(
    ("annotation", "options", "sentence"),
    [
        (int, {"max_length": 3}, "`max_length`, which no integer has: write one of ge, gt, le, lt, multiple_of"),
        (bool, {"ge": 1}, "`ge`, which no boolean has: write a validator"),
        (str, {"ge": 1}, "`ge`, which no text has"),
        (float, {"decimal_places": 2}, "`decimal_places`, which no number has"),
        (UUID, {"max_length": 3}, "`max_length`, which no uuid has"),
        (Shade, {"min_length": 2}, "`min_length`, which no member has"),
        (Literal["a"], {"schema_extra": {"pattern": "a"}}, "`pattern`, which no member has"),
        (list[str], {"ge": 1}, "`ge`, which no json has"),
        (Any, {"max_length": 1}, "`max_length`, which no json has: write a validator"),
        (list[Annotated[int, given(pattern="a")]], {}, "`pattern`, which no integer has"),
        (dict[str, list[Annotated[date, given(max_length=1)]]], {}, "`max_length`, which no date has"),
        (Point, {}, "`max_length`, which no integer has"),
        (datetime, {"schema_extra": {"ge": datetime(2026, 1, 1)}}, "write it as datetime with a time zone"),  # noqa: DTZ001
        (time, {"ge": 1}, "`ge=1`, with which no time can be compared: write it as time"),
        (timedelta, {"ge": 1}, "write it as timedelta"),
        (int, {"ge": True}, "`ge=True`, with which no integer can be compared"),
        (Name, {"max_length": 0}, "`min_length=1` and `max_length=0`, between which there is no value"),
        (int, {"gt": 3, "lt": 3}, "`gt=3` and `lt=3`, between which there is no value"),
        (str, {"regex": "^a"}, '`regex`, which has no effect: write `schema_extra={"pattern": …}`'),
        (str, {"const": True}, "`const`, which has no effect: write the type `Literal[…]`"),
        (list[str], {"unique_items": True}, "`unique_items`, which has no effect: write a validator"),
    ],
)
@pytest.mark.parametrize("base", [Body, Read])
def test_a_bound_without_effect_is_refused(annotation: Any, options: Any, sentence: str, base: Any) -> None:
    with pytest.raises(TypeError, match=rf"Bounded\d+\.value has .*{re.escape(sentence)}"):
        body_of(annotation, base=base, **options)


def test_a_model_that_contains_itself_is_checked_once() -> None:
    assert accepts(body_of(Node), {"children": [{"children": []}]})


def test_bounds_are_combined_again_in_a_subclass() -> None:
    class Narrow(SQLModel):
        name: Annotated[Slug, given(pattern="^a")] = Field(min_length=2, max_length=9)
        price: Money = Field(decimal_places=1, le=9)

    class Create(Narrow, Body):
        """A new thing."""

    class Update(Create, Changes):
        """Changes."""

    for body in (Create, Update):
        assert body.model_json_schema()["properties"]["name"]["minLength"] == 2
        for wrong in ({"name": "a"}, {"name": "ba"}, {"name": "a_"}, {"price": "1.25"}, {"price": "9.1"}):
            with pytest.raises(ValidationError, match="1 validation error"):
                body.model_validate({"name": "ab", "price": "1.5"} | wrong)


async def test_a_multiple_is_a_check_of_both_databases(new_database: Any) -> None:
    table = table_of(int, multiple_of=5)
    assert checks(table) == ["ck_once_value: value % 5 = 0"]
    database = Database(url_for(await new_database()))
    row = {"version": 1, "created_at": datetime.now(UTC), "updated_at": datetime.now(UTC)}
    async with database.writer.begin() as connection:
        await connection.run_sync(table.create)
        await connection.execute(table.insert().values(value=-10, **row))
    with pytest.raises(IntegrityError):
        async with database.writer.begin() as connection:
            await connection.execute(table.insert().values(value=7, **row))
    await database.dispose()


@pytest.mark.parametrize(
    ("annotation", "default", "converted"),
    [
        (Money, Decimal(0), "0.00"),
        (Decimal, Decimal("1.50"), "1.5"),
        (Shade, "dark", "dark"),
        (int, 3.0, 3),
        (Decimal, Decimal("1e-7"), "0.0000001"),
        (timedelta, timedelta(days=400), "P400D"),
        (bytes | None, b"\x01", "AQ=="),
    ],
)
def test_a_default_has_the_form_of_a_value(annotation: Any, default: Any, converted: Any) -> None:
    body = body_of(annotation, default=default)
    assert schema_of(body)["default"] == converted
    assert body().model_dump(mode="json") == {"value": converted}


def test_a_default_is_not_shown_in_a_body_of_changes_and_keeps_other_additions_to_its_schema() -> None:
    body = body_of(Decimal, default=Decimal("1e-7"), schema_extra={"json_schema_extra": {"format": "decimal"}})
    assert schema_of(body).items() >= {"default": "0.0000001", "format": "decimal"}.items()
    changes = type("SomeChanges", (body, Changes), {"__module__": __name__})
    assert "default" not in schema_of(changes)
    assert schema_of(changes)["format"] == "decimal"


@pytest.mark.parametrize(("annotation", "options"), [(int, {"ge": 3}), (Name, {"max_length": 2}), (Shade, {})])
def test_a_default_that_the_field_refuses_is_refused(annotation: Any, options: Any) -> None:
    default = 1 if annotation is int else "three"
    with pytest.raises(TypeError, match="has a default that it refuses: "):
        body_of(annotation, default=default, **options)


def test_a_default_next_to_a_function_of_the_resource_is_left_alone() -> None:
    def refuse(_: object, info: pydantic.ValidationInfo) -> object:
        raise AssertionError(info)

    body = body_of(Annotated[int, pydantic.AfterValidator(refuse)], default=3)
    assert body().value == 3


def test_a_table_that_is_refused_leaves_nothing_behind() -> None:
    base = registry(metadata=MetaData())

    class RefusedParent(Entity, registry=base):
        """A table of this test."""

    with pytest.raises(TypeError, match="has an index and up to 5000 characters"):

        class Refused(RefusedParent, table=True):
            __tablename__ = "kit_refused"
            name: str = Field(max_length=5000, index=True)

    assert "kit_refused" not in base.metadata.tables
    assert not list(base.mappers)
    names_of_links.cache_clear()
    assert isinstance(names_of_links(), frozenset)
