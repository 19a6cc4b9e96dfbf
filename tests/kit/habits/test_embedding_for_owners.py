"""Embedded rows: a response shows no rows of others that only their owners may list, and none that are deleted."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import httpx
import pytest
from fastapi import APIRouter, Depends
from sqlalchemy.orm import joinedload, selectinload
from sqlmodel import Field, Relationship, SQLModel, select

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


class LetterBase(SQLModel):
    text: str = Field(max_length=20)


class HabitLetter(LetterBase, Deletable, HabitEntity, table=True):
    __tablename__ = "habit_letter"
    belongs_to: ClassVar[str | None] = "owner_id"
    owner_id: int | None = Field(default=None, sa_type=BIGINT)
    tag_id: int | None = Field(default=None, foreign_key="habit_postmark.id", sa_type=BIGINT)
    tag: HabitPostmark | None = Relationship(back_populates="letters")


class HabitLetterRead(LetterBase, Read):
    """A letter."""


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


async def shown(
    client: httpx.AsyncClient, path: str, user: int, include: str | None = "letters"
) -> tuple[list[str], str | None]:
    """Return the texts of the letters of a tag, and of the best one, as a user sees them."""
    answer = await client.get(path, params={"include": include} if include else {}, headers=bearer(user))
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


class TagWithLetters(Read):
    letters: list[HabitLetterRead]
    best: HabitLetterRead | None


@pytest.mark.parametrize("load", [selectinload, joinedload])
async def test_rows_that_a_handler_has_loaded_are_shown_to_their_owners_alone(
    serve: Serve, tag: int, load: Any
) -> None:
    router = APIRouter(prefix="/loaded", route_class=allowing(read=Who.MEMBERS))
    options = [load(HabitPostmark.letters), load(HabitPostmark.best)]

    @router.get("", response_model=list[TagWithLetters])
    async def list_loaded(session: ReadSession) -> list[HabitPostmark]:
        return list((await session.scalars(select(HabitPostmark).options(*options))).unique())

    @router.get("/{tag_id}", response_model=TagWithLetters)
    async def read_loaded(tag_id: Id, session: ReadSession) -> HabitPostmark:
        return found(await session.get(HabitPostmark, tag_id, options=options))

    client = await serve(router, *routers(of_letters=Who.OWNERS), auth=True)
    for path in ("/loaded", f"/loaded/{tag}"):
        assert await shown(client, path, MEMBER, None) == (["mine", "torn"], None)
        assert await shown(client, path, OTHER, None) == (["theirs"], "theirs")
        assert await shown(client, path, SUPERUSER_ID, None) == (["mine", "torn", "theirs"], "theirs")


async def read_letter(letter_id: Id, session: ReadSession) -> HabitLetter:
    return found(await session.get(HabitLetter, letter_id))


async def read_by_query(query: Annotated[HabitLetterQuery, Depends(HabitLetterQuery.of_one)]) -> Any: ...


async def read_by_model() -> Any: ...


async def read_as_stream(session: ReadSession) -> AsyncIterator[HabitLetterRead]:
    for letter in await session.exec(select(HabitLetter)):
        yield HabitLetterRead.model_validate(letter)


async def list_all(query: Annotated[HabitLetterQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(HabitLetter))


READERS: dict[str, tuple[Any, Any]] = {
    "a row": (read_letter, HabitLetterRead),
    "a query for one row": (read_by_query, HabitLetterRead),
    "a response model": (read_by_model, HabitLetterRead),
    "a stream": (read_as_stream, None),
}


def reading(path: str, handler: Any, model: Any, who: Who) -> APIRouter:
    """Return a router with one route, which reads letters."""
    router = APIRouter(route_class=allowing(read=who))
    router.add_api_route(path, handler, response_model=model, methods=["GET"])
    return router


@pytest.mark.parametrize("way_to_read", READERS)
async def test_rows_without_a_list_are_embedded_as_they_are_read(serve: Serve, tag: int, way_to_read: str) -> None:
    handler, model = READERS[way_to_read]
    tags, _ = routers(of_letters=Who.OWNERS)
    for who, seen in ((Who.OWNERS, (["mine"], None)), (Who.MEMBERS, (["mine", "theirs"], "theirs"))):
        client = await serve(tags, reading("/letters/{letter_id}", handler, model, who), auth=True)
        assert await shown(client, "/tags", MEMBER) == seen


async def test_a_list_for_superusers_shows_rows_to_nobody_else(serve: Serve, tag: int) -> None:
    everything = reading("/all-letters", list_all, list[HabitLetterRead], Who.SUPERUSERS)
    client = await serve(everything, *routers(of_letters=Who.OWNERS), auth=True)
    assert await shown(client, "/tags", MEMBER) == (["mine"], None)
