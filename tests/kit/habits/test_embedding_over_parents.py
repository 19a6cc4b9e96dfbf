"""Embedded rows whose owner is that of a parent's parent: they are shown to this owner alone."""

from typing import Annotated, Any, ClassVar

import pytest
from fastapi import APIRouter, Depends
from sqlalchemy.orm import joinedload, selectinload
from sqlmodel import Field, Relationship, select

from kit import BIGINT, Database, Id, ListQuery, Page, Read, ReadSession, Who, allowing, found, page
from tests.kit.habits.conftest import MEMBER, OTHER, SUPERUSER_ID, Serve, bearer
from tests.kit.habits.items import HabitEntity

pytestmark = pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)


class HabitChest(HabitEntity, table=True):
    __tablename__ = "habit_chest"
    belongs_to: ClassVar[str | None] = "owner_id"
    owner_id: int | None = Field(default=None, sa_type=BIGINT)


class HabitBundle(HabitEntity, table=True):
    __tablename__ = "habit_bundle"
    belongs_to: ClassVar[str | None] = "chest_id"
    chest_id: int | None = Field(default=None, foreign_key="habit_chest.id", sa_type=BIGINT)


class HabitSticker(HabitEntity, table=True):
    __tablename__ = "habit_sticker"
    name: str = Field(max_length=20)
    scraps: list["HabitScrap"] = Relationship(back_populates="sticker")


class HabitScrap(HabitEntity, table=True):
    __tablename__ = "habit_scrap"
    belongs_to: ClassVar[str | None] = "bundle_id"
    text: str = Field(max_length=20)
    bundle_id: int | None = Field(default=None, foreign_key="habit_bundle.id", sa_type=BIGINT)
    sticker_id: int | None = Field(default=None, foreign_key="habit_sticker.id", sa_type=BIGINT)
    sticker: HabitSticker | None = Relationship(back_populates="scraps")


class HabitScrapRead(Read):
    text: str


class HabitStickerRead(Read):
    name: str


class StickerWithScraps(HabitStickerRead):
    scraps: list[HabitScrapRead]


class HabitScrapQuery(ListQuery):
    model, read = HabitScrap, HabitScrapRead


class HabitStickerQuery(ListQuery):
    model, read = HabitSticker, HabitStickerRead
    includes: ClassVar[Any] = {"scraps": "HabitScrapRead"}


Query = Annotated[HabitStickerQuery, Depends(HabitStickerQuery.of_one)]


@pytest.fixture
async def routers(database: Database) -> tuple[APIRouter, APIRouter]:
    """Provide the routes of a sticker with two scraps, of a member and of another one, and of scraps."""
    async with database.write() as session:
        session.add(sticker := HabitSticker(name="star"))
        await session.flush()
        for owner in (MEMBER, OTHER):
            session.add(chest := HabitChest(owner_id=owner))
            await session.flush()
            session.add(bundle := HabitBundle(chest_id=chest.id))
            await session.flush()
            session.add(HabitScrap(text=str(owner), bundle_id=bundle.id, sticker_id=sticker.id))
            await session.flush()
        await session.commit()
    stickers = APIRouter(prefix="/stickers", route_class=allowing(read=Who.MEMBERS))
    scraps = APIRouter(prefix="/scraps", route_class=allowing(read=Who.OWNERS))

    @scraps.get("", response_model=list[HabitScrapRead])
    async def list_scraps(query: Annotated[HabitScrapQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, select(HabitScrap))

    @stickers.get("", response_model=list[HabitStickerRead])
    async def list_stickers(query: Annotated[HabitStickerQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, select(HabitSticker))

    @stickers.get("/{sticker_id}", response_model=HabitStickerRead)
    async def read_sticker(sticker_id: Id, query: Query, session: ReadSession) -> HabitSticker:
        return found(await session.get(HabitSticker, sticker_id, options=query.loading))

    return stickers, scraps


def texts(rows: Any) -> list[str]:
    return [scrap["text"] for row in (rows if isinstance(rows, list) else [rows]) for scrap in row["scraps"]]


@pytest.mark.parametrize("path", ["/stickers?include=scraps", "/stickers/1?include=scraps"])
async def test_included_rows_are_those_of_the_owner_of_the_grandparent(serve: Serve, routers: Any, path: str) -> None:
    client = await serve(*routers, auth=True)
    everything = (await client.get("/stickers", headers=bearer(MEMBER))).json()
    path = path.replace("/1?", f"/{everything[0]['id']}?")
    for user, expected in ((MEMBER, ["2"]), (OTHER, ["3"]), (SUPERUSER_ID, ["2", "3"])):
        assert texts((await client.get(path, headers=bearer(user))).json()) == expected


@pytest.mark.parametrize("options", [[], [selectinload(HabitSticker.scraps)], [joinedload(HabitSticker.scraps)]])  # type: ignore[arg-type]
async def test_shown_rows_are_those_of_the_owner_of_the_grandparent(serve: Serve, routers: Any, options: Any) -> None:
    router = APIRouter(prefix="/shown", route_class=allowing(read=Who.MEMBERS))

    @router.get("", response_model=list[StickerWithScraps])
    async def list_shown(session: ReadSession) -> list[HabitSticker]:
        return list((await session.scalars(select(HabitSticker).options(*options))).unique())

    client = await serve(router, *routers, auth=True)
    for user, expected in ((MEMBER, ["2"]), (OTHER, ["3"]), (SUPERUSER_ID, ["2", "3"])):
        assert texts((await client.get("/shown", headers=bearer(user))).json()) == expected
