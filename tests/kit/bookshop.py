"""Bookshop: the resources of the kit's tests: shelves with books and journals, and members with notes.

Their tables have a registry of their own, so that no migration creates them.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from sqlalchemy import MetaData
from sqlalchemy.orm import registry
from sqlmodel import CheckConstraint, Field, Relationship, SQLModel, UniqueConstraint, select

from kit import (
    BIGINT,
    PRIVATE,
    Absent,
    Batch,
    Body,
    Changes,
    Deletable,
    DeletableQuery,
    Email,
    Entity,
    Id,
    Ids,
    IfMatch,
    JSONInteger,
    ListQuery,
    Many,
    Money,
    MoneyColumn,
    Name,
    OnError,
    Owner,
    Page,
    Read,
    ReadSession,
    Reference,
    Session,
    Sku,
    Stamped,
    Updated,
    Username,
    UUIDEntity,
    UUIDRead,
    Who,
    allowing,
    change_many,
    create_many,
    found,
    is_not_deleted,
    not_deleted,
    now,
    page,
    sorted_by,
    unique_if_not_deleted,
)

MAX_COPIES = 1_000_000_000
REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))


class LibraryEntity(Entity, registry=REGISTRY):
    """A table of the tests."""


class LibraryUUIDEntity(UUIDEntity, registry=REGISTRY):
    """A table of the tests whose rows have UUIDs."""


# Shelves: a shelf has a unique name and a room. Deleting it keeps its books; one with journals cannot be deleted.


class ShelfBase(SQLModel):
    name: Name = Field(max_length=100, description="Unique.", schema_extra={"examples": ["Poetry", "Maps", "Drama"]})
    room: Name = Field(max_length=200, schema_extra={"examples": ["Reading room"]})


class Shelf(ShelfBase, LibraryEntity, table=True):
    __tablename__ = "kit_shelf"
    __table_args__ = (
        UniqueConstraint("name"),
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name"),
        CheckConstraint("length(room) BETWEEN 1 AND 200", name="room"),
        *sorted_by("room", "created_at"),
        {"sqlite_autoincrement": True},
    )
    books: list["Book"] = Relationship(back_populates="shelf", sa_relationship_kwargs={"order_by": "Book.id"})
    journals: list["Journal"] = Relationship(back_populates="shelf")


class ShelfCreate(ShelfBase, Body):
    """A new shelf."""


class ShelfRead(Stamped, ShelfBase, Read):
    """A shelf. `include=books` adds its books."""


class ShelfUpdate(ShelfCreate, Changes):
    """Changes to a shelf; every field may be left out."""


class ShelfQuery(ListQuery):
    model = Shelf
    read = ShelfRead
    filters = ("name", "room", "created_at")
    sorts = ("name", "room", "created_at")
    search = ("name", "room")
    includes = {"books": "BookRead", "journals": "JournalRead"}  # noqa: RUF012  what a query variant declares is never changed


shelves = APIRouter(prefix="/shelves", tags=["shelves"], route_class=allowing(read=Who.MEMBERS))


@shelves.get("/", response_model=list[ShelfRead], summary="List shelves")
async def list_shelves(query: Annotated[ShelfQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Shelf))


@shelves.post("/", response_model=ShelfRead, status_code=201, summary="Create a shelf")
async def create_shelf(new: ShelfCreate, session: Session) -> Shelf:
    shelf = Shelf.model_validate(new)
    session.add(shelf)
    return shelf


@shelves.post("/bulk", response_model=list[ShelfRead], status_code=201, summary="Create many shelves")
async def bulk_create_shelves(new: Batch[ShelfCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Shelf)


@shelves.get("/{shelf_id}", response_model=ShelfRead, summary="Read a shelf")
async def read_shelf(
    shelf_id: Id, query: Annotated[ShelfQuery, Depends(ShelfQuery.of_one)], session: ReadSession
) -> Shelf:
    return found(await session.get(Shelf, shelf_id, options=query.loading))


@shelves.patch("/{shelf_id}", response_model=ShelfRead, summary="Update a shelf")
async def update_shelf(shelf_id: Id, changes: ShelfUpdate, session: Session, matching: IfMatch) -> Shelf:
    shelf = matching(found(await session.get(Shelf, shelf_id)))
    shelf.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return shelf


@shelves.delete("/{shelf_id}", status_code=204, summary="Delete a shelf")
async def delete_shelf(shelf_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Shelf, shelf_id))))


# Books: a book has a title, an author, an optional year, a number of copies, and at most one shelf.


class BookBase(SQLModel):
    title: Name = Field(max_length=100, schema_extra={"examples": ["Emma"]})
    author: Name = Field(max_length=100, schema_extra={"examples": ["Jane Austen"]})
    year: JSONInteger | None = Field(default=None, ge=0, le=10_000, schema_extra={"examples": [1815]})
    copies: JSONInteger = Field(default=0, ge=0, le=MAX_COPIES, schema_extra={"examples": [3]})
    shelf_id: Reference | None = Field(
        default=None,
        foreign_key="kit_shelf.id",
        ondelete="SET NULL",
        sa_type=BIGINT,
        description="The shelf, if any.",
        schema_extra={"examples": [None]},
    )


class Book(BookBase, LibraryEntity, table=True):
    __tablename__ = "kit_book"
    __table_args__ = (
        CheckConstraint("length(title) BETWEEN 1 AND 100", name="title"),
        CheckConstraint("length(author) BETWEEN 1 AND 100", name="author"),
        CheckConstraint("year BETWEEN 0 AND 10000", name="year"),
        CheckConstraint(f"copies BETWEEN 0 AND {MAX_COPIES}", name="copies"),
        *sorted_by("title", "author", "year", "copies", "shelf_id", "created_at"),
        {"sqlite_autoincrement": True},
    )
    shelf: Shelf | None = Relationship(back_populates="books")


class BookCreate(BookBase, Body):
    """A new book."""

    read_only = Body.read_only | {"shelf"}


class BookRead(Stamped, BookBase, Read):
    """A book. `include=shelf` adds its shelf."""


class BookUpdate(BookCreate, Changes):
    """Changes to a book; every field may be left out."""


class BookQuery(ListQuery):
    model = Book
    read = BookRead
    filters = ("title", "author", "year", "copies", "shelf_id", "created_at")
    sorts = ("title", "author", "year", "copies", "shelf_id", "created_at")
    search = ("title", "author")
    includes = {"shelf": "ShelfRead"}  # noqa: RUF012  what a query variant declares is never changed


books = APIRouter(prefix="/books", tags=["books"], route_class=allowing(read=Who.MEMBERS))


@books.get("/", response_model=list[BookRead], summary="List books")
async def list_books(query: Annotated[BookQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Book))


@books.post("/", response_model=BookRead, status_code=201, summary="Create a book")
async def create_book(new: BookCreate, session: Session) -> Book:
    book = Book.model_validate(new)
    session.add(book)
    return book


@books.post("/bulk", response_model=list[BookRead], status_code=201, summary="Create many books")
async def bulk_create_books(new: Batch[BookCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Book)


@books.get("/{book_id}", response_model=BookRead, summary="Read a book")
async def read_book(book_id: Id, query: Annotated[BookQuery, Depends(BookQuery.of_one)], session: ReadSession) -> Book:
    return found(await session.get(Book, book_id, options=query.loading))


@books.put("/{book_id}", response_model=BookRead, summary="Replace a book")
async def replace_book(book_id: Id, new: BookCreate, session: Session, matching: IfMatch) -> Book:
    book = matching(found(await session.get(Book, book_id)))
    book.sqlmodel_update(new.model_dump())
    return book


@books.patch("/{book_id}", response_model=BookRead, summary="Update a book")
async def update_book(book_id: Id, changes: BookUpdate, session: Session, matching: IfMatch) -> Book:
    book = matching(found(await session.get(Book, book_id)))
    book.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return book


@books.delete("/{book_id}", status_code=204, summary="Delete a book")
async def delete_book(book_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Book, book_id))))


# Members: the users. Everybody may register; an e-mail address is visible to its member and to superusers.


class MemberBase(SQLModel):
    username: Username = Field(min_length=3, max_length=50, schema_extra={"examples": ["natasha"]})
    email: Email = Field(
        max_length=254, sa_column_kwargs=PRIVATE, schema_extra={"examples": ["natasha@people.example"]}
    )
    is_superuser: bool = Field(default=False)


class Member(MemberBase, LibraryEntity, table=True):
    __tablename__ = "kit_member"
    __table_args__ = (
        UniqueConstraint("username"),
        UniqueConstraint("email"),
        *sorted_by("created_at"),
        {"sqlite_autoincrement": True},
    )
    belongs_to = "id"
    reserved = {"is_superuser": False}


class MemberCreate(MemberBase, Body):
    """A new member."""


class MemberRead(Stamped, MemberBase, Read):
    """A member."""

    belongs_to = "id"


class MemberQuery(ListQuery):
    model = Member
    read = MemberRead
    filters = ("username", "email", "created_at")
    sorts = ("username", "created_at")
    search = ("username",)


members = APIRouter(
    prefix="/members", tags=["members"], route_class=allowing(read=Who.MEMBERS, create=Who.ANYONE, change=Who.OWNERS)
)


@members.get("/", response_model=list[MemberRead], summary="List members")
async def list_members(query: Annotated[MemberQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Member))


@members.post("/", response_model=MemberRead, status_code=201, summary="Create a member")
async def create_member(new: MemberCreate, session: Session) -> Member:
    member = Member.model_validate(new)
    session.add(member)
    return member


@members.get("/{member_id}", response_model=MemberRead, summary="Read a member")
async def read_member(
    member_id: Id, query: Annotated[MemberQuery, Depends(MemberQuery.of_one)], session: ReadSession
) -> Member:
    return found(await session.get(Member, member_id, options=query.loading))


@members.delete("/{member_id}", status_code=204, summary="Delete a member")
async def delete_member(member_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Member, member_id))))


# Notes: a note belongs to a member and is deleted with the member. A fine is an amount of money.


class NoteBase(SQLModel):
    text: Name = Field(max_length=200, schema_extra={"examples": ["Two pages are missing."]})
    fine: Money = Field(sa_type=MoneyColumn, schema_extra={"examples": ["0.50"]})
    owner_id: Owner = Field(
        default_factory=Absent,
        foreign_key="kit_member.id",
        ondelete="CASCADE",
        sa_type=BIGINT,
        description="The member; the caller, if left out.",
        schema_extra={"examples": ["{kit_member}"]},
    )


class Note(NoteBase, LibraryEntity, table=True):
    __tablename__ = "kit_note"
    belongs_to = "owner_id"
    __table_args__ = (
        CheckConstraint("length(text) BETWEEN 1 AND 200", name="text"),
        CheckConstraint("fine >= 0", name="fine"),
        *sorted_by("text", "fine", "owner_id", "created_at"),
        {"sqlite_autoincrement": True},
    )
    owner: Member = Relationship()


class NoteCreate(NoteBase, Body):
    """A new note."""

    read_only = Body.read_only | {"owner"}


class NoteRead(Stamped, NoteBase, Read):
    """A note. `include=owner` adds its owner."""


class NoteUpdate(NoteCreate, Changes):
    """Changes to a note; every field may be left out."""


class NoteQuery(ListQuery):
    model = Note
    read = NoteRead
    filters = ("text", "fine", "owner_id", "created_at")
    sorts = ("text", "fine", "owner_id", "created_at")
    search = ("text",)
    includes = {"owner": "MemberRead"}  # noqa: RUF012  what a query variant declares is never changed


notes = APIRouter(
    prefix="/notes",
    tags=["notes"],
    route_class=allowing(read=Who.MEMBERS, create=Who.OWNERS, bulk=Who.OWNERS, change=Who.OWNERS),
)


@notes.get("/", response_model=list[NoteRead], summary="List notes")
async def list_notes(query: Annotated[NoteQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Note))


@notes.post("/", response_model=NoteRead, status_code=201, summary="Create a note")
async def create_note(new: NoteCreate, session: Session) -> Note:
    note = Note.model_validate(new)
    session.add(note)
    return note


@notes.post("/bulk", response_model=list[NoteRead], status_code=201, summary="Create many notes")
async def bulk_create_notes(new: Batch[NoteCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Note)


@notes.get("/{note_id}", response_model=NoteRead, summary="Read a note")
async def read_note(note_id: Id, query: Annotated[NoteQuery, Depends(NoteQuery.of_one)], session: ReadSession) -> Note:
    return found(await session.get(Note, note_id, options=query.loading))


@notes.patch("/{note_id}", response_model=NoteRead, summary="Update a note")
async def update_note(note_id: Id, changes: NoteUpdate, session: Session, matching: IfMatch) -> Note:
    note = matching(found(await session.get(Note, note_id)))
    note.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return note


@notes.delete("/{note_id}", status_code=204, summary="Delete a note")
async def delete_note(note_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Note, note_id))))


# Journals: their ids are UUIDs. A deleted journal is hidden, and its code can be used again.


class JournalBase(SQLModel):
    title: Name = Field(max_length=200, schema_extra={"examples": ["Nature", "Mind", "Isis"]})
    code: Sku = Field(max_length=64, schema_extra={"examples": ["NAT-1", "MIN-1", "ISI-1"]})
    shelf_id: Reference | None = Field(
        default=None, foreign_key="kit_shelf.id", sa_type=BIGINT, schema_extra={"examples": [None]}
    )


class Journal(JournalBase, Deletable, LibraryUUIDEntity, table=True):
    __tablename__ = "kit_journal"
    __table_args__ = (
        *unique_if_not_deleted("code"),
        CheckConstraint("length(title) BETWEEN 1 AND 200", name="title"),
        *sorted_by("title", "shelf_id", "created_at", "deleted_at"),
    )
    shelf: Shelf | None = Relationship(back_populates="journals")


class JournalCreate(JournalBase, Body):
    """A new journal."""

    read_only = Body.read_only | {"deleted_at", "shelf"}


class JournalRead(Stamped, JournalBase, UUIDRead):
    """A journal. `include=shelf` adds its shelf."""

    deleted_at: datetime | None


class JournalUpdate(JournalCreate, Changes):
    """Changes to a journal; every field may be left out."""


class JournalsUpdate(Body):
    ids: Ids = Field(schema_extra={"examples": [["{kit_journal}", "{kit_journal:2}"]]})
    changes: JournalUpdate = Field(schema_extra={"examples": [{"title": "Nature"}]})


class JournalQuery(DeletableQuery):
    model = Journal
    read = JournalRead
    filters = ("title", "code", "shelf_id", "created_at")
    sorts = ("title", "code", "created_at")
    search = ("title",)
    includes = {"shelf": "ShelfRead"}  # noqa: RUF012  what a query variant declares is never changed


journals = APIRouter(prefix="/journals", tags=["journals"], route_class=allowing(read=Who.MEMBERS))


@journals.get("/", response_model=list[JournalRead], summary="List journals")
async def list_journals(query: Annotated[JournalQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Journal))


@journals.post("/", response_model=JournalRead, status_code=201, summary="Create a journal")
async def create_journal(new: JournalCreate, session: Session) -> Journal:
    journal = Journal.model_validate(new)
    session.add(journal)
    return journal


@journals.post("/bulk", response_model=list[JournalRead], status_code=201, summary="Create many journals")
async def bulk_create_journals(new: Batch[JournalCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Journal)


@journals.patch("/bulk", response_model=Updated, summary="Update many journals, all or none")
async def bulk_update_journals(many: JournalsUpdate, session: Session) -> Updated:
    return await change_many(
        session, Journal, many.ids, many.changes.model_dump(exclude_unset=True), is_not_deleted(Journal)
    )


@journals.get("/{journal_id}", response_model=JournalRead, summary="Read a journal")
async def read_journal(
    journal_id: UUID, query: Annotated[JournalQuery, Depends(JournalQuery.of_one)], session: ReadSession
) -> Journal:
    return query.permitted(await session.get(Journal, journal_id, options=query.loading))


@journals.delete("/{journal_id}", status_code=204, summary="Delete a journal")
async def delete_journal(journal_id: UUID, session: Session, matching: IfMatch) -> None:
    not_deleted(matching(found(await session.get(Journal, journal_id)))).deleted_at = now()


ROUTERS = (shelves, books, members, notes, journals)
PUBLIC = frozenset({"POST /members/"})
"""The operations that need no token."""
TABLES = REGISTRY.metadata.sorted_tables
