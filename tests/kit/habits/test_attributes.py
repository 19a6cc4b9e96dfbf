"""Attributes of tables: values that the database computes, names in JSON, and methods of the table class."""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, RootModel, ValidationError, computed_field, model_validator
from pydantic.alias_generators import to_camel
from sqlalchemy import JSON, Column, Computed, String, event, func, inspect
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.ext.mutable import MutableDict, MutableList
from sqlalchemy.orm import column_property, synonym
from sqlmodel import Field, Relationship, SQLModel, select

from kit import (
    BIGINT,
    PRIVATE,
    Batch,
    Body,
    Changes,
    Database,
    ListQuery,
    Name,
    OnError,
    Page,
    Read,
    ReadSession,
    Session,
    create_many,
    found,
    page,
)
from tests.kit.habits.conftest import MEMBER, Serve, bearer
from tests.kit.habits.items import HabitAuthor, HabitBook, HabitEntity

pytestmark = pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
"""A plain route shows a row before the flush, as FastAPI does."""


class ParcelBase(SQLModel):
    label: Name = Field(max_length=20)


class HabitParcel(ParcelBase, HabitEntity, table=True):
    """A table whose database computes columns, in every way that SQLAlchemy documents."""

    __tablename__ = "habit_parcel"
    __mapper_args__ = {"eager_defaults": False}
    length: str | None = Field(default=None, sa_column=Column(String(9), Computed("length(label)")))
    state: str | None = Field(
        default=None, sa_column=Column(String(9), server_default="new", onupdate=func.lower("OLD"))
    )


inspect(HabitParcel).add_property("upper", column_property(func.upper(HabitParcel.label)))


class HabitParcelCreate(ParcelBase, Body):
    """A new parcel."""


class HabitParcelRead(ParcelBase, Read):
    version: int
    length: str
    state: str
    upper: str


class TicketBase(SQLModel):
    model_config = ConfigDict(alias_generator=to_camel)  # type: ignore[assignment]  # SQLModel's type is not public
    first_name: str = Field(default="nobody", max_length=20)
    seat: str | None = Field(default=None, max_length=20, alias="place")


class HabitTicket(TicketBase, HabitEntity, table=True):
    """A table whose fields have other names in JSON."""

    __tablename__ = "habit_ticket"

    title = synonym("first_name")

    @hybrid_property
    def initial(self) -> str:
        return self.first_name[0]


class HabitTicketCreate(TicketBase, Body):
    """A new ticket."""


class HabitTicketUpdate(HabitTicketCreate, Changes):
    """Changes to a ticket."""


class HabitTicketRead(TicketBase, Read):
    """A ticket."""

    initial: str
    title: str


class HabitTicketQuery(ListQuery):
    model, read = HabitTicket, HabitTicketRead
    filters = sorts = ("first_name",)


class HabitSafe(HabitEntity, table=True):
    """A table with a private field that is unique without an index of its own."""

    __tablename__ = "habit_safe"
    code: str = Field(unique=True, max_length=9, sa_column_kwargs=PRIVATE)


class HabitKey(HabitEntity, table=True):
    """A table with a private field and nothing that is unique but the id."""

    __tablename__ = "habit_key"
    code: str = Field(max_length=9, sa_column_kwargs=PRIVATE)


class HabitSignBase(SQLModel):
    text: Name = Field(max_length=20)


class HabitSign(HabitSignBase, HabitEntity, table=True):
    """A table that changes values as they are set."""

    __tablename__ = "habit_sign"

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value.upper() if name == "text" else value)


class HabitDoor(HabitSignBase, HabitEntity, table=True):
    """A table with a validator that sets a value, as pydantic documents it."""

    __tablename__ = "habit_door"

    @model_validator(mode="after")
    def shout(self) -> "HabitDoor":
        self.text = self.text.upper()
        return self


class HabitGate(HabitSignBase, HabitEntity, table=True):
    """A table that validates every value that is set."""

    __tablename__ = "habit_gate"
    model_config = ConfigDict(validate_assignment=True)  # type: ignore[assignment]  # SQLModel's type is not public


class HabitSignCreate(HabitSignBase, Body):
    """A new sign, door or gate."""


class HabitSignRead(HabitSignBase, Read):
    """A sign, door or gate."""


async def test_what_the_database_computes_is_in_the_response(router: APIRouter, serve: Serve) -> None:
    @router.post("/parcels", response_model=HabitParcelRead, status_code=201)
    async def create(new: HabitParcelCreate, session: Session) -> HabitParcel:
        parcel = HabitParcel.model_validate(new)
        session.add(parcel)
        return parcel

    @router.patch("/parcels/{parcel_id}", response_model=HabitParcelRead)
    async def change(parcel_id: int, new: HabitParcelCreate, session: Session) -> HabitParcel:
        parcel = found(await session.get(HabitParcel, parcel_id))
        parcel.sqlmodel_update(new.model_dump())
        return parcel

    client = await serve(router)
    created = (await client.post("/parcels", json={"label": "tea"})).json()
    assert created == {"id": created["id"], "label": "tea", "version": 1, "length": "3", "state": "new", "upper": "TEA"}
    changed = (await client.patch(f"/parcels/{created['id']}", json={"label": "milk"})).json()
    assert changed == {**created, "label": "milk", "version": 2, "length": "4", "state": "old", "upper": "MILK"}


async def test_rows_that_have_expired_are_in_the_response(router: APIRouter, serve: Serve) -> None:
    async def two(session: Session) -> list[HabitParcel]:
        parcels = [HabitParcel(label="tea"), HabitParcel(label="milk")]
        session.add_all(parcels)
        await session.commit()
        session.expire_all()
        return parcels

    parcels = Annotated[list[HabitParcel], Depends(two)]

    @router.post("/one", response_model=HabitParcelRead)
    async def one(rows: parcels) -> HabitParcel:
        return rows[0]

    @router.post("/all", response_model=list[HabitParcelRead])
    async def many(rows: parcels) -> list[HabitParcel]:
        return rows

    @router.post("/named", response_model=dict[str, HabitParcelRead | list[HabitParcelRead] | dict[str, str]])
    async def named(rows: parcels) -> dict[str, Any]:
        return {"first": rows[0], "all": rows, "words": {"a": "b"}}

    client = await serve(router)
    assert (await client.post("/one")).json()["upper"] == "TEA"
    assert [row["length"] for row in (await client.post("/all")).json()] == ["3", "4"]
    assert (await client.post("/named")).json()["first"]["state"] == "new"


async def test_a_row_with_a_computed_value_is_merged(router: APIRouter, serve: Serve) -> None:
    @router.put("/parcels/{parcel_id}", response_model=HabitParcelRead)
    async def put(parcel_id: int, new: HabitParcelCreate, session: Session) -> HabitParcel:
        return await session.merge(HabitParcel(id=parcel_id, label=new.label, length="9"))

    client = await serve(router)
    merged = [(await client.put("/parcels/7", json={"label": label})).json() for label in ("tea", "milk")]
    assert [(row["label"], row["length"], row["version"]) for row in merged] == [("tea", "3", 1), ("milk", "4", 2)]


@pytest.fixture
async def tickets(new_router: Callable[..., APIRouter], serve: Serve) -> Any:
    """Provide a client of a resource with aliases."""
    router = new_router(prefix="/tickets")

    @router.post("/", response_model=HabitTicketRead, status_code=201)
    async def create(new: HabitTicketCreate, session: Session) -> HabitTicket:
        ticket = HabitTicket.model_validate(new)
        session.add(ticket)
        return ticket

    @router.patch("/{ticket_id}", response_model=HabitTicketRead)
    async def change(ticket_id: int, changes: HabitTicketUpdate, session: Session) -> HabitTicket:
        return found(await session.get(HabitTicket, ticket_id)).sqlmodel_update(changes)

    @router.get("/", response_model=list[HabitTicketRead])
    async def many(query: Annotated[HabitTicketQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, select(HabitTicket))

    @router.post("/bulk", response_model=list[HabitTicketRead], status_code=201)
    async def bulk(new: Batch[HabitTicketCreate], session: Session, on_error: OnError = "abort") -> Any:
        return await create_many(session, new, on_error, HabitTicket)

    return await serve(router)


async def test_a_field_may_have_another_name_in_json(tickets: Any) -> None:
    created = (await tickets.post("/tickets/", json={"firstName": "Ann", "place": "7"})).json()
    assert created == {"id": created["id"], "firstName": "Ann", "place": "7", "initial": "A", "title": "Ann"}
    changed = await tickets.patch(f"/tickets/{created['id']}", json={"firstName": "Bob"})
    assert changed.json() == {**created, "firstName": "Bob", "initial": "B", "title": "Bob"}, (
        "the place was not in the request, so it stays"
    )
    refused = await tickets.post("/tickets/", json={"first_name": "Ann"})
    assert refused.status_code == 422, "JSON has the aliases"


async def test_lists_select_fields_by_their_names_in_python(tickets: Any, way: str) -> None:
    stored = (await tickets.post("/tickets/bulk", json=[{"firstName": way, "place": "8"}])).json()
    assert stored[0]["firstName"] == way
    listed = (await tickets.get(f"/tickets/?first_name={way}&fields=first_name&limit=1")).json()
    assert listed == [{"firstName": way}]


@pytest.mark.parametrize(("table", "stored"), [(HabitSign, "TEA"), (HabitDoor, "TEA"), (HabitGate, "tea")])
async def test_methods_of_a_table_are_called(router: APIRouter, serve: Serve, table: Any, stored: str) -> None:
    @router.post("/signs", response_model=HabitSignRead, status_code=201)
    async def create(new: HabitSignCreate, session: Session) -> Any:
        row = table.model_validate(new)
        session.add(row)
        return row

    client = await serve(router)
    assert (await client.post("/signs", json={"text": "tea"})).json()["text"] == stored


async def test_content_without_a_response_model_is_written_as_by_fastapi(router: APIRouter, serve: Serve) -> None:
    @router.get("/numbers", response_model=None)
    async def numbers() -> Any:
        return {1: 2.5}

    @router.delete("/nothing", status_code=205, response_model=None)
    async def nothing() -> Any:
        return None

    @router.get("/wrong", response_model=None)
    async def wrong() -> Any:
        return {"x": float("nan")}

    client = await serve(router)
    assert (await client.get("/numbers")).json() == {"1": 2.5}
    assert (await client.delete("/nothing")).content == b""
    assert (await client.get("/wrong")).status_code == 500


class HabitBookOfAuthor(Read):
    title: str


class HabitAuthorWithBooks(Read):
    name: str
    books: list[HabitBookOfAuthor]


async def test_related_rows_that_the_response_model_has_are_loaded(router: APIRouter, serve: Serve) -> None:
    @router.post("/authors", response_model=HabitAuthorWithBooks, status_code=201)
    async def create(session: Session) -> HabitAuthor:
        author = HabitAuthor(name="Ann")
        session.add(author)
        return author

    @router.post("/books", status_code=204)
    async def write(author_id: int, session: Session) -> None:
        session.add(HabitBook(title="Tea", author_id=author_id))

    @router.get("/authors", response_model=list[HabitAuthorWithBooks])
    async def many(session: ReadSession) -> Any:
        return (await session.exec(select(HabitAuthor))).all()

    client = await serve(router)
    created = (await client.post("/authors")).json()
    assert created == {"id": created["id"], "name": "Ann", "books": []}
    await client.post(f"/books?author_id={created['id']}")
    (listed,) = (await client.get("/authors")).json()
    assert [book["title"] for book in listed["books"]] == ["Tea"]


class TreeBase(SQLModel):
    name: Name = Field(max_length=20)


class HabitTree(TreeBase, HabitEntity, table=True):
    """A table of plain columns, with related rows."""

    __tablename__ = "habit_tree"
    leaves: list["HabitLeaf"] = Relationship(back_populates="tree")


class HabitLeaf(AsyncAttrs, TreeBase, HabitEntity, table=True):
    __tablename__ = "habit_leaf"
    tree_id: int | None = Field(default=None, foreign_key="habit_tree.id", sa_type=BIGINT)
    tree: HabitTree | None = Relationship(back_populates="leaves", sa_relationship_kwargs={"lazy": "select"})


class HabitTreeCreate(TreeBase, Body):
    """A new tree."""


class HabitLeafOfTree(Read):
    name: str


class HabitTreeRead(TreeBase, Read):
    version: int
    leaves: list[HabitLeafOfTree]


@pytest.fixture
async def tree(database: Database) -> int:
    """Store a tree with a leaf, and provide its id."""
    async with database.write() as session, session.begin():
        tree = HabitTree(name="Ash", leaves=[HabitLeaf(name="old")])
        session.add(tree)
    return tree.id


@pytest.mark.parametrize("options", [{}, {"response_model_exclude_none": True}])  # the latter has no shortcut
async def test_related_rows_are_shown_after_every_operation(
    router: APIRouter, serve: Serve, tree: int, options: Any
) -> None:
    @router.get("/{ident}", response_model=HabitTreeRead, **options)
    async def read(ident: int, session: ReadSession) -> HabitTree:
        return found(await session.get(HabitTree, ident))

    @router.get("/", response_model=list[HabitTreeRead], **options)
    async def several(session: ReadSession) -> list[HabitTree]:
        return [found(await session.get(HabitTree, tree))]

    @router.post("/", response_model=HabitTreeRead, status_code=201, **options)
    async def create(new: HabitTreeCreate, session: Session) -> HabitTree:
        row = HabitTree.model_validate(new)
        session.add(row)
        return row

    @router.put("/{ident}", response_model=HabitTreeRead, **options)
    async def replace(ident: int, new: HabitTreeCreate, session: Session) -> HabitTree:
        row = found(await session.get(HabitTree, ident))
        row.sqlmodel_update(new.model_dump())
        return row

    client = await serve(router)
    leaves = [{"id": 1, "name": "old"}]
    ash = {"id": tree, "name": "Ash", "version": 1, "leaves": leaves}
    assert (await client.get(f"/{tree}")).json() == ash
    assert (await client.get("/")).json() == [ash]
    for number in (1, 2):
        created = await client.post("/", json={"name": f"Elm {number}"})
        assert (created.status_code, created.json()["leaves"]) == (201, [])
        changed = await client.put(f"/{tree}", json={"name": f"Oak {number}"})
        assert changed.json() == {"id": tree, "name": f"Oak {number}", "version": number + 1, "leaves": leaves}


class HabitTwig(TreeBase, HabitEntity, table=True):
    """A table whose related row is always loaded with its rows."""

    __tablename__ = "habit_twig"
    tree_id: int | None = Field(default=None, foreign_key="habit_tree.id", sa_type=BIGINT)
    tree: HabitTree | None = Relationship(sa_relationship_kwargs={"lazy": "joined"})


async def test_a_row_with_joined_rows_can_be_changed_and_deleted(
    router: APIRouter, serve: Serve, database: Database
) -> None:
    @router.put("/", status_code=204)
    async def change(session: Session) -> None:
        twig = found(await session.get(HabitTwig, 1))
        twig.name = f"{twig.name} of {twig.tree}"

    @router.delete("/", status_code=204)
    async def delete(session: Session) -> None:
        await session.delete(found(await session.get(HabitTwig, 1)))

    async with database.write() as session, session.begin():
        session.add(HabitTwig(name="A"))
    client = await serve(router)
    assert (await client.put("/")).status_code == 204
    async with database.read() as reader:
        assert (await reader.exec(select(HabitTwig.name))).one() == "A of None"
    assert [(await client.delete("/")).status_code for _ in range(2)] == [204, 404]


async def test_a_row_with_awaitable_attributes_loads_its_related_rows(
    router: APIRouter, serve: Serve, tree: int
) -> None:
    @router.get("/")
    async def read(session: ReadSession) -> str:
        return (await found(await session.get(HabitLeaf, 1)).awaitable_attrs.tree).name  # type: ignore[no-any-return]

    assert (await (await serve(router)).get("/")).json() == "Ash"


@pytest.mark.parametrize(("table", "field"), [(HabitSafe, "code"), (HabitKey, "id")])
async def test_a_conflict_of_a_table_with_private_fields_names_a_field(
    router: APIRouter, serve: Serve, table: Any, field: str
) -> None:
    @router.post("/locks", status_code=204)
    async def create(session: Session) -> None:
        session.add(table(id=7, code="tea"))

    client = await serve(router, auth=True)
    assert (await client.post("/locks", headers=bearer(MEMBER))).status_code == 204
    refused = await client.post("/locks", headers=bearer(MEMBER))
    assert refused.json()["detail"].endswith(f"{field} is taken: another row has this value.")


class BagBase(SQLModel):
    contents: dict[str, Any] = Field(default_factory=dict, sa_type=MutableDict.as_mutable(JSON))


class HabitBag(BagBase, HabitEntity, table=True):
    """A table with values that notice changes in place."""

    __tablename__ = "habit_bag"
    tags: list[str] = Field(default_factory=list, sa_column=Column(MutableList.as_mutable(JSON), nullable=False))


class HabitPouch(BagBase, HabitEntity, table=True):
    """The same, which validates every value that is set."""

    __tablename__ = "habit_pouch"
    model_config = ConfigDict(validate_assignment=True)  # type: ignore[assignment]  # SQLModel's type is not public
    tags: list[str] = Field(default_factory=list, sa_column=Column(MutableList.as_mutable(JSON), nullable=False))


class HabitBagCreate(BagBase, Body):
    """A new bag or pouch."""


class HabitBagRead(BagBase, Read):
    tags: list[str]


@pytest.mark.parametrize("table", [HabitBag, HabitPouch])
@pytest.mark.parametrize("is_validated", [True, False])
async def test_a_change_in_place_of_a_mutable_value_is_stored(
    router: APIRouter, serve: Serve, table: Any, is_validated: bool
) -> None:
    @router.post("/bags", response_model=HabitBagRead)
    async def create(new: HabitBagCreate, session: Session) -> Any:
        bag = table.model_validate(new) if is_validated else table(**new.model_dump())
        session.add(bag)
        await session.flush()
        bag.contents["tea"] = 1
        bag.tags.append("new")
        await session.flush()
        bag.contents, bag.tags = dict(bag.contents), list(bag.tags)
        await session.flush()
        bag.contents["cup"] = 2
        bag.tags.append("old")
        return bag

    @router.get("/bags", response_model=HabitBagRead)
    async def read(session: ReadSession) -> Any:
        return found(await session.get(table, 1))

    client = await serve(router)
    created = (await client.post("/bags", json={"contents": {"box": 0}})).json()
    assert (created["contents"], created["tags"]) == ({"box": 0, "tea": 1, "cup": 2}, ["new", "old"])
    assert (await client.get("/bags")).json() == created


async def test_a_listener_may_replace_a_value_that_is_set(router: APIRouter, serve: Serve) -> None:
    @router.post("/signs", response_model=HabitSignRead)
    async def create(new: HabitSignCreate, session: Session) -> HabitDoor:
        door = HabitDoor.model_validate(new)
        session.add(door)
        return door

    def quoted(row: object, value: str, *_: object) -> str:
        return f"<{value}>"

    event.listen(HabitDoor.text, "set", quoted, retval=True)
    client = await serve(router)
    created = await client.post("/signs", json={"text": "tea"})
    event.remove(HabitDoor.text, "set", quoted)
    assert created.json()["text"] == "<TEA>"


async def test_a_value_that_is_not_valid_is_not_set(way: str) -> None:
    gate = HabitGate(text="tea")
    with pytest.raises(ValidationError):
        gate.text = ""
    assert (gate.text, inspect(gate).attrs.text.history.added) == ("tea", ["tea"])


class Doorplate(BaseModel):
    """A model within a field, whose names in JSON are others than in Python."""

    model_config = ConfigDict(alias_generator=to_camel)

    first_name: str
    fee: Decimal = Decimal("1.10")

    @computed_field
    def shout(self) -> str:
        return self.first_name.upper()


class Sizes(RootModel[list[int]]):
    """A list as a model."""


class HouseBase(SQLModel):
    plate: Doorplate
    others: list[Doorplate] = Field(default=[])
    sizes: Sizes | None = None


class HabitHome(HouseBase, HabitEntity, table=True):
    """A table with models in its fields."""

    __tablename__ = "habit_home"


class HabitHomeCreate(HouseBase, Body):
    """A new house."""


class HabitHomeUpdate(HabitHomeCreate, Changes):
    """Changes to a house."""


class HabitHomeRead(HouseBase, Read):
    """A house."""


@pytest.mark.parametrize("is_dumped", [True, False])
async def test_a_model_in_a_field_is_read_as_it_was_stored(router: APIRouter, serve: Serve, is_dumped: bool) -> None:
    @router.post("/houses", response_model=HabitHomeRead)
    async def create(new: HabitHomeCreate, session: Session) -> HabitHome:
        house = HabitHome.model_validate(new)
        session.add(house)
        return house

    @router.post("/changes", response_model=HabitHomeRead)
    async def change(changes: HabitHomeUpdate, session: Session) -> Any:
        house = found(await session.get(HabitHome, 1))
        assert isinstance(house.plate, Doorplate)
        house.sqlmodel_update(changes.model_dump(exclude_unset=True) if is_dumped else changes)
        return house

    @router.get("/houses", response_model=HabitHomeRead)
    async def read(session: ReadSession) -> HabitHome:
        return found(await session.get(HabitHome, 1))

    client = await serve(router)
    for name, path, fee in (("tea", "/houses", {}), ("cup", "/changes", {"fee": "1.10"})):
        sent = {"plate": {"firstName": name, **fee}, "others": [{"firstName": "a", "fee": "2.5"}], "sizes": [1]}
        shown = (await client.post(path, json=sent)).json()
        assert shown["plate"] == {"firstName": name, "fee": "1.1", "shout": name.upper()}
        assert shown["sizes"] == [1]
        assert (await client.get("/houses")).json() == shown
