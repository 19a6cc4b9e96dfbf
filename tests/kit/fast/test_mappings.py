"""Mappings: which entities are read and stored without the ORM, and which are not."""

from typing import Any, ClassVar

import pytest
from sqlalchemy import JSON, Column, ForeignKey, Integer, MetaData, String, Table, TypeDecorator
from sqlalchemy.orm import column_property, deferred, registry, relationship
from sqlalchemy.types import UserDefinedType
from sqlmodel import Field, Relationship

from kit.database.databases import Database
from kit.fast.databases import use_fast_sessions
from kit.fast.embedding import relation_of
from kit.fast.mappings import mapping_of, value_type
from kit.fast.persistent_rows import add_loaded
from kit.fast.read_sessions import detached
from kit.fast.single_insert import is_insertable
from kit.models.entities import Entity
from kit.models.reads import Read
from tests.kit.fast.conftest import opened
from tests.kit.fast.notes import FastNote, note, store

REGISTRY = registry(metadata=MetaData())


class Spelled(TypeDecorator[Any]):
    """A type that returns values of another type than its `python_type`."""

    impl = String
    cache_ok = True

    def process_result_value(self, value: Any, _: object) -> Any:
        return list(value or "")


class Point(UserDefinedType[Any]):
    """A type without `python_type`, as those of SQLAlchemy 2.0."""

    cache_ok = True

    @property
    def python_type(self) -> type[Any]:
        raise NotImplementedError


class OddEntity(Entity, registry=REGISTRY):
    """An entity of these tests."""


odd_links = Table("fast_odd_links", REGISTRY.metadata, Column("left", ForeignKey("fast_plain.id")))


class FastPlain(OddEntity, table=True):
    __tablename__ = "fast_plain"
    tags: list[str] = Field(default_factory=list, sa_type=JSON)
    parent_id: int | None = Field(default=None, foreign_key="fast_plain.id")


class FastDeferred(OddEntity, table=True):
    __tablename__ = "fast_deferred"


FastDeferred.__mapper__.add_property("long", deferred(FastDeferred.__table__.c.version))  # type: ignore[attr-defined]


class FastComputed(OddEntity, table=True):
    __tablename__ = "fast_computed"


FastComputed.__mapper__.add_property(  # type: ignore[attr-defined]
    "twice",
    column_property(FastComputed.__table__.c.version * 2),  # type: ignore[attr-defined]
)


class FastRefreshed(OddEntity, table=True):
    """An entity with `always_refresh`."""

    __tablename__ = "fast_refreshed"
    __mapper_args__: ClassVar[Any] = {"always_refresh": True}


class FastUnversioned(OddEntity, table=True):
    """An entity whose version only a handler increments."""

    __tablename__ = "fast_unversioned"
    __mapper_args__: ClassVar[Any] = {"version_id_col": None}


class FastEager(OddEntity, table=True):
    __tablename__ = "fast_eager"
    plain_id: int | None = Field(default=None, foreign_key="fast_plain.id")
    plain: Any = Relationship(sa_relationship=relationship("FastPlain", lazy="joined", viewonly=True))


class FastRelated(OddEntity, table=True):
    __tablename__ = "fast_related"
    plain_id: int | None = Field(default=None, foreign_key="fast_plain.id")
    few: Any = Relationship(
        sa_relationship=relationship(
            "FastPlain",
            primaryjoin="and_(FastPlain.id == FastRelated.plain_id, FastPlain.version > 1)",
            lazy="raise",
            viewonly=True,
        )
    )
    as_set: Any = Relationship(
        sa_relationship=relationship(
            "FastPlain",
            primaryjoin="foreign(FastPlain.parent_id) == FastRelated.id",
            collection_class=set,
            uselist=True,
            lazy="raise",
            viewonly=True,
        )
    )
    to_odd: Any = Relationship(
        sa_relationship=relationship(
            "FastEager",
            primaryjoin="foreign(FastEager.plain_id) == FastRelated.id",
            uselist=True,
            lazy="raise",
            viewonly=True,
        )
    )


class FastOddRead(Read):
    """Shows an id."""


def test_an_entity_of_plain_columns_has_a_mapping() -> None:
    mapping = mapping_of(FastNote)
    assert mapping is not None
    assert mapping.is_shareable
    assert mapping.is_insertable
    assert mapping.ident_type is int


@pytest.mark.parametrize(
    "entity", [FastDeferred, FastComputed, FastRefreshed, FastEager, int, "FastNote", OddEntity, None]
)
def test_an_entity_that_needs_the_orm_has_no_mapping(entity: Any) -> None:
    assert mapping_of(entity) is None


def test_a_row_without_a_version_counter_is_stored_unchanged() -> None:
    mapping, versioned = mapping_of(FastUnversioned), mapping_of(FastNote)
    assert mapping is not None
    assert versioned is not None
    assert is_insertable(FastUnversioned(id=1, version=7), mapping)
    assert not is_insertable(note("a", version=7), versioned)


def test_mutable_values_are_not_shared_among_requests() -> None:
    mapping = mapping_of(FastPlain)
    assert mapping is not None
    assert not mapping.is_shareable


@pytest.mark.parametrize(("kind", "expected"), [(Integer(), int), (Spelled(), None), (JSON(), None), (Point(), None)])
def test_the_type_of_a_value_is_known_only_if_its_column_declares_it(kind: Any, expected: Any) -> None:
    assert value_type(kind) is expected


@pytest.mark.parametrize("name", ["few", "as_set", "to_odd"])
def test_a_relationship_that_needs_the_orm_has_no_relation(name: str) -> None:
    assert relation_of(FastRelated, name, FastOddRead) is None


async def test_an_engine_with_unknown_options_gets_no_shortcuts(
    fast_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = opened(fast_url)
    elsewhere = database.primary.reader.execution_options(schema_translate_map={None: "elsewhere"})
    database.primary = database.primary._replace(reader=elsewhere)
    before = database.read
    use_fast_sessions(database, coalesce=True, group=True)
    assert database.read is before
    assert "execution options" in caplog.text
    await database.dispose()


async def test_a_session_keeps_the_row_that_it_has(database: Database) -> None:
    await store(database, row := note("a"))
    mapping = mapping_of(FastNote)
    assert mapping is not None
    async with database.read() as session:
        got = await session.get(FastNote, row.id)
        other = detached(mapping, mapping.identity_key((row.id,)), {"id": row.id, "text": "other"})
        assert add_loaded(session.sync_session, other) is got
