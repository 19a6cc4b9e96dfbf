"""Embedding: related rows are shown by their read variant, with all columns that it needs."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import APIRouter, Depends
from pydantic import computed_field
from sqlmodel import Field, Relationship, select

from kit import Database, Id, ListQuery, Page, Read, ReadSession, allowing, embedding, found, page
from tests.engines import Client
from tests.kit.accounts import fill
from tests.kit.bookshop import Book, BookQuery, BookRead, Journal, JournalRead, LibraryEntity, Shelf
from tests.kit.probes import new_book, new_shelf, read
from tests.kit.service import client_of, create_runtime, create_service


class SignRead(Read):
    """A shelf with a computed field."""

    name: str
    room: str

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's documentation says
    @property
    def sign(self) -> str:
        return f"{self.name}, {self.room}"


class SignedBookQuery(BookQuery):
    includes = {"shelf": "SignRead"}  # noqa: RUF012  what a query variant declares is never changed


class Clipping(LibraryEntity, table=True):
    """A part of a journal, which may be deleted softly."""

    __tablename__ = "kit_clipping"
    journal_id: UUID = Field(foreign_key="kit_journal.id")
    journal: Journal = Relationship()


class ClippingRead(Read):
    journal_id: UUID


class ClippingQuery(ListQuery):
    model = Clipping
    read = ClippingRead
    includes = {"journal": "JournalRead"}  # noqa: RUF012  never changed


router = APIRouter(prefix="/signed-books", tags=["signed books"], route_class=allowing())


@router.get("/", response_model=list[BookRead])
async def list_signed_books(query: Annotated[SignedBookQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Book))


@router.get("/clippings", response_model=list[ClippingRead])
async def list_clippings(query: Annotated[ClippingQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Clipping))


@router.get("/clippings/{clipping_id}", response_model=ClippingRead)
async def read_clipping(
    clipping_id: Id, query: Annotated[ClippingQuery, Depends(ClippingQuery.of_one)], session: ReadSession
) -> Clipping:
    return found(await session.get(Clipping, clipping_id, options=query.loading))


@pytest.fixture
async def signed(database: Database) -> AsyncIterator[Client]:
    table: Any = Clipping.__table__  # type: ignore[attr-defined]  # made by SQLModel
    async with database.writer.begin() as connection:
        await connection.run_sync(table.create)
    yield client_of(create_service(create_runtime(database), router))
    async with database.writer.begin() as connection:
        await connection.run_sync(table.drop)


async def test_a_related_row_has_the_computed_fields_of_its_variant(signed: Client) -> None:
    shelf = await new_shelf(signed, name="Drama", room="Hall")
    await new_book(signed, shelf_id=shelf["id"])
    await new_book(signed)
    with_shelf, without = await read(signed, "/signed-books/", include="shelf", sort="id")
    assert with_shelf["shelf"] == {"id": shelf["id"], "name": "Drama", "room": "Hall", "sign": "Drama, Hall"}
    assert without["shelf"] is None


async def new_journals(client: Client, shelf_id: int, number: int) -> list[Any]:
    """Create journals, and delete the first one."""
    new = [{"title": "Mind", "code": f"MIN-{at}", "shelf_id": shelf_id} for at in range(number)]
    journals: list[Any] = (await client.post("/journals/bulk", json=new)).json()
    assert (await client.delete(f"/journals/{journals[0]['id']}")).status_code == 204
    return journals


@pytest.mark.parametrize("number", [3, 150])
async def test_deleted_rows_are_not_embedded_in_a_list(signed: Client, number: int) -> None:
    shelf = await new_shelf(signed, name="Drama", room="Hall")
    other = await new_shelf(signed, name="Maps", room="Hall")
    shown = [journal["id"] for journal in (await new_journals(signed, shelf["id"], number))[1:]]
    for limit in (1, 100):
        parameters = {"include": "journals", "include_limit": limit}
        one = await read(signed, f"/shelves/{shelf['id']}", **parameters)
        assert await read(signed, "/shelves/", sort="id", **parameters) == [one, {**other, "journals": []}]
        assert [journal["id"] for journal in one["journals"]] == shown[:limit]


async def test_a_deleted_row_is_embedded_as_null(signed: Client, database: Database) -> None:
    shelf = await new_shelf(signed, name="Drama", room="Hall")
    ids = [journal["id"] for journal in await new_journals(signed, shelf["id"], 2)]
    await fill(database, Clipping, [{"journal_id": UUID(ident)} for ident in ids])
    listed = await read(signed, "/signed-books/clippings", include="journal", sort="id")
    assert [clipping["journal"] and clipping["journal"]["id"] for clipping in listed] == [None, ids[1]]
    alone = [await read(signed, f"/signed-books/clippings/{clipping['id']}", include="journal") for clipping in listed]
    assert alone == listed


def test_embedding_a_list_without_a_bound_is_refused() -> None:
    with pytest.raises(TypeError, match="would load all rows of a list: name it in `includes`"):
        embedding(Shelf, "journals", JournalRead)
