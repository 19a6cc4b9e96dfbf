"""Declarations that could not work are refused when the class is defined, or when the service starts."""

from collections.abc import Iterator
from enum import IntFlag
from typing import Annotated, Any, ClassVar
from uuid import UUID

import pytest
from fastapi import APIRouter
from pydantic import Base64Bytes, Base64Str, Base64UrlStr, ConfigDict, Json, PrivateAttr
from pydantic import Field as PydanticField
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Sequence,
    UniqueConstraint,
    create_engine,
    inspect,
    text,
)
from sqlalchemy.orm import registry
from sqlmodel import Field, Relationship, SQLModel, select
from sqlmodel import Session as SyncSession

from kit import Entity
from kit.server.checks import abstract_tables, schemas_of_tables, startup_errors
from kit.server.sqlite_checks import ignored_on_sqlite
from tests.kit.habits.test_kinds_of_tables import HabitLamp

pytestmark = pytest.mark.no_fast_path

METACLASS: Any = type(Entity)
REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))


class RefusedEntity(Entity, registry=REGISTRY):
    """Tables that no migration knows."""


@pytest.fixture(autouse=True)
def no_entities_remain() -> Iterator[None]:
    yield
    REGISTRY.dispose()
    REGISTRY.metadata.clear()


@pytest.mark.parametrize("annotation", [int, str])
def test_an_id_without_a_default_is_refused(annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"Vase.id has no default, .* `default_factory`, or write `default=None`"):

        class Vase(RefusedEntity, table=True):
            id: annotation = Field(primary_key=True)


@pytest.mark.parametrize("name", ["id", "version"])
def test_a_column_of_the_service_with_another_name_is_refused(name: str) -> None:
    annotation = RefusedEntity.model_fields[name].annotation
    field = Field(default=1, primary_key=name == "id", sa_column_kwargs={"name": "other"})
    content = {"__annotations__": {name: annotation}, name: field}
    with pytest.raises(TypeError, match=rf'Jar{name}.{name} has another name in the database: add `"key": "{name}"`'):
        METACLASS(f"Jar{name}", (RefusedEntity,), content, table=True)


def test_a_private_attribute_that_takes_the_values_of_the_row_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Mug._note has a `default_factory` that takes the other values"):

        class Mug(RefusedEntity, table=True):
            _note: str = PrivateAttr(default_factory=lambda values: str(values))


def test_a_frozen_table_is_refused() -> None:
    class FrozenBase(SQLModel):
        model_config = ConfigDict(frozen=True)  # type: ignore[assignment]  # SQLModel's type is not public

    with pytest.raises(TypeError, match=r"Ice is frozen, but SQLAlchemy sets the attributes of rows: leave `frozen"):

        class Ice(FrozenBase, RefusedEntity, table=True):
            """A table that inherits the setting."""

    with pytest.raises(TypeError, match=r"Snow.depth is frozen"):

        class Snow(RefusedEntity, table=True):
            depth: Annotated[int, PydanticField(frozen=True)]


def test_a_default_that_is_made_of_other_values_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Bench.seats has a `default_factory` that takes the other values"):

        class Bench(RefusedEntity, table=True):
            length: int = 1
            seats: int = PydanticField(default_factory=lambda values: values["length"] * 3)


def test_a_flag_is_refused_because_its_combinations_are_no_members() -> None:
    class Right(IntFlag):
        READ = 1
        WRITE = 2

    with pytest.raises(TypeError, match=r"Door.rights is a Flag, .* `int` with `ge=0` and `le=…`"):

        class Door(RefusedEntity, table=True):
            rights: Right

    class Gate(RefusedEntity, table=True):
        rights: Right = Field(sa_type=Integer)

    assert "gate" in REGISTRY.metadata.tables


@pytest.mark.parametrize(
    "column",
    [
        Column(BigInteger, Identity(start=100)),
        Column(BigInteger, Sequence("numbers")),
        Column(BigInteger, autoincrement=True),
    ],
)
def test_a_number_of_the_database_beside_the_id_is_refused_on_sqlite(column: Column[int]) -> None:
    class Ticket(RefusedEntity, table=True):
        number: int = Field(default=None, sa_column=column)

    assert [error.partition(",")[0] for error in ignored_on_sqlite()] == ["ticket.number is numbered by the database"]


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ([UniqueConstraint("row", "seat", postgresql_nulls_not_distinct=True)], "have `postgresql_nulls_not_distinct`"),
        ([Index("seats", "seat", unique=True, postgresql_where=text("seat > 1"))], "have `postgresql_where`"),
        (
            [
                Index("a", "seat", unique=True, postgresql_where=text("seat > 1"), sqlite_where=text("seat > 1")),
                UniqueConstraint("row"),
            ],
            None,
        ),
        ([UniqueConstraint("row", deferrable=True, initially="DEFERRED")], "have `deferrable` or `initially`"),
    ],
    ids=["nulls", "partial", "same", "deferred"],
)
def test_a_unique_key_that_sqlite_reads_otherwise_is_refused_there(arguments: list[Any], refused: str | None) -> None:
    class Seat(RefusedEntity, table=True):
        __table_args__ = (*arguments,)
        row: int | None = None
        seat: int | None = None

    assert [refused in error for error in ignored_on_sqlite() if refused] == ([True] if refused else [])
    assert bool(refused) == bool(list(ignored_on_sqlite()))


def test_a_service_on_sqlite_starts_without_them_only() -> None:
    class Ticket(RefusedEntity, table=True):
        number: int = Field(default=None, sa_column=Column(BigInteger, Identity()))

    on_sqlite, on_postgresql = (startup_errors([], (), (), (), APIRouter(), is_sqlite=each) for each in (True, False))
    assert [error in on_postgresql for error in on_sqlite if "ticket" in error] == [False]


def test_a_prefix_of_columns_is_refused() -> None:
    with pytest.raises(TypeError, match="Cask has a `column_prefix`, by which its fields would not be its columns"):

        class Cask(RefusedEntity, table=True):
            __mapper_args__: ClassVar[Any] = {"column_prefix": "_"}

    assert "cask" not in REGISTRY.metadata.tables


@pytest.mark.parametrize(("name", "system"), [("pg_class", "PostgreSQL"), ("sqlite_vase", "SQLite")])
def test_a_table_with_a_name_of_the_database_is_refused(name: str, system: str) -> None:
    with pytest.raises(TypeError, match=f"The table {name} has a name that {system} keeps for tables of its own"):
        METACLASS(f"VaseOf{system}", (RefusedEntity,), {"__tablename__": name, "__module__": __name__}, table=True)
    assert name not in REGISTRY.metadata.tables


@pytest.mark.parametrize(("name", "system"), [("rowid", "SQLite"), ("xmin", "PostgreSQL")])
def test_a_column_with_the_name_of_one_that_every_table_has_is_refused(name: str, system: str) -> None:
    with pytest.raises(TypeError, match=f"value has the name of a column that {system} has in every table"):
        METACLASS(
            f"JarOf{system}",
            (RefusedEntity,),
            {
                "__annotations__": {"value": int},
                "value": Field(sa_column_kwargs={"name": name, "key": "value"}),
                "__module__": __name__,
            },
            table=True,
        )


def test_a_table_with_a_registry_of_its_own_is_refused() -> None:
    class Loose(SQLModel, table=True, registry=registry()):
        id: int = Field(primary_key=True)

    with pytest.raises(TypeError, match=r"houses: link_model=Loose has no table\. Write `table=True` in it"):
        METACLASS("Street", (RefusedEntity,), {"__module__": __name__, "houses": Relationship(link_model=Loose)})
    (error,) = [error for error in abstract_tables() if ".Loose" in error]
    assert error.partition(". ")[0] == f"{__name__}.Loose has no table"
    Loose.model_config["table"] = False  # other tests start services


def test_a_table_in_a_schema_is_refused() -> None:
    class Cellar(RefusedEntity, table=True):
        __table_args__ = ({"schema": "house"},)

    assert "house" in str(select(Cellar))
    assert [error.partition(":")[0] for error in schemas_of_tables()] == [
        "house.cellar is in the schema 'house', which SQLite does not have"
    ]


def test_a_column_with_another_name_has_the_check_of_its_field() -> None:
    checks = {str(part.name) for part in inspect(HabitLamp).local_table.constraints}  # type: ignore[attr-defined]
    assert "ck_habit_lamp_power" in checks


@pytest.mark.parametrize("encoded", [Base64Str, Base64Bytes, Base64UrlStr])
def test_an_encoding_of_pydantic_is_refused(encoded: Any) -> None:
    with pytest.raises(TypeError, match=r"Encoded.token has an encoding of pydantic.* write `bytes`, which is Base64"):

        class Encoded(RefusedEntity, table=True):
            token: encoded


def test_a_field_of_parsed_json_is_not_refused_and_is_stored() -> None:
    class Parcel(RefusedEntity, table=True):
        content: Json[dict[str, int]]
        labels: Annotated[list[str], Json]

    engine = create_engine("sqlite://")
    REGISTRY.metadata.create_all(engine)
    with SyncSession(engine) as session:
        session.add(Parcel.model_validate({"content": '{"a": 1}', "labels": '["b"]'}))
        session.commit()
        parcel = session.exec(select(Parcel)).one()
        assert (parcel.content, parcel.labels) == ({"a": 1}, ["b"])
    engine.dispose()


def test_a_foreign_key_without_a_type_has_that_of_its_target() -> None:
    class Referrer(RefusedEntity, table=True):
        target_id: int = Field(sa_column=Column(ForeignKey("target.id")))

    class Target(RefusedEntity, table=True):
        code: UUID

    assert isinstance(Referrer.__table__.c.target_id.type, BigInteger)  # type: ignore[attr-defined]
