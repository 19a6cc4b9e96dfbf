"""Derived from fields: CHECKs, indexes, column types, filters and sorts need no declaration of their own."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from itertools import count
from types import SimpleNamespace
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from pydantic import AfterValidator, BaseModel, NaiveDatetime, SecretStr
from pydantic import Field as PydanticField
from sqlalchemy import TIMESTAMP, Column, DateTime, MetaData, PickleType, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import registry
from sqlmodel import CheckConstraint, Field, Index, SQLModel, String, UniqueConstraint
from sqlmodel.sql.sqltypes import UTCDateTime

from kit import Body, Changes, Entity, ListQuery, Name, Read, Stamped, UUIDEntity
from kit.models.entities import complete_mapped_table

pytestmark = pytest.mark.no_fast_path

SQLITE_MOMENT: Any = sqlite.DATETIME()  # type: ignore[no-untyped-call]
NUMBERS = count()
METACLASS: Any = type(Entity)


REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))


class OnceEntity(Entity, registry=REGISTRY):
    """Tables that no migration knows."""


@pytest.fixture(autouse=True)
def no_entities_remain() -> Iterator[None]:
    """Remove the mappings of these entities, some of which are refused half-way, before other tests look at them."""
    yield
    REGISTRY.dispose()


class Mood(Enum):
    GOOD = "good"
    BAD = "isn't"


class Mixed(Enum):
    ONE = 1
    TWO = "two"


def table_of(annotation: Any, arguments: Any = (), base: Any = OnceEntity, **options: Any) -> Table:
    """Return the table of an entity with a field `value`."""
    entity = entity_of(annotation, arguments, base, **options)
    table: Table = entity.__table__
    return table


def entity_of(annotation: Any, arguments: Any = (), base: Any = OnceEntity, **options: Any) -> Any:
    field = options.pop("field", None) or Field(**options)
    content = {"__annotations__": {"value": annotation}, "value": field, "__module__": __name__}
    content |= {"__tablename__": "once", "__table_args__": (*arguments, {"extend_existing": True})}
    OnceEntity.metadata.clear()
    return METACLASS(f"Once{next(NUMBERS)}", (base,), content, table=True)


def checks(table: Table) -> list[str]:
    found = [part for part in table.constraints if isinstance(part, CheckConstraint)]
    options = {"literal_binds": True, "include_table": False}
    return [f"{part.name}: {part.sqltext.compile(compile_kwargs=options)}" for part in found]


@pytest.mark.parametrize(
    ("annotation", "options", "condition"),
    [
        (Name, {"max_length": 9}, "length(value) BETWEEN 1 AND 9"),
        (str, {"max_length": 9}, "length(value) <= 9"),
        (str, {}, "length(value) <= 10000"),
        (str | None, {"min_length": 2, "max_length": 9}, "length(value) BETWEEN 2 AND 9"),
        (bytes, {"max_length": 9}, "length(value) <= 9"),
        (int, {"ge": 0, "le": 9}, "value BETWEEN 0 AND 9"),
        (int | None, {"ge": 0}, "value >= 0"),
        (int, {"gt": 0, "lt": 9}, "value > 0 AND value < 9"),
        (float, {"le": 1.5}, "value <= 1.5"),
        (Decimal, {"ge": 0, "max_digits": 9, "decimal_places": 2}, "value >= 0"),
        (date, {"ge": date(2026, 1, 1)}, "value >= '2026-01-01'"),
        (time, {"lt": time(18)}, "value < '18:00:00.000000'"),
        (Mood, {}, "value IN ('good', 'isn''t')"),
        (Literal[1, 2], {}, "value IN (1, 2)"),
    ],
)
def test_the_bounds_of_a_field_are_a_check_of_its_table(annotation: Any, options: Any, condition: str) -> None:
    assert checks(table_of(annotation, **options)) == [f"ck_once_value: {condition}"]


@pytest.mark.parametrize("annotation", [int, bool, datetime, dict[str, int], Decimal])
def test_a_field_without_bounds_has_no_check(annotation: Any) -> None:
    assert checks(table_of(annotation)) == []


def test_a_check_of_the_resource_wins() -> None:
    table = table_of(int, [CheckConstraint("value <> 3", name="value")], ge=0)
    assert checks(table) == ["ck_once_value: value <> 3"]


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("value > 3", ["ck_once_value", "ck_once_value_check"]),
        ("value <> version OR version = id", ["ck_once_value", "ck_once_value_version_id_check"]),
        ("1 = 1", ["ck_once_value", "ck_once_check"]),
    ],
)
def test_a_check_without_a_name_is_named_after_its_fields_and_replaces_no_other(
    condition: str, names: list[str]
) -> None:
    table = table_of(int, [CheckConstraint(condition), CheckConstraint(condition)], ge=0)
    assert {check.partition(":")[0] for check in checks(table)} == {*names, f"{names[-1]}_2"}


@pytest.mark.parametrize("stored", [DateTime, DateTime(timezone=True), TIMESTAMP, postgresql.TIMESTAMP(timezone=True)])
@pytest.mark.parametrize("is_column", [False, True])
def test_a_moment_is_stored_in_utc_however_its_column_is_declared(stored: Any, is_column: bool) -> None:
    options: Any = {"sa_column": Column("other", stored)} if is_column else {"sa_type": stored}
    table = table_of(datetime, **options)
    assert isinstance(table.c["other" if is_column else "value"].type, UTCDateTime)


@pytest.mark.parametrize("stored", [postgresql.TIMESTAMP(precision=0), SQLITE_MOMENT])
def test_a_type_of_moments_that_differs_between_the_databases_is_refused(stored: Any) -> None:
    with pytest.raises(TypeError, match=r"Once\d+\.value has the column type .*: leave the type out, and the column"):
        table_of(datetime, sa_type=stored)


def test_a_moment_without_a_time_zone_keeps_its_type() -> None:
    assert type(table_of(NaiveDatetime, sa_type=DateTime).c.value.type) is DateTime


def test_a_column_type_of_the_resource_wins() -> None:
    table = table_of(str, max_length=9, sa_type=String(20))
    assert (table.c.value.type.length, checks(table)) == (20, [])  # type: ignore[attr-defined]  # a String


@pytest.mark.parametrize(
    ("options", "arguments", "expected"),
    [
        ({"index": True}, [], {"ix_once_value": ["value", "id"]}),
        ({"index": True}, [Index(None, "value", "id")], {"ix_once_value": ["value", "id"]}),
        ({"index": True, "unique": True}, [], {"ix_once_value": ["value"]}),
        ({}, [], {}),
    ],
)
def test_an_index_has_the_id_as_second_column(options: Any, arguments: Any, expected: Any) -> None:
    table = table_of(int, arguments, **options)
    found = {str(index.name): index.columns.keys() for index in table.indexes}
    assert found == expected | {"ix_once_created_at": ["created_at", "id"]}


def test_a_unique_field_has_a_constraint_of_its_name() -> None:
    table = table_of(int, unique=True)
    assert [str(part.name) for part in table.constraints if isinstance(part, UniqueConstraint)] == ["uq_once_value"]


@pytest.mark.parametrize(("options", "expected"), [({}, True), ({"sqlite_autoincrement": False}, False)])
def test_numbers_of_rows_are_never_given_twice_unless_the_table_says_so(options: Any, expected: bool) -> None:
    table = Entity.metadata.tables.get("absent")
    OnceEntity.metadata.clear()
    content = {"__module__": __name__, "__tablename__": "once", "__table_args__": (options,)}
    entity: Any = METACLASS(f"Once{next(NUMBERS)}", (OnceEntity,), content, table=True)
    assert table is None
    assert entity.__table__.dialect_options["sqlite"]["autoincrement"] is expected


def test_a_table_with_a_uuid_has_no_numbers() -> None:
    base: Any = METACLASS("OnceUUID", (UUIDEntity,), {"__module__": __name__}, registry=registry(metadata=MetaData()))
    assert not table_of(int, base=base).dialect_options["sqlite"]["autoincrement"]


@pytest.mark.parametrize(
    "annotation", [complex, SecretStr, NaiveDatetime, Mixed, set[int], list[complex], Literal[True]]
)
def test_an_unknown_type_is_refused_by_the_name_of_its_field(annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"Once\d+\.value is of type .*: write a type that JSON knows"):
        entity_of(annotation)


def test_a_text_that_is_too_long_for_an_index_is_refused() -> None:
    with pytest.raises(TypeError, match=r"write `max_length=650` or less, or no index"):
        entity_of(str, max_length=651, unique=True)


def query(entity: Any, **wishes: Any) -> Any:
    annotations = {"value": entity.__annotations__.get("value", int)}
    read = type(Read)("OnceRead", (Stamped, Read), {"__annotations__": annotations, "__module__": __name__})
    return type("OnceQuery", (ListQuery,), {"model": entity, "read": read, **wishes})


def test_an_indexed_field_filters_and_sorts_unless_the_query_says_otherwise() -> None:
    entity = entity_of(int, index=True)
    assert query(entity).filters == query(entity).sorts == ["created_at", "value"]
    assert (query(entity, filters=(), sorts=("value",)).filters, query(entity, sorts=()).sorts) == ((), ())
    assert query(entity_of(int)).filters == ["created_at"]


@pytest.mark.parametrize(
    ("annotation", "wishes", "error"),
    [
        (dict[str, int], {"sorts": ("value",)}, "sorts names 'value', which is json, and has no order"),
        (dict[str, int], {"default_sort": "-value"}, "default_sort names 'value', which is json, and has no order"),
        (list[int], {"filters": ("value",)}, "filters names 'value', which is json and never null"),
        (bytes, {"filters": ("value",)}, "filters names 'value', which is bytes and never null"),
        (bytes, {"sorts": ("value",)}, "sorts names 'value', which is bytes, and has no order"),
        (int, {"search": ("value",)}, "search names 'value', which is integer, not text"),
        (int, {"filters": ("price",)}, "filters names 'price': the fields of Once[0-9]+ are"),
    ],
)
def test_what_cannot_be_asked_of_a_type_is_refused_when_it_is_declared(
    annotation: Any, wishes: Any, error: str
) -> None:
    with pytest.raises(TypeError, match=error):
        query(entity_of(annotation), **wishes)


def test_a_type_of_the_resource_has_neither_filter_nor_order() -> None:
    entity = entity_of(complex, sa_type=PickleType)
    with pytest.raises(TypeError, match="names 'value', which is of type complex, and has no order"):
        query(entity, sorts=("value",))


def test_a_member_that_is_no_more_in_its_enum_is_shown_as_it_is_stored() -> None:
    stored: Any = table_of(Mood).c.value.type
    assert stored.process_result_value("gone", None) == "gone"


def test_json_that_breaks_a_rule_of_today_is_shown_as_it_is_stored() -> None:
    stored: Any = table_of(list[int]).c.value.type
    assert stored.process_result_value(["old"], None) == ["old"]


class Secretive(BaseModel):
    number: int = PydanticField(default=1, exclude=True)


class Recursive(BaseModel):
    below: "list[Recursive]"


@pytest.mark.parametrize("annotation", [Secretive, list[Secretive | int], dict[str, Secretive] | None])
def test_a_model_whose_field_would_not_be_stored_is_refused(annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"Once\d+\.value stores Secretive, whose field number has `exclude`"):
        entity_of(annotation)


def test_a_recursive_model_is_stored_without_computed_fields() -> None:
    stored: Any = table_of(Recursive).c.value.type
    assert stored.as_json(Recursive(below=[Recursive(below=[])])) == {"below": [{"below": []}]}


class Inner(BaseModel):
    number: int = Field(ge=0)
    note: str = ""


class Outer(Body):
    inner: Inner
    several: list[Inner] = Field(default_factory=list)
    other: int | Inner = 0


class OuterUpdate(Outer, Changes):
    """Changes."""


@pytest.mark.parametrize("kind", [Outer, OuterUpdate])
def test_a_model_in_a_body_is_as_strict_as_the_body(kind: Any) -> None:
    for wrong in ({"number": "1"}, {"number": 1, "more": 2}, {"number": -1}, {"number": 1, "note": "\0"}, 5):
        with pytest.raises(ValueError, match="validation error"):
            kind.model_validate({"inner": wrong})
    body = kind.model_validate({"inner": {"number": 1.0}, "several": [Inner(number=2)], "other": {"number": 3}})
    assert (body.inner, body.several, body.other) == (Inner(number=1), [Inner(number=2)], Inner(number=3))
    assert body.inner.model_fields_set == {"number"}


T = TypeVar("T")


class Doubled(Body, Generic[T]):
    number: Annotated[int, AfterValidator(lambda number: number * 2)] | None = Field(default=None, le=10)
    anything: T | None = None


def test_a_validator_of_the_resource_comes_after_the_form_of_its_type() -> None:
    assert Doubled.model_validate({"number": 3.0, "anything": object}).number == 6
    for wrong in ("3", True, 3.5):
        with pytest.raises(ValueError, match="validation error"):
            Doubled.model_validate({"number": wrong})


@pytest.mark.parametrize(
    ("annotation", "stored"),
    [
        (int | str, "JSON"),
        (tuple[int, ...], "JSON"),
        (Literal["a value of more than sixteen characters"], "VARCHAR(64)"),
        (TypeVar("U", bound=int), None),
    ],
)
def test_a_type_has_the_column_that_holds_its_values(annotation: Any, stored: Any) -> None:
    if stored is None:
        with pytest.raises(TypeError, match="for which the kit knows no column"):
            table_of(annotation)
    else:
        assert table_of(annotation).c.value.type.compile(sqlite.dialect()) == stored


def test_a_time_that_is_set_becomes_utc() -> None:
    made = entity_of(datetime)(value=datetime(2026, 1, 1, tzinfo=UTC))
    made.value = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert (made.value, made.value.tzinfo) == (datetime(2026, 1, 1, tzinfo=UTC), UTC)


def test_a_table_is_completed_by_the_class_that_declares_it() -> None:
    complete_mapped_table(SimpleNamespace(inherits=object()), Entity)


class BoundsRead(Read):
    name: str = Field(max_length=5)


def test_the_schema_of_what_is_read_may_be_that_of_its_input() -> None:
    schema = BoundsRead.model_json_schema(mode="validation")
    assert schema["properties"]["name"]["maxLength"] == 5
