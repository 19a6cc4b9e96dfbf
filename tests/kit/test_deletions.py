"""Deletions: rows that refer to a deleted row get a new version, and nothing else changes."""

from collections.abc import AsyncIterator
from typing import Any, Optional

import pytest
from sqlalchemy import BigInteger, Column, ForeignKey, ForeignKeyConstraint, MetaData, UniqueConstraint
from sqlalchemy.orm import load_only, registry, selectinload
from sqlmodel import Field, Relationship, SQLModel, col, select

from kit import Database, Entity

TABLES = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))


class TableOfDeletions(Entity, registry=TABLES):
    """A table of these tests."""


class Club(TableOfDeletions, table=True):
    __tablename__ = "deletions_club"
    __table_args__ = (UniqueConstraint("country", "code"),)
    country: int = 1
    code: int | None = None
    short: int | None = Field(default=None, unique=True, sa_column_kwargs={"name": "short_name"})
    players: list["Player"] = Relationship(
        back_populates="club", sa_relationship_kwargs={"foreign_keys": "Player.club_id"}
    )
    guests: list["Guest"] = Relationship(back_populates="club", cascade_delete=True)


class Player(TableOfDeletions, table=True):
    __tablename__ = "deletions_player"
    __table_args__ = (
        ForeignKeyConstraint(
            ["country", "code"], ["deletions_club.country", "deletions_club.code"], ondelete="SET NULL"
        ),
    )
    country: int | None = None
    code: int | None = None
    club_id: int | None = Field(default=None, foreign_key="deletions_club.id", ondelete="SET NULL", sa_type=BigInteger)
    short: int | None = Field(default=None, foreign_key="deletions_club.short_name", ondelete="SET NULL")
    club: Club | None = Relationship(
        back_populates="players", sa_relationship_kwargs={"foreign_keys": "Player.club_id"}
    )


class Guest(TableOfDeletions, table=True):
    __tablename__ = "deletions_guest"
    club_id: int | None = Field(default=None, foreign_key="deletions_club.id", ondelete="SET NULL", sa_type=BigInteger)
    club: Club | None = Relationship(back_populates="guests")


class Folder(TableOfDeletions, table=True):
    __tablename__ = "deletions_folder"
    club_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("deletions_club.id", ondelete="set default"))
    )
    parent_id: int | None = Field(default=None, foreign_key="deletions_folder.id", sa_type=BigInteger)
    parent: Optional["Folder"] = Relationship(
        back_populates="children", sa_relationship_kwargs={"remote_side": "Folder.id"}
    )
    children: list["Folder"] = Relationship(back_populates="parent")


class Topic(TableOfDeletions, table=True):
    """A tree whose rows are deleted with their parent, and when they are removed from it."""

    __tablename__ = "deletions_topic"
    parent_id: int | None = Field(default=None, foreign_key="deletions_topic.id", sa_type=BigInteger)
    parent: Optional["Topic"] = Relationship(
        back_populates="children", sa_relationship_kwargs={"remote_side": "Topic.id"}
    )
    children: list["Topic"] = Relationship(
        back_populates="parent", sa_relationship_kwargs={"cascade": "all, delete-orphan"}
    )


CHILDREN: Any = Topic.children


@pytest.fixture
async def tables(database: Database) -> AsyncIterator[Database]:
    async with database.writer.begin() as connection:
        await connection.run_sync(TABLES.metadata.create_all)
    yield database
    async with database.writer.begin() as connection:
        await connection.run_sync(TABLES.metadata.drop_all)


async def store(database: Database, *rows: Entity) -> None:
    async with database.write() as session, session.begin():
        session.add_all(rows)


async def values_of(database: Database, *columns: Any) -> list[Any]:
    """Return the values of these columns in all rows, by id."""
    async with database.read() as session:
        return [tuple(row) for row in (await session.execute(select(*columns).order_by(columns[0].class_.id))).all()]


async def test_only_rows_that_refer_to_the_row_by_all_columns_are_changed(tables: Database) -> None:
    clubs = [Club(id=at, country=country, code=code) for at, (country, code) in enumerate([(1, 1), (1, 2), (2, 1)], 1)]
    await store(tables, *clubs)
    await store(tables, *(Player(country=club.country, code=club.code) for club in clubs))
    async with tables.write() as session, session.begin():
        await session.delete(await session.get(Club, 1))
    columns = (Player.country, Player.code, Player.version)
    assert await values_of(tables, *columns) == [(None, None, 2), (1, 2, 1), (2, 1, 1)]


async def test_rows_without_a_reference_are_not_changed_with_a_row_whose_key_is_null(tables: Database) -> None:
    await store(tables, Club(id=1, code=None, short=None))
    await store(tables, Player(), Player(country=1))
    async with tables.write() as session, session.begin():
        await session.delete(await session.get(Club, 1))
    assert await values_of(tables, Player.version) == [(1,), (1,)]


async def test_a_key_is_found_by_its_attribute_not_by_its_column(tables: Database) -> None:
    await store(tables, Club(id=1, short=7))
    await store(tables, Player(short=7))
    async with tables.write() as session, session.begin():
        club = await session.get(Club, 1)
        assert club is not None
        with session.no_autoflush:
            club.short = 8  # not flushed: the players still refer to 7
            await session.delete(club)
    assert await values_of(tables, Player.short, Player.version) == [(None, 2)]


async def test_rows_that_were_moved_before_keep_their_new_reference(tables: Database) -> None:
    await store(tables, Club(id=1), Club(id=2))
    await store(tables, Player(club_id=1), Player(club_id=1))
    async with tables.write() as session, session.begin():
        moved = await session.get(Player, 1)
        assert moved is not None
        moved.club_id = 2
        await session.delete(await session.get(Club, 1))
    assert await values_of(tables, Player.club_id, Player.version) == [(2, 2), (None, 2)]


@pytest.mark.parametrize("change_after", [False, True])
async def test_rows_of_the_session_know_their_new_version(tables: Database, change_after: bool) -> None:
    await store(tables, Club(id=1))
    await store(tables, Player(club_id=1), Player(club_id=1))
    async with tables.write() as session, session.begin():
        player = await session.get(Player, 1)
        assert player is not None
        await session.delete(await session.get(Club, 1))
        await session.flush()
        assert (player.club_id, player.version) == (None, 2)
        player.country = 5 if change_after else None
    assert await values_of(tables, Player.version) == [(3 if change_after else 2,), (2,)]


async def test_a_reference_that_gets_its_default_is_loaded_again(tables: Database) -> None:
    await store(tables, Club(id=1))
    await store(tables, Folder(id=1, club_id=1), Folder(id=2, club_id=1))
    async with tables.write() as session, session.begin():
        folder = await session.get(Folder, 1)
        await session.delete(await session.get(Club, 1))
        await session.flush()
        await session.refresh(folder, ["club_id"])
        assert folder is not None
        assert (folder.club_id, folder.version) == (None, 2)
    assert await values_of(tables, Folder.club_id, Folder.version) == [(None, 2), (None, 2)]


async def test_a_row_is_deleted_with_its_list_loaded_changed_or_cleared(tables: Database) -> None:
    await store(tables, *(Club(id=at) for at in (1, 2, 3)))
    await store(tables, *(Player(club_id=at) for at in (1, 1, 2, 3)))
    async with tables.write() as session, session.begin():
        loading = selectinload(Club.players)  # type: ignore[arg-type]
        loaded, cleared, moved = [await session.get(Club, at, options=[loading]) for at in (1, 2, 3)]
        assert loaded is not None
        assert cleared is not None
        assert moved is not None
        cleared.players.clear()
        moved.players[0].club = None
        for club in (loaded, cleared, moved):
            await session.delete(club)
    assert await values_of(tables, Player.club_id, Player.version) == [(None, 2)] * 4


async def test_a_cascade_of_the_session_deletes_rows_that_the_database_would_only_release(tables: Database) -> None:
    await store(tables, Club(id=1))
    await store(tables, Guest(club_id=1), Guest(club_id=None))
    async with tables.write() as session, session.begin():
        await session.delete(await session.get(Club, 1))
    assert await values_of(tables, Guest.id, Guest.version) == [(2, 1)]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3), (3, 1, 2)])
async def test_rows_of_a_tree_are_deleted_together_in_any_order(tables: Database, order: tuple[int, ...]) -> None:
    await store(tables, Folder(id=1))
    await store(tables, Folder(id=2, parent_id=1))
    await store(tables, Folder(id=3, parent_id=2))
    async with tables.write() as session, session.begin():
        for folder in [await session.get(Folder, at) for at in order]:
            await session.delete(folder)
    assert await values_of(tables, Folder.id) == [(at,) for at in (1, 2, 3) if at not in order]


async def test_expired_and_partly_loaded_rows_are_deleted(tables: Database) -> None:
    await store(tables, Folder(id=1), Folder(id=2), Folder(id=3))
    async with tables.write() as session, session.begin():
        expired = await session.get(Folder, 1)
        session.expire(expired)
        without_parent = load_only(Folder.version)  # type: ignore[arg-type]  # SQLModel's fields have their own types
        only_version = select(Folder).options(without_parent).where(col(Folder.id) == 2)
        partly = (await session.exec(only_version)).one()
        for row in (expired, partly):
            await session.delete(row)
    assert await values_of(tables, Folder.id) == [(3,)]


async def test_a_row_whose_values_have_expired_gets_its_new_version(tables: Database) -> None:
    await store(tables, Club(id=1))
    await store(tables, Player(club_id=1))
    async with tables.write() as session, session.begin():
        player = await session.get(Player, 1)
        session.expire(player)
        await session.delete(await session.get(Club, 1))
        await session.flush()
        await session.refresh(player)
        assert player is not None
        assert (player.club_id, player.version) == (None, 2)


async def test_a_row_whose_parent_is_loaded_is_deleted_before_it(tables: Database) -> None:
    await store(tables, Folder(id=1))
    await store(tables, Folder(id=2, parent_id=1))
    async with tables.write() as session, session.begin():
        child = await session.get(Folder, 2, options=[selectinload(Folder.parent)])  # type: ignore[arg-type]
        assert child is not None
        await session.delete(child.parent)
        await session.delete(child)
    assert await values_of(tables, Folder.id) == []


async def test_a_row_that_is_removed_from_its_parent_is_deleted_with_the_rows_below_it(tables: Database) -> None:
    await store(tables, Topic(id=1), Topic(id=2, parent_id=1), Topic(id=3, parent_id=2), Topic(id=4, parent_id=1))
    async with tables.write() as session, session.begin():
        topic = await session.get_one(Topic, 1, options=[selectinload(CHILDREN)])
        topic.children = [Topic(id=5)]
    assert sorted(await values_of(tables, Topic.id, Topic.parent_id)) == [(1, None), (5, 1)]


async def test_a_row_that_is_moved_from_its_parent_to_another_one_is_not_deleted(tables: Database) -> None:
    await store(tables, Topic(id=1), Topic(id=2, parent_id=1), Topic(id=3, parent_id=2), Topic(id=4, parent_id=1))
    async with tables.write() as session, session.begin():
        topic = await session.get_one(Topic, 1, options=[selectinload(CHILDREN).selectinload(CHILDREN)])
        moved, other = sorted(topic.children, key=lambda topic: topic.id)
        topic.children.remove(moved)
        other.children.append(moved)
    assert sorted(await values_of(tables, Topic.id, Topic.parent_id)) == [(1, None), (2, 4), (3, 2), (4, 1)]


@pytest.mark.filterwarnings("ignore:Object of type <Topic> not in session")
async def test_a_row_that_the_session_does_not_have_any_more_is_not_deleted(tables: Database) -> None:
    await store(tables, Topic(id=1), Topic(id=2, parent_id=1))
    async with tables.write() as session, session.begin():
        topic = await session.get_one(Topic, 1, options=[selectinload(CHILDREN)])
        session.expunge(topic.children.pop())
    assert sorted(await values_of(tables, Topic.id, Topic.parent_id)) == [(1, None), (2, 1)]
