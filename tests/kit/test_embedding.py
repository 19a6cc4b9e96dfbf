"""Embedding: related rows are shown by their read variant, with all columns that it needs."""

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends
from pydantic import computed_field
from sqlmodel import select

from kit import Database, Page, Read, ReadSession, allowing, page
from tests.engines import Client
from tests.kit.bookshop import Book, BookQuery, BookRead
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


router = APIRouter(prefix="/signed-books", tags=["signed books"], route_class=allowing())


@router.get("/", response_model=list[BookRead])
async def list_signed_books(query: Annotated[SignedBookQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Book))


@pytest.fixture
async def signed(database: Database) -> Client:
    return client_of(create_service(create_runtime(database), router))


async def test_a_related_row_has_the_computed_fields_of_its_variant(signed: Client) -> None:
    shelf = await new_shelf(signed, name="Drama", room="Hall")
    await new_book(signed, shelf_id=shelf["id"])
    await new_book(signed)
    with_shelf, without = await read(signed, "/signed-books/", include="shelf", sort="id")
    assert with_shelf["shelf"] == {"id": shelf["id"], "name": "Drama", "room": "Hall", "sign": "Drama, Hall"}
    assert without["shelf"] is None
