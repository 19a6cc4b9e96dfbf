"""JSON columns: what a field of the type `Any` stores, the same on SQLite and PostgreSQL."""

from typing import Any

import pytest
from sqlalchemy import JSON, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col

from kit import Database, Entity
from tests.engines import url_for

pytestmark = [pytest.mark.no_fast_path]
REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))


class Anything(Entity, registry=REGISTRY):
    """Base class of the table of these tests."""


class Parcel(Anything, table=True):
    content: Any = None
    weight: Any = 1
    kept: Any = Field(default=None, sa_column_kwargs={"nullable": False})
    notes: dict[str, Any] = Field(default_factory=dict, sa_type=JSON().with_variant(JSONB(), "postgresql"))


def test_a_field_of_any_type_with_the_default_none_may_be_null() -> None:
    columns = Parcel.__table__.c  # type: ignore[attr-defined]
    assert [columns[name].nullable for name in ("content", "weight", "kept")] == [True, False, False]


def test_a_type_with_a_variant_has_its_own_comparisons() -> None:
    assert str(col(Parcel.notes) == {"a": 1}) == "parcel.notes = :notes_1"


async def test_a_lone_number_comes_back_the_same_from_both_databases(new_database: Any) -> None:
    database = Database(url_for(await new_database()))
    async with database.writer.begin() as connection:
        await connection.run_sync(REGISTRY.metadata.create_all)
    values = [1.0, -0.0, 1.5, 7, 1e300, True, "1.0", [1.0], None]
    async with AsyncSession(database.writer) as session:
        session.add_all([Parcel(id=index, content=value, kept=0) for index, value in enumerate(values, 1)])
        await session.commit()
        stored = [(await session.get_one(Parcel, index)).content for index in range(1, len(values) + 1)]
    await database.dispose()
    assert list(map(repr, stored)) == ["1", "0", "1.5", "7", "1e+300", "True", "'1.0'", "[1.0]", "None"]
