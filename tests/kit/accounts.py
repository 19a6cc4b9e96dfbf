"""Accounts: resources with relations of all kinds, as SQLModel's documentation declares them.

Invoices belong to members and have lines; categories are a tree; loans go from one shelf to another; books have tags.
"""

from typing import Annotated, Any, Optional

from fastapi import APIRouter, Depends
from sqlalchemy import insert, inspect
from sqlmodel import Field, Relationship, SQLModel, UniqueConstraint, select

from kit import (
    BIGINT,
    Absent,
    Batch,
    Body,
    Changes,
    Database,
    Id,
    IfMatch,
    JSONInteger,
    ListQuery,
    Many,
    Name,
    OnError,
    Owner,
    Page,
    Read,
    ReadSession,
    Reference,
    Session,
    Stamped,
    Who,
    allowing,
    create_many,
    found,
    page,
    refuse_cycle,
)
from tests.kit.bookshop import Book, LibraryEntity, Member

OWNERS = allowing(read=Who.OWNERS, create=Who.OWNERS, bulk=Who.OWNERS, change=Who.OWNERS)
MEMBERS = allowing(read=Who.MEMBERS, create=Who.MEMBERS, bulk=Who.MEMBERS, change=Who.MEMBERS)

# Invoices: of a member, with a number that is unique for each member. Their lines are created with them, or later.


class InvoiceBase(SQLModel):
    number: Name = Field(max_length=20)
    owner_id: Owner = Field(
        default_factory=Absent, foreign_key="kit_member.id", ondelete="CASCADE", index=True, sa_type=BIGINT
    )


class Invoice(InvoiceBase, LibraryEntity, table=True):
    __tablename__ = "kit_invoice"
    __table_args__ = (UniqueConstraint("owner_id", "number"), {"sqlite_autoincrement": True})
    belongs_to = "owner_id"
    lines: list["Line"] = Relationship(back_populates="invoice")


class LineBase(SQLModel):
    text: Name = Field(max_length=50)
    amount: JSONInteger = Field(ge=1, le=1_000_000)


class Line(LineBase, LibraryEntity, table=True):
    __tablename__ = "kit_line"
    __table_args__ = (UniqueConstraint("invoice_id", "text"), {"sqlite_autoincrement": True})
    belongs_to = "invoice_id"
    invoice_id: int = Field(foreign_key="kit_invoice.id", ondelete="CASCADE", index=True, sa_type=BIGINT)
    invoice: Invoice = Relationship(back_populates="lines")


class LineOfInvoice(LineBase, Body):
    """A line in the body of its invoice."""


class LineCreate(LineBase, Body):
    invoice_id: Reference


class LineUpdate(LineCreate, Changes):
    """Changes to a line."""


class LineRead(Stamped, LineBase, Read):
    invoice_id: int


class LineQuery(ListQuery):
    model = Line
    read = LineRead
    filters = ("invoice_id", "amount")
    sorts = ("amount",)
    includes = {"invoice": "InvoiceRead"}  # noqa: RUF012  what a query variant declares is never changed


class InvoiceReplace(InvoiceBase, Body):
    """All fields of an invoice, without its lines."""


class InvoiceCreate(InvoiceReplace):
    """A new invoice with its lines."""

    lines: list[LineOfInvoice] = Field(default_factory=list, max_length=200)


class InvoiceUpdate(InvoiceReplace, Changes):
    """Changes to an invoice."""


class InvoiceRead(Stamped, InvoiceBase, Read):
    belongs_to = "owner_id"


class InvoiceQuery(ListQuery):
    model = Invoice
    read = InvoiceRead
    filters = ("number", "owner_id")
    includes = {"lines": "LineRead"}  # noqa: RUF012  what a query variant declares is never changed


invoices = APIRouter(prefix="/invoices", tags=["invoices"], route_class=OWNERS)


@invoices.get("/", response_model=list[InvoiceRead])
async def list_invoices(query: Annotated[InvoiceQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Invoice))


@invoices.post("/", response_model=InvoiceRead, status_code=201)
async def create_invoice(new: InvoiceCreate, session: Session) -> Invoice:
    invoice = Invoice.model_validate(new)
    session.add(invoice)
    return invoice


@invoices.post("/bulk", response_model=list[InvoiceRead], status_code=201)
async def bulk_create_invoices(new: Batch[InvoiceCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Invoice)


@invoices.get("/{invoice_id}", response_model=InvoiceRead)
async def read_invoice(
    invoice_id: Id, query: Annotated[InvoiceQuery, Depends(InvoiceQuery.of_one)], session: ReadSession
) -> Invoice:
    return found(await session.get(Invoice, invoice_id, options=query.loading))


@invoices.put("/{invoice_id}", response_model=InvoiceRead)
async def replace_invoice(invoice_id: Id, new: InvoiceReplace, session: Session, matching: IfMatch) -> Invoice:
    invoice = matching(found(await session.get(Invoice, invoice_id)))
    invoice.sqlmodel_update(new.model_dump())
    return invoice


@invoices.patch("/{invoice_id}", response_model=InvoiceRead)
async def update_invoice(invoice_id: Id, changes: InvoiceUpdate, session: Session, matching: IfMatch) -> Invoice:
    invoice = matching(found(await session.get(Invoice, invoice_id)))
    invoice.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return invoice


@invoices.delete("/{invoice_id}", status_code=204)
async def delete_invoice(invoice_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Invoice, invoice_id))))


lines = APIRouter(prefix="/lines", tags=["lines"], route_class=OWNERS)


@lines.get("/", response_model=list[LineRead])
async def list_lines(query: Annotated[LineQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Line))


@lines.post("/", response_model=LineRead, status_code=201)
async def create_line(new: LineCreate, session: Session) -> Line:
    line = Line.model_validate(new)
    session.add(line)
    return line


@lines.post("/bulk", response_model=list[LineRead], status_code=201)
async def bulk_create_lines(new: Batch[LineCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Line)


@lines.get("/{line_id}", response_model=LineRead)
async def read_line(line_id: Id, query: Annotated[LineQuery, Depends(LineQuery.of_one)], session: ReadSession) -> Line:
    return found(await session.get(Line, line_id, options=query.loading))


@lines.patch("/{line_id}", response_model=LineRead)
async def update_line(line_id: Id, changes: LineUpdate, session: Session, matching: IfMatch) -> Line:
    line = matching(found(await session.get(Line, line_id)))
    line.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return line


@lines.delete("/{line_id}", status_code=204)
async def delete_line(line_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Line, line_id))))


# Genres: a tree. A genre with others below it cannot be deleted.


class GenreBase(SQLModel):
    name: Name = Field(max_length=50)
    parent_id: Reference | None = Field(default=None, foreign_key="kit_genre.id", index=True, sa_type=BIGINT)


class Genre(GenreBase, LibraryEntity, table=True):
    __tablename__ = "kit_genre"
    __table_args__ = ({"sqlite_autoincrement": True},)
    parent: Optional["Genre"] = Relationship(
        back_populates="children", sa_relationship_kwargs={"remote_side": "Genre.id"}
    )
    children: list["Genre"] = Relationship(back_populates="parent", sa_relationship_kwargs={"order_by": "Genre.name"})


class GenreCreate(GenreBase, Body):
    """A new genre."""


class GenreUpdate(GenreCreate, Changes):
    """Changes to a genre."""


class GenreRead(Stamped, GenreBase, Read):
    """A genre."""


class GenreQuery(ListQuery):
    model = Genre
    read = GenreRead
    filters = ("name", "parent_id")
    sorts = ("name",)
    includes = {"parent": "GenreRead", "children": "GenreRead"}  # noqa: RUF012  never changed


genres = APIRouter(prefix="/genres", tags=["genres"], route_class=MEMBERS)


@genres.get("/", response_model=list[GenreRead])
async def list_genres(query: Annotated[GenreQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Genre))


@genres.post("/", response_model=GenreRead, status_code=201)
async def create_genre(new: GenreCreate, session: Session) -> Genre:
    genre = Genre.model_validate(new)
    session.add(genre)
    return genre


@genres.get("/{genre_id}", response_model=GenreRead)
async def read_genre(
    genre_id: Id, query: Annotated[GenreQuery, Depends(GenreQuery.of_one)], session: ReadSession
) -> Genre:
    return found(await session.get(Genre, genre_id, options=query.loading))


@genres.patch("/{genre_id}", response_model=GenreRead)
async def update_genre(genre_id: Id, changes: GenreUpdate, session: Session, matching: IfMatch) -> Genre:
    genre = matching(found(await session.get(Genre, genre_id)))
    genre.sqlmodel_update(changes.model_dump(exclude_unset=True))
    await refuse_cycle(session, genre)
    return genre


@genres.delete("/{genre_id}", status_code=204)
async def delete_genre(genre_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Genre, genre_id))))


# Moves: of a book from one genre to another, which are two foreign keys to one table.


class MoveBase(SQLModel):
    source_id: Reference = Field(foreign_key="kit_genre.id", index=True, sa_type=BIGINT)
    target_id: Reference = Field(foreign_key="kit_genre.id", index=True, sa_type=BIGINT)


class Move(MoveBase, LibraryEntity, table=True):
    __tablename__ = "kit_move"
    __table_args__ = ({"sqlite_autoincrement": True},)
    source: Genre = Relationship(sa_relationship_kwargs={"foreign_keys": "Move.source_id"})
    target: Genre = Relationship(sa_relationship_kwargs={"foreign_keys": "Move.target_id"})


class MoveCreate(MoveBase, Body):
    """A new move."""


class MoveRead(Stamped, MoveBase, Read):
    """A move."""


class MoveQuery(ListQuery):
    model = Move
    read = MoveRead
    filters = ("source_id", "target_id")
    includes = {"source": "GenreRead", "target": "GenreRead"}  # noqa: RUF012  never changed


moves = APIRouter(prefix="/moves", tags=["moves"], route_class=MEMBERS)


@moves.get("/", response_model=list[MoveRead])
async def list_moves(query: Annotated[MoveQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Move))


@moves.post("/", response_model=MoveRead, status_code=201)
async def create_move(new: MoveCreate, session: Session) -> Move:
    move = Move.model_validate(new)
    session.add(move)
    return move


@moves.post("/bulk", response_model=list[MoveRead], status_code=201)
async def bulk_create_moves(new: Batch[MoveCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Move)


# Tags: of many books, and books have many. A tagging is what links them, a resource with a column of its own.


class Tagging(LibraryEntity, table=True):
    __tablename__ = "kit_tagging"
    __table_args__ = (UniqueConstraint("book_id", "tag_id"), {"sqlite_autoincrement": True})
    book_id: int = Field(foreign_key="kit_book.id", ondelete="CASCADE", sa_type=BIGINT)
    tag_id: int = Field(foreign_key="kit_tag.id", ondelete="CASCADE", index=True, sa_type=BIGINT)
    weight: int = Field(default=1)


class TagBase(SQLModel):
    name: Name = Field(max_length=50, unique=True)


class Tag(TagBase, LibraryEntity, table=True):
    __tablename__ = "kit_tag"
    __table_args__ = ({"sqlite_autoincrement": True},)
    books: list[Book] = Relationship(link_model=Tagging, sa_relationship_kwargs={"viewonly": True})


class TagCreate(TagBase, Body):
    """A new tag."""


class TagRead(Stamped, TagBase, Read):
    """A tag."""


class TagQuery(ListQuery):
    model = Tag
    read = TagRead
    filters = ("name",)
    includes = {"books": "BookRead"}  # noqa: RUF012  what a query variant declares is never changed


class TaggingCreate(Body):
    book_id: Reference
    tag_id: Reference
    weight: JSONInteger = Field(default=1, ge=1, le=9)


class TaggingRead(Stamped, Read):
    book_id: int
    tag_id: int
    weight: int


tags = APIRouter(prefix="/tags", tags=["tags"], route_class=MEMBERS)
taggings = APIRouter(prefix="/taggings", tags=["taggings"], route_class=MEMBERS)


@tags.get("/", response_model=list[TagRead])
async def list_tags(query: Annotated[TagQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Tag))


@tags.post("/", response_model=TagRead, status_code=201)
async def create_tag(new: TagCreate, session: Session) -> Tag:
    tag = Tag.model_validate(new)
    session.add(tag)
    return tag


@tags.get("/{tag_id}", response_model=TagRead)
async def read_tag(tag_id: Id, query: Annotated[TagQuery, Depends(TagQuery.of_one)], session: ReadSession) -> Tag:
    return found(await session.get(Tag, tag_id, options=query.loading))


@tags.delete("/{tag_id}", status_code=204)
async def delete_tag(tag_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Tag, tag_id))))


@taggings.post("/", response_model=TaggingRead, status_code=201)
async def create_tagging(new: TaggingCreate, session: Session) -> Tagging:
    tagging = Tagging.model_validate(new)
    session.add(tagging)
    return tagging


@taggings.post("/bulk", response_model=list[TaggingRead], status_code=201)
async def bulk_create_taggings(new: Batch[TaggingCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, Tagging)


ROUTERS = (invoices, lines, genres, moves, tags, taggings)
TABLES: list[Any] = [inspect(kind).local_table for kind in (Invoice, Line, Genre, Move, Tag, Tagging)]


# Rows for tests


async def fill(database: Database, entity: Any, rows: list[dict[str, Any]]) -> None:
    async with database.write() as session, session.begin():
        await session.execute(insert(entity), rows)


async def with_lines(database: Database, *numbers: int) -> None:
    """Create an invoice for each of these numbers of lines."""
    await fill(database, Member, [{"id": 1, "username": "ann", "email": "ann@people.example", "is_superuser": False}])
    invoices = [{"id": at, "number": str(at), "owner_id": 1} for at, _ in enumerate(numbers, 1)]
    await fill(database, Invoice, invoices)
    places = [(at, number) for at, many in enumerate(numbers, 1) for number in range(many)]
    if places:
        await fill(database, Line, [{"invoice_id": at, "text": str(n), "amount": n + 1} for at, n in places])
