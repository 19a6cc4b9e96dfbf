"""Relations: children in the body of their parent are stored with the parent, or refused, and never dropped."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy.orm import registry, selectinload
from sqlmodel import Field, Relationship, SQLModel, func, select

from kit import Body, Database, Entity, Service, Who, allowing
from tests.engines import Client
from tests.kit import accounts
from tests.kit.accounts import Invoice, InvoiceBase, InvoiceCreate, InvoiceRead, Line, LineBase, LineOfInvoice
from tests.kit.bookshop import Book, BookBase, BookCreate
from tests.kit.probes import new_book, read
from tests.kit.service import Person, clear, client_of, create_runtime, create_service, join

LINES = [{"text": "Tea", "amount": 3}, {"text": "Milk", "amount": 1}]


@pytest.fixture(scope="module")
def guarded_app(app: Service) -> Service:
    """Provide the library with its accounts, where everybody needs a token."""
    return create_service(create_runtime(app.runtime.database, auth=True), *accounts.ROUTERS)


@pytest.fixture
async def ann(guarded_app: Service) -> AsyncIterator[Person]:
    await clear(guarded_app.runtime.database)
    person = await join(guarded_app, username="ann")
    async with person.client:
        yield person


async def lines_of(client: Client, invoice: dict[str, Any]) -> list[tuple[str, int]]:
    found = await read(client, "/lines/", invoice_id=invoice["id"], sort="id")
    return [(line["text"], line["amount"]) for line in found]


async def count(database: Database, entity: Any) -> int:
    async with database.read() as session:
        return int((await session.exec(select(func.count()).select_from(entity))).one())


async def test_an_invoice_is_stored_with_its_lines(ann: Person) -> None:
    answer = await ann.client.post("/invoices/", json={"number": "1", "lines": LINES})
    assert answer.status_code == 201, answer.text
    assert answer.json().keys() == InvoiceRead.model_fields.keys()
    assert await lines_of(ann.client, answer.json()) == [("Tea", 3), ("Milk", 1)]


async def test_lines_may_be_left_out(ann: Person) -> None:
    invoice = (await ann.client.post("/invoices/", json={"number": "1"})).json()
    assert await lines_of(ann.client, invoice) == []


@pytest.mark.parametrize(
    ("line", "pointer"),
    [
        ({"text": "Tea", "amount": 0}, "#/lines/2/amount"),
        ({"text": "Tea"}, "#/lines/2/amount"),
        ({"text": "Tea", "amount": 1, "invoice_id": 7}, "#/lines/2/invoice_id"),
        (None, "#/lines/2"),
    ],
)
async def test_a_fault_in_a_line_is_pointed_at(ann: Person, guarded_app: Service, line: Any, pointer: str) -> None:
    answer = await ann.client.post("/invoices/", json={"number": "1", "lines": [*LINES, line]})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert await count(guarded_app.runtime.database, Invoice) == 0


async def test_neither_is_stored_if_a_line_is_refused_by_the_database(ann: Person, guarded_app: Service) -> None:
    answer = await ann.client.post("/invoices/", json={"number": "1", "lines": [LINES[0], LINES[0]]})
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "invoice_id and text are taken: another row has these values.",
    )
    assert await count(guarded_app.runtime.database, Invoice) == await count(guarded_app.runtime.database, Line) == 0


async def test_lines_have_a_bound(ann: Person) -> None:
    many = [{"text": str(number), "amount": 1} for number in range(201)]
    answer = await ann.client.post("/invoices/", json={"number": "1", "lines": many})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/lines")
    answer = await ann.client.post("/invoices/", json={"number": "1", "lines": many[:200]})
    assert answer.status_code == 201


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_what_does_not_declare_lines_refuses_them(ann: Person, method: str) -> None:
    invoice = (await ann.client.post("/invoices/", json={"number": "1"})).json()
    answer = await ann.client.request(method, f"/invoices/{invoice['id']}", json={"number": "2", "lines": LINES})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/lines")


async def test_many_invoices_are_stored_with_their_lines(ann: Person) -> None:
    new = [{"number": str(number), "lines": LINES[:number]} for number in range(3)]
    answer = await ann.client.post("/invoices/bulk", json=new)
    assert answer.status_code == 201, answer.text
    assert [len(await lines_of(ann.client, invoice)) for invoice in answer.json()] == [0, 1, 2]


async def test_a_fault_in_a_line_of_many_invoices_is_pointed_at(ann: Person) -> None:
    new = [{"number": "1", "lines": LINES}, {"number": "2", "lines": [*LINES, {"text": "Tea", "amount": -1}]}]
    answer = await ann.client.post("/invoices/bulk", json=new)
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/1/lines/2/amount"]


async def test_invoices_that_fail_are_skipped_with_their_lines(ann: Person, guarded_app: Service) -> None:
    new = [{"number": "1", "lines": LINES}, {"number": "2", "lines": [*LINES, LINES[0]]}]
    answer = (await ann.client.post("/invoices/bulk?on_error=skip", json=new)).json()
    assert [invoice["number"] for invoice in answer["created"]] == ["1"]
    assert [failure["index"] for failure in answer["failed"]] == [1]
    assert await count(guarded_app.runtime.database, Line) == 2


async def test_an_idempotency_key_stores_lines_once(ann: Person, guarded_app: Service) -> None:
    headers = {"Idempotency-Key": "k"}
    answers = [
        await ann.client.post("/invoices/", json={"number": "1", "lines": LINES}, headers=headers) for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert await count(guarded_app.runtime.database, Line) == 2


async def test_a_dictionary_with_children_makes_rows_too() -> None:
    new = InvoiceCreate(number="1", owner_id=1, lines=[LineOfInvoice(text="Tea", amount=1)])
    for invoice in (Invoice.model_validate(new.model_dump()), Invoice(**new.model_dump())):
        assert [type(line) for line in invoice.lines] == [Line]
        assert invoice.lines[0].invoice is invoice


async def test_a_child_may_be_appended_or_replaced() -> None:
    invoice = Invoice(number="1", owner_id=1)
    invoice.lines.append(LineOfInvoice(text="Tea", amount=1))  # type: ignore[arg-type]  # it becomes a row
    assert isinstance(invoice.lines[0], Line)
    invoice.sqlmodel_update({"lines": [{"text": "Milk", "amount": 2}]})
    assert [line.text for line in invoice.lines] == ["Milk"]


async def test_a_relationship_that_is_only_read_refuses_what_is_written() -> None:
    with pytest.raises(TypeError, match=r"Tag\.books is viewonly, so nothing would be stored"):
        accounts.Tag(name="new", books=[Book(title="Emma", author="Jane Austen")])


async def test_writing_through_a_relationship_works_as_sqlalchemy_documents(database: Database) -> None:
    async with database.write() as session, session.begin():
        parent = accounts.Genre(name="Prose", children=[accounts.Genre(name="Novels")])
        session.add(parent)
    async with database.write() as session, session.begin():
        other = accounts.Genre(name="Fiction")
        child = await session.get(accounts.Genre, parent.children[0].id)
        assert child is not None
        child.parent = other
    assert (child.parent_id, child.version) == (other.id, 2)


async def test_a_child_that_is_taken_out_of_a_collection_has_no_parent(database: Database) -> None:
    async with database.write() as session, session.begin():
        session.add(accounts.Genre(name="Prose", children=[accounts.Genre(name="Novels")]))
    async with database.write() as session, session.begin():
        everything = select(accounts.Genre).options(selectinload(accounts.Genre.children))  # type: ignore[arg-type]
        parent = (await session.exec(everything.order_by(accounts.Genre.id))).first()  # type: ignore[arg-type]
        assert parent is not None
        child = parent.children.pop()
    assert (child.parent_id, child.version) == (None, 2)


async def test_a_row_may_refer_to_itself(database: Database) -> None:
    async with database.write() as session, session.begin():
        genre = accounts.Genre(name="All")
        session.add(genre)
        await session.flush()
        genre.parent_id = genre.id
    async with client_of(create_service(create_runtime(database), *accounts.ROUTERS)) as client:
        shown = await read(client, f"/genres/{genre.id}", include="parent,children")
        assert shown["parent"]["id"] == shown["children"][0]["id"] == genre.id
        assert (await client.delete(f"/genres/{genre.id}")).status_code == 204


# --- Refused at the start


class UnboundedCreate(InvoiceBase, Body):
    lines: list[LineOfInvoice]


class KeyedLine(LineBase, Body):
    invoice_id: int


class KeyedCreate(InvoiceBase, Body):
    lines: list[KeyedLine]


class WrongCreate(InvoiceBase, Body):
    lines: list[dict[str, Any]]


class TableCreate(InvoiceBase, Body):
    lines: list[Line]


class StrayCreate(BookBase, Body):
    pages: list[LineOfInvoice]


class TaggedCreate(accounts.TagBase, Body):
    books: list[BookCreate] = Field(max_length=2)


class SilentCreate(InvoiceBase, Body):
    read_only = Body.read_only | {"lines"}


class CrateBase(SQLModel):
    name: str = Field(max_length=5)


class CrateEntity(Entity, registry=registry()):
    """The base class of tables that are declared, but not created in a database."""


class Crating(CrateEntity, table=True):
    crate_id: int = Field(foreign_key="crate.id")
    inner_id: int = Field(foreign_key="crate.id")


class Crate(CrateBase, CrateEntity, table=True):
    inner: list["Crate"] = Relationship(
        link_model=Crating,
        sa_relationship_kwargs={
            "primaryjoin": "Crate.id == Crating.crate_id",
            "secondaryjoin": "Crate.id == Crating.inner_id",
        },
    )


class CrateCreate(CrateBase, Body):
    """Not stored."""


@pytest.mark.parametrize(
    ("body", "method", "fault"),
    [
        (CrateCreate, "POST", r"Crate.inner would write rows of Crating without their version: give it `sa_relation"),
        (UnboundedCreate, "POST", r"UnboundedCreate.lines has no bound: write `lines: list\[LineOfInvoice\] = Field"),
        (KeyedCreate, "POST", "KeyedLine.invoice_id is given by KeyedCreate.lines: use a body without it there"),
        (WrongCreate, "POST", r"WrongCreate.lines is written to a relationship: give it the type `list\[LineCreate\]`"),
        (TableCreate, "POST", r"TableCreate.lines is written to a relationship: give it the type `list\[LineCreate\]`"),
        (StrayCreate, "POST", "StrayCreate.pages would be dropped: Book has no relationship of that name"),
        (TaggedCreate, "POST", "TaggedCreate.books would be dropped: Tag.books is viewonly"),
        (SilentCreate, "POST", "SilentCreate.read_only has 'lines', so that children would be dropped: leave it out"),
        (InvoiceCreate, "PUT", "takes InvoiceCreate.lines, but PUT and PATCH change no related rows"),
    ],
)
async def test_children_that_would_be_dropped_are_refused_at_the_start(
    app: Service, body: Any, method: str, fault: str
) -> None:
    router = APIRouter(prefix="/refused", route_class=allowing(create=Who.MEMBERS, change=Who.MEMBERS))

    @router.api_route("/", methods=[method], response_model=InvoiceRead)
    async def handle(new: body) -> None:
        """Not called."""

    with pytest.raises(ValueError, match=fault):
        create_service(create_runtime(app.runtime.database), router).check_routes()


class Measures(BaseModel):
    height: int = 1


class LabelBase(SQLModel):
    label: str = Field(default="", max_length=9)


class Tin(LabelBase, CrateEntity, table=True):
    """A table with nothing but the fields of this base class."""


class ChestBase(LabelBase):
    measures: Measures = Field(default_factory=Measures)


class Chest(ChestBase, CrateEntity, table=True):
    """A table with a value in JSON."""


class ChestCreate(ChestBase, Body):
    """A new chest."""


class OtherChestCreate(LabelBase, Body):
    """A new chest, with a field of its own."""

    measures: Measures = Field(default_factory=Measures)


@pytest.mark.parametrize("body", [ChestCreate, OtherChestCreate])
async def test_a_field_that_other_tables_do_not_have_is_not_refused(app: Service, body: Any) -> None:
    router = APIRouter(prefix="/chests", route_class=allowing(create=Who.MEMBERS))

    @router.post("/", response_model=InvoiceRead)
    async def handle(new: body) -> None:
        """Not called."""

    create_service(create_runtime(app.runtime.database), router).check_routes()


async def test_a_book_without_children_is_a_body_as_before(client: Client) -> None:
    assert (await new_book(client))["title"]
