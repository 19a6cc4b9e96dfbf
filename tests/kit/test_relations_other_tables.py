"""Relations: tables without a resource have no effect on resources, whatever they refer to."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from alembic.autogenerate import produce_migrations
from alembic.migration import MigrationContext
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, insert, select
from sqlalchemy.orm import registry
from sqlmodel import Field, Relationship, SQLModel

from kit import Database, Entity, Service
from kit.auth.ownership_checks import ownership_errors
from kit.models.entities import known_tables
from kit.server.route_listing import describe_routes
from tests.kit.service import Person, clear, create_runtime, create_service, join

OTHER = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))


class OtherEntity(Entity, registry=OTHER):
    """A table of these tests."""


class Reader(OtherEntity, table=True):
    __tablename__ = "other_reader"
    belongs_to = "id"
    audits: list["Audit"] = Relationship(back_populates="reader")
    clubs: list["Club"] = Relationship(
        sa_relationship_kwargs={"secondary": "other_membership", "back_populates": "readers"}
    )


class Club(OtherEntity, table=True):
    __tablename__ = "other_club"
    readers: list[Reader] = Relationship(
        sa_relationship_kwargs={"secondary": "other_membership", "back_populates": "clubs"}
    )


class OtherTable(SQLModel, registry=OTHER):
    """A table that is no entity."""


class Audit(OtherTable, table=True):
    __tablename__ = "other_audit"
    number: int | None = Field(default=None, primary_key=True)
    version: str = "1.0"
    updated_at: str = "never"
    reader_id: int | None = Field(default=None, foreign_key="other_reader.id", ondelete="SET NULL")
    reader: Reader | None = Relationship(back_populates="audits")


class Membership(OtherTable, table=True):
    __tablename__ = "other_membership"
    reader_id: int = Field(foreign_key="other_reader.id", ondelete="CASCADE", primary_key=True)
    club_id: int = Field(foreign_key="other_club.id", ondelete="CASCADE", primary_key=True)


LOG = Table(
    "other_log",
    OTHER.metadata,
    Column("what", String(10)),
    Column("reader", Integer, ForeignKey("other_reader.id", ondelete="SET NULL")),
    Column("elsewhere", Integer),
)


@pytest.fixture
async def tables(database: Database) -> AsyncIterator[Database]:
    async with database.writer.begin() as connection:
        await connection.run_sync(OTHER.metadata.create_all)
    yield database
    async with database.writer.begin() as connection:
        await connection.run_sync(OTHER.metadata.drop_all)


async def rows_of(database: Database, table: Any) -> list[Any]:
    async with database.read() as session:
        return list((await session.execute(select(*table.columns))).all())


async def test_rows_are_deleted_as_the_foreign_keys_say(tables: Database) -> None:
    async with tables.write() as session, session.begin():
        reader = Reader(clubs=[Club()], audits=[Audit()])
        session.add(reader)
        await session.flush()
        await session.execute(insert(LOG).values(what="x", reader=reader.id))
    assert len(await rows_of(tables, OTHER.metadata.tables["other_membership"])) == 1
    async with tables.write() as session, session.begin():
        await session.delete(await session.get(Reader, reader.id))
    assert await rows_of(tables, OTHER.metadata.tables["other_membership"]) == []
    assert await rows_of(tables, LOG) == [("x", None, None)]
    assert await rows_of(tables, OTHER.metadata.tables["other_audit"]) == [(1, "1.0", "never", None)]


async def test_a_migration_makes_such_tables(database: Database) -> None:
    def differences(connection: Any) -> list[str]:
        context = MigrationContext.configure(connection, opts={"include_object": lambda *_: True})
        made = produce_migrations(context, OTHER.metadata).upgrade_ops
        assert made is not None
        return [each.table_name for each in made.ops if type(each).__name__ == "CreateTableOp"]  # type: ignore[attr-defined]

    async with database.writer.begin() as connection:
        names = await connection.run_sync(differences)
    assert set(names) == set(OTHER.metadata.tables)


@pytest.mark.untraced
async def test_the_service_starts_and_lists_its_routes_beside_such_tables(app: Service) -> None:
    assert {"other_audit", "other_membership", "other_log"} <= known_tables().keys()
    assert not list(ownership_errors())
    service = create_service(create_runtime(app.runtime.database))
    assert "/shelves/{shelf_id}" in describe_routes(service)
    assert service.openapi()["paths"]


async def test_a_member_writes_such_rows_beside_their_own(app: Service, tables: Database) -> None:
    await clear(tables)
    person: Person = await join(app)
    async with tables.write(restricted=True) as session, session.begin():
        session.add(Audit(version="2"))
        assert person.id
    assert len(await rows_of(tables, OTHER.metadata.tables["other_audit"])) == 1
