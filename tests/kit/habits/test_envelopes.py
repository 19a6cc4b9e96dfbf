"""Envelopes: the related rows that a response model shows are loaded, wherever it contains rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar

import pytest
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, RootModel
from sqlmodel import select
from typing_extensions import TypeAliasType, TypedDict

from kit import Database, Read, ReadSession, Session
from tests.kit.habits.items import HabitAuthor, HabitBook

if TYPE_CHECKING:
    from tests.kit.habits.items import HabitItem as Unknown

T = TypeVar("T")


class WriterRead(Read):
    name: str


class WrittenBook(Read):
    title: str
    author: WriterRead | None


class TitledBook(BaseModel):
    """A model of pydantic, with the name of a relationship as its alias."""

    model_config = ConfigDict(from_attributes=True)

    title: str
    by: WriterRead = Field(validation_alias="author")


class Envelope(BaseModel):
    total: int
    items: list[WrittenBook]


class Paged(BaseModel, Generic[T]):
    items: list[T]
    first: T | None = None


class Named(TypedDict):
    book: WrittenBook


@dataclass
class Boxed:
    book: WrittenBook
    note: str = ""


@dataclass
class Pair(Generic[T]):
    """A generic dataclass."""

    first: T
    others: list[T]


@dataclass
class Known:
    """A dataclass with an attribute whose type only type checkers know."""

    count: int
    cache: ClassVar["Unknown | None"] = None


def linked() -> Any:
    """Return a dataclass in a function, which refers to itself."""

    @dataclass
    class Link:
        book: WrittenBook | None = None
        after: "Link | None" = None

    return Link


class Placed(NamedTuple):
    place: int
    book: WrittenBook


class Root(RootModel[list[WrittenBook]]):
    """A list as a model."""


ALIAS = TypeAliasType("ALIAS", list[WrittenBook])
MANY = TypeAliasType("MANY", list[T], type_params=(T,))
BOOK = {"id": 1, "title": "One", "author": {"id": 1, "name": "Ann"}}
TITLED = {"title": "One", "by": {"id": 1, "name": "Ann"}}
CASES: dict[str, tuple[Any, Any, Any]] = {
    "an envelope": (Envelope, lambda book: {"total": 1, "items": [book]}, {"total": 1, "items": [BOOK]}),
    "a dictionary": (dict[str, WrittenBook], lambda book: {"a": book}, {"a": BOOK}),
    "lists in a dictionary": (dict[str, list[WrittenBook]], lambda book: {"a": [book]}, {"a": [BOOK]}),
    "a tuple": (tuple[int, WrittenBook], lambda book: (7, book), [7, BOOK]),
    "a tuple of any length": (tuple[WrittenBook, ...], lambda book: (book,), [BOOK]),
    "a generic model": (Paged[WrittenBook], lambda book: {"items": [book], "first": book},
                        {"items": [BOOK], "first": BOOK}),
    "no row": (Paged[WrittenBook], lambda _: {"items": []}, {"items": [], "first": None}),
    "an optional list": (list[WrittenBook | None] | None, lambda book: [book, None], [BOOK, None]),
    "an annotated list": (Annotated[list[WrittenBook], Field(max_length=3)], lambda book: [book], [BOOK]),
    "a model of pydantic": (TitledBook, lambda book: book, TITLED),
    "models of pydantic": (Paged[TitledBook], lambda book: {"items": [book]}, {"items": [TITLED], "first": None}),
    "a typed dictionary": (list[Named], lambda book: [{"book": book}], [{"book": BOOK}]),
    "a dataclass": (Boxed, lambda book: {"book": book}, {"book": BOOK, "note": ""}),
    "a model as a list": (Root, lambda book: [book], [BOOK]),
    "a named type": (ALIAS, lambda book: [book], [BOOK]),
    "a row or a list": (list[WrittenBook] | WrittenBook, lambda book: book, BOOK),
    "an object": (dict[str, Envelope], lambda book: {"a": Shelf(book)}, {"a": {"total": 1, "items": [BOOK]}}),
    "a generic dataclass": (Pair[WrittenBook], lambda book: {"first": book, "others": [book]},
                            {"first": BOOK, "others": [BOOK]}),
    "a generic dataclass of other values": (Pair[int], lambda _: Pair(1, [2]), {"first": 1, "others": [2]}),
    "a named generic type": (MANY[WrittenBook], lambda book: [book], [BOOK]),
    "a named tuple": (Placed, lambda book: Placed(1, book), [1, BOOK]),
    "a sequence for a named tuple": (list[Placed], lambda book: [[1, book]], [[1, BOOK]]),
    "a dataclass that refers to itself": (linked(), lambda book: {"after": {"book": book}},
                                          {"book": None, "after": {"book": BOOK, "after": None}}),
    "a name of a row": (TypeAliasType("NAME", WrittenBook), lambda book: book, BOOK),
    "a class with an unknown type": (Known, lambda _: {"count": 2}, {"count": 2}),
}  # fmt: skip
"""The response models, each with a function that makes the result of a handler from a row, and the response."""


class Shelf:
    """An object with the attributes of an envelope."""

    def __init__(self, book: Any) -> None:
        self.total, self.items = 1, [book]


@pytest.fixture(autouse=True)
async def book(database: Database) -> None:
    async with database.write() as session, session.begin():
        session.add(HabitBook(title="One", author=HabitAuthor(name="Ann")))


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("name", CASES)
async def test_related_rows_are_loaded_in(router: APIRouter, serve: Any, name: str) -> None:
    model, made, expected = CASES[name]

    @router.get("/books", response_model=model)
    async def read(session: ReadSession) -> Any:
        return made((await session.exec(select(HabitBook))).one())

    @router.post("/books", response_model=model)
    async def write(session: Session) -> Any:
        return made(await session.get(HabitBook, 1))

    client = await serve(router)
    for method in ("GET", "POST"):
        answer = await client.request(method, "/books")
        assert (answer.status_code, answer.json()) == (200, expected)


@pytest.mark.parametrize("way", ["plain", "resource", "fast"], indirect=True)
async def test_the_log_names_a_relationship_that_is_not_loaded(
    router: APIRouter, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @router.get("/books", response_model=Envelope)
    async def read(session: ReadSession) -> Any:
        book = (await session.exec(select(HabitBook))).one()
        return Envelope.model_validate({"total": 1, "items": [book]}, from_attributes=True)

    @router.get("/author")
    async def author(session: ReadSession) -> str:
        return str((await session.exec(select(HabitBook))).one().author)

    client = await serve(router)
    for path in ("/books", "/author"):
        caplog.clear()
        assert (await client.get(path)).status_code == 500
        assert "HabitBook.author was not loaded: add `.options(selectinload(HabitBook.author))`" in caplog.text


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize(("model", "item"), [(Envelope, BOOK), (Paged[TitledBook], TITLED)])
async def test_related_rows_of_a_new_row_are_loaded_in_an_envelope(
    router: APIRouter, serve: Any, model: Any, item: Any
) -> None:
    @router.post("/books", response_model=model)
    async def write(session: Session) -> Any:
        session.add(book := HabitBook(title="Two", author_id=1))
        return {"total": 1, "items": [book]}

    answer = await (await serve(router)).post("/books")
    assert answer.status_code == 200
    assert answer.json()["items"] == [item | {"title": "Two"} | ({"id": 2} if "id" in item else {})]
