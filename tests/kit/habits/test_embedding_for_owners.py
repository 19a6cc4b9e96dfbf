"""Embedded rows: a response shows no rows of others that only their owners may list, and none that are deleted."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import httpx
import pytest
from fastapi import APIRouter, Depends
from sqlmodel import Field, Relationship, select

from kit import BIGINT, Database, Deletable, Id, ListQuery, Page, Read, ReadSession, Who, allowing, found, page
from tests.kit.habits.conftest import MEMBER, OTHER, SUPERUSER_ID, Serve, bearer
from tests.kit.habits.items import HabitEntity

pytestmark = pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)


class HabitPostmark(HabitEntity, table=True):
    __tablename__ = "habit_postmark"
    name: str = Field(max_length=20)
    letters: list["HabitLetter"] = Relationship(back_populates="tag")
    best_id: int | None = Field(default=None, sa_type=BIGINT)
    best: "HabitLetter" = Relationship(
        sa_relationship_kwargs={
            "primaryjoin": "foreign(HabitPostmark.best_id) == HabitLetter.id",
            "viewonly": True,
            "lazy": "raise",
        }
    )


class HabitLetter(Deletable, HabitEntity, table=True):
    __tablename__ = "habit_letter"
    belongs_to: ClassVar[str | None] = "owner_id"
    text: str = Field(max_length=20)
    owner_id: int | None = Field(default=None, sa_type=BIGINT)
    tag_id: int | None = Field(default=None, foreign_key="habit_postmark.id", sa_type=BIGINT)
    tag: HabitPostmark | None = Relationship(back_populates="letters")


class HabitLetterRead(Read):
    text: str


class HabitLetterQuery(ListQuery):
    model, read = HabitLetter, HabitLetterRead


class HabitPostmarkRead(Read):
    name: str
    best: HabitLetterRead | None


class HabitPostmarkQuery(ListQuery):
    model, read = HabitPostmark, HabitPostmarkRead
    includes: ClassVar[Any] = {"letters": "HabitLetterRead"}


def routers(of_letters: Who) -> tuple[APIRouter, APIRouter]:
    tags = APIRouter(prefix="/tags", route_class=allowing(read=Who.MEMBERS))
    letters = APIRouter(prefix="/letters", route_class=allowing(read=of_letters))

    @tags.get("", response_model=list[HabitPostmarkRead])
    async def list_tags(query: Annotated[HabitPostmarkQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, select(HabitPostmark))

    @tags.get("/{tag_id}", response_model=HabitPostmarkRead)
    async def read_tag(
        tag_id: Id, query: Annotated[HabitPostmarkQuery, Depends(HabitPostmarkQuery.of_one)], session: ReadSession
    ) -> HabitPostmark:
        return found(await session.get(HabitPostmark, tag_id, options=query.loading))

    @letters.get("", response_model=list[HabitLetterRead])
    async def list_letters(query: Annotated[HabitLetterQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, select(HabitLetter))

    return tags, letters


@pytest.fixture
async def tag(database: Database) -> int:
    """Provide a tag with three letters: of a member, deleted, and of another member. The best one is the last."""
    async with database.write() as session:
        tag = HabitPostmark(name="post")
        session.add(tag)
        await session.flush()
        letters = [
            HabitLetter(text="mine", owner_id=MEMBER, tag_id=tag.id),
            HabitLetter(text="torn", owner_id=MEMBER, tag_id=tag.id, deleted_at=datetime.now(UTC)),
            HabitLetter(text="theirs", owner_id=OTHER, tag_id=tag.id),
        ]
        for letter in letters:
            session.add(letter)
            await session.flush()
        tag.best_id = letters[-1].id
        await session.commit()
        return tag.id


async def shown(client: httpx.AsyncClient, path: str, user: int) -> tuple[list[str], str | None]:
    """Return the texts of the letters of a tag, and of the best one, as a user sees them."""
    answer = await client.get(path, params={"include": "letters"}, headers=bearer(user))
    assert answer.status_code == 200, answer.text
    (tag,) = answer.json() if isinstance(answer.json(), list) else [answer.json()]
    return [letter["text"] for letter in tag["letters"]], tag["best"] and tag["best"]["text"]


async def test_rows_that_only_their_owners_may_list_are_embedded_for_them_alone(serve: Serve, tag: int) -> None:
    client = await serve(*routers(of_letters=Who.OWNERS), auth=True)
    for path in ("/tags", f"/tags/{tag}"):
        assert await shown(client, path, MEMBER) == (["mine"], None)
        assert await shown(client, path, OTHER) == (["theirs"], "theirs")
        assert await shown(client, path, SUPERUSER_ID) == (["mine", "theirs"], "theirs")


async def test_rows_that_all_members_may_list_are_embedded_for_all(serve: Serve, tag: int) -> None:
    client = await serve(*routers(of_letters=Who.MEMBERS), auth=True)
    for path in ("/tags", f"/tags/{tag}"):
        assert await shown(client, path, MEMBER) == (["mine", "theirs"], "theirs")


class TagWithBest(Read):
    best: HabitLetterRead


async def test_a_required_row_that_may_be_left_out_is_refused_at_start(serve: Serve) -> None:
    router = APIRouter(prefix="/best", route_class=allowing(read=Who.MEMBERS))

    @router.get("/{tag_id}", response_model=TagWithBest)
    async def read_best(tag_id: Id, session: ReadSession) -> HabitPostmark:
        return found(await session.get(HabitPostmark, tag_id))

    says = (
        r"TagWithBest\.best is required, but its HabitLetter is left out of responses when it is softly deleted or "
        r"belongs to another user: write `best: HabitLetterRead \| None`\."
    )
    with pytest.raises(ValueError, match=says):
        await serve(router, *routers(of_letters=Who.OWNERS))
