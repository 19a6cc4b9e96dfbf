"""Ownership: whatever way a restricted session writes and reads, it changes and finds only rows of the principal."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import nullcontext
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import (
    JSON,
    Column,
    ColumnDefault,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    any_,
    bindparam,
    case,
    cast,
    column,
    delete,
    distinct,
    event,
    exists,
    insert,
    inspect,
    lambda_stmt,
    literal,
    literal_column,
    make_url,
    table,
    tablesample,
    text,
    true,
    tuple_,
    union_all,
    update,
    values,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.orm import (
    Bundle,
    Query,
    Session,
    aliased,
    defer,
    joinedload,
    load_only,
    make_transient,
    make_transient_to_detached,
    registry,
    selectinload,
    subqueryload,
    with_parent,
)
from sqlalchemy.orm import join as orm_join
from sqlalchemy.orm.exc import ObjectDeletedError
from sqlalchemy.schema import DropTable
from sqlmodel import Field, Relationship, SQLModel, col, func, select

from kit.auth import requirements
from kit.auth.owner_fields import Absent, Owner
from kit.auth.owners import OwnershipError, owned_parent
from kit.auth.ownership import GuardedSession, check_new_row
from kit.auth.ownership_checks import ownership_errors
from kit.auth.read_only_sessions import ReadOnlyError
from kit.auth.restricted_reads import OWN_ROWS, CompiledStatements
from kit.database.databases import Database
from kit.http.principals import CURRENT_PRINCIPAL, UNRESTRICTED, Principal
from kit.http.problems import Problem, found
from kit.models.entities import Entity, UUIDEntity, now
from kit.operations.trees import refuse_cycle
from tests.engines import empty, on_postgresql, url_for
from tests.kit.service import create_runtime, create_service

REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))
LAZY = {"lazy": "select"}
ME, OTHER = 7, 8
MINE, THEIRS, FREE_LABEL = 900_001, 900_002, 900_003
MY_FOLDER, THEIR_FOLDER = uuid4(), uuid4()
STAMPS = {"version": 1, "created_at": now(), "updated_at": now()}
Act = Callable[[Any], Awaitable[Any]]


class OwnershipEntity(Entity, registry=REGISTRY):
    """A table of these tests, which no migration knows."""


class OwnershipUUIDEntity(UUIDEntity, registry=REGISTRY):
    """A table of these tests whose rows have their ids before they are stored."""


class OwnershipTable(SQLModel, registry=REGISTRY):
    """A table of these tests that is no entity."""


class Member(OwnershipEntity, table=True):
    __tablename__ = "ownership_member"
    belongs_to: ClassVar[str | None] = "id"
    reserved = {"is_trusted": False}  # noqa: RUF012  never changed
    name: str = ""
    is_trusted: bool = False
    notes: list["Note"] = Relationship(sa_relationship_kwargs={"viewonly": True})
    pinned: list["Note"] = Relationship(sa_relationship_kwargs=LAZY | {"secondary": "ownership_pin"})


class Pin(OwnershipTable, table=True):
    """The link between members and notes; it is no entity."""

    __tablename__ = "ownership_pin"
    member_id: int = Field(foreign_key="ownership_member.id", primary_key=True)
    note_id: int = Field(foreign_key="ownership_note.id", primary_key=True)


LABELLING = Table(
    "ownership_labelling",
    REGISTRY.metadata,
    Column("note_id", ForeignKey("ownership_note.id"), primary_key=True),
    Column("label_id", ForeignKey("ownership_label.id"), primary_key=True),
)
SHELVING = Table(
    "ownership_shelving",
    REGISTRY.metadata,
    Column("label_id", ForeignKey("ownership_label.id"), primary_key=True),
    Column("tag_id", ForeignKey("ownership_tag.id"), primary_key=True),
)


LISTING = Table(
    "ownership_listing",
    REGISTRY.metadata,
    Column("log_id", ForeignKey("ownership_log.id"), primary_key=True),
    Column("note_id", ForeignKey("ownership_note.id"), primary_key=True),
)


class Label(OwnershipEntity, table=True):
    """A table without owners."""

    __tablename__ = "ownership_label"
    name: str = ""
    notes: list["Note"] = Relationship(back_populates="labels", sa_relationship_kwargs=LAZY | {"secondary": LABELLING})
    tags: list["Tag"] = Relationship(sa_relationship_kwargs=LAZY | {"secondary": SHELVING})


class Tagging(OwnershipEntity, table=True):
    """The link between notes and tags. It belongs to the member who created it."""

    __tablename__ = "ownership_tagging"
    belongs_to: ClassVar[str | None] = "owner_id"
    owner_id: int | None = Field(default=None, foreign_key="ownership_member.id")
    note_id: int = Field(foreign_key="ownership_note.id")
    tag_id: int = Field(foreign_key="ownership_tag.id")


class Tag(OwnershipEntity, table=True):
    """A table without owners."""

    __tablename__ = "ownership_tag"
    name: str = ""


class Note(OwnershipEntity, table=True):
    __tablename__ = "ownership_note"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  never changed
    belongs_to: ClassVar[str | None] = "owner_id"
    name: str = ""
    owner_id: int | None = Field(default=None, foreign_key="ownership_member.id")
    owner: Member | None = Relationship(sa_relationship_kwargs=LAZY)
    lines: list["Line"] = Relationship(back_populates="note", sa_relationship_kwargs=LAZY)
    tags: list[Tag] = Relationship(link_model=Tagging, sa_relationship_kwargs=LAZY)
    labels: list[Label] = Relationship(back_populates="notes", sa_relationship_kwargs=LAZY | {"secondary": LABELLING})


class Line(OwnershipEntity, table=True):
    __tablename__ = "ownership_line"
    belongs_to: ClassVar[str | None] = "note_id"
    name: str = ""
    note_id: int | None = Field(default=None, foreign_key="ownership_note.id")
    note: Note | None = Relationship(back_populates="lines")
    words: list["Word"] = Relationship(sa_relationship_kwargs=LAZY)


class Word(OwnershipEntity, table=True):
    __tablename__ = "ownership_word"
    belongs_to: ClassVar[str | None] = "line_id"
    name: str = ""
    line_id: int | None = Field(default=None, foreign_key="ownership_line.id")


class Folder(OwnershipUUIDEntity, table=True):
    __tablename__ = "ownership_folder"
    belongs_to: ClassVar[str | None] = "owner_id"
    owner_id: int = Field(foreign_key="ownership_member.id")
    code: str | None = Field(default=None, unique=True)
    sheets: list["Sheet"] = Relationship(sa_relationship_kwargs=LAZY | {"cascade": "all, delete-orphan"})


class Sheet(OwnershipEntity, table=True):
    __tablename__ = "ownership_sheet"
    belongs_to: ClassVar[str | None] = "folder_id"
    folder_id: UUID = Field(foreign_key="ownership_folder.id", nullable=True)


class Chapter(OwnershipEntity, table=True):
    """It belongs to no user: `log_id` leads to a table that is no entity, `parent_id` to a parent of its own kind."""

    __tablename__ = "ownership_chapter"
    log_id: int | None = Field(default=None, foreign_key="ownership_log.id")
    parent_id: int | None = Field(default=None, foreign_key="ownership_chapter.id")
    code: str | None = Field(default=None, foreign_key="ownership_folder.code")


class Log(OwnershipTable, table=True):
    __tablename__ = "ownership_log"
    id: int = Field(default=None, primary_key=True)
    note_id: int | None = None
    listed: list[Note] = Relationship(sa_relationship_kwargs=LAZY | {"secondary": LISTING})
    note: Note | None = Relationship(
        sa_relationship_kwargs={"primaryjoin": "foreign(Log.note_id) == Note.id", "viewonly": True}
    )


class Branch(OwnershipEntity, table=True):
    """A row of a tree, whose parent may belong to another member."""

    __tablename__ = "ownership_branch"
    belongs_to: ClassVar[str | None] = "owner_id"
    owner_id: int = Field(foreign_key="ownership_member.id")
    parent_id: int | None = Field(default=None, foreign_key="ownership_branch.id")


class Plan(OwnershipEntity, table=True):
    """A table without owners."""

    __tablename__ = "ownership_plan"
    accounts: list["Account"] = Relationship(back_populates="plan", sa_relationship_kwargs=LAZY)
    others: list["Account"] = Relationship(sa_relationship_kwargs=LAZY | {"overlaps": "accounts,plan"})


class Account(OwnershipEntity, table=True):
    """A row of a member, whose plan only superusers may set."""

    __tablename__ = "ownership_account"
    belongs_to: ClassVar[str | None] = "owner_id"
    reserved = {"plan_id": None}  # noqa: RUF012  never changed
    name: str = ""
    owner_id: int = Field(foreign_key="ownership_member.id")
    plan_id: int | None = Field(default=None, foreign_key="ownership_plan.id")
    plan: Plan | None = Relationship(back_populates="accounts", sa_relationship_kwargs=LAZY)


NOTE: Any = Note
ALIAS: Any = aliased(Note)
LINE: Any = Line
WORD: Any = Word
MEMBER: Any = Member
LOG: Any = Log
LABEL: Any = Label
NOTES: Any = Note.__table__  # type: ignore[attr-defined]
LINES: Any = LINE.__table__
LOGS: Any = LOG.__table__
TABLES: list[Table] = REGISTRY.metadata.sorted_tables


@pytest.fixture(scope="module")
async def tables(new_database: Any) -> AsyncIterator[Database]:
    database = Database(url_for(await new_database()))
    async with database.writer.begin() as connection:
        await connection.run_sync(REGISTRY.metadata.create_all, tables=TABLES)
    create_service(create_runtime(database))  # lets its sessions take shortcuts, unless FAST_PATH is false
    yield database
    await database.dispose()


@pytest.fixture
async def database(tables: Database) -> Database:
    """Provide a note with a line with a word of each of two members, and a tag and a log."""
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    await empty(tables, TABLES)
    async with tables.write() as session:
        for ident, owner in ((MINE, ME), (THEIRS, OTHER)):
            await session.insert_all([Member(id=owner, name=f"member {owner}")])
            await session.insert_all([Note(id=ident, name=f"note {ident}", owner_id=owner)])
            await session.insert_all([Line(id=ident, name=f"line {ident}", note_id=ident)])
            await session.insert_all([Word(id=ident, name=f"word {ident}", line_id=ident)])
        await session.insert_all([Folder(id=MY_FOLDER, owner_id=ME), Folder(id=THEIR_FOLDER, owner_id=OTHER)])
        await session.insert_all([Sheet(id=MINE, folder_id=MY_FOLDER), Sheet(id=THEIRS, folder_id=THEIR_FOLDER)])
        await session.insert_all([Label(id=MINE, name="label"), Label(id=FREE_LABEL, name="free")])
        await session.exec(insert(LABELLING), params=[{"note_id": note, "label_id": MINE} for note in (MINE, THEIRS)])
        session.add_all([Tag(id=MINE, name="tag"), Log(id=MINE, note_id=MINE), Log(id=THEIRS, note_id=THEIRS)])
        await session.commit()
    return tables


@pytest.fixture(autouse=True)
def principal() -> Iterator[None]:
    yield
    CURRENT_PRINCIPAL.set(UNRESTRICTED)


async def stored(database: Database) -> list[Any]:
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    session: Any
    async with database.read() as session:
        return [list(await session.exec(table.select().order_by(*table.primary_key))) for table in TABLES]


async def raised_by(database: Database, act: Act) -> Exception | None:
    """Return the exception of a member's act in a restricted session, whose handler would catch it and commit."""
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=True) as session:
        try:
            await act(session)
            await session.commit()
        except (Problem, OwnershipError) as raised:
            try:
                await session.commit()
            except (Problem, OwnershipError, InvalidRequestError, IntegrityError):
                await session.rollback()
            return raised
    return None


def sync(act: Callable[[Any], Any]) -> Act:
    async def run(session: Any) -> None:
        await session.run_sync(act)

    return run


def exec_(statement: Any, parameters: Any = None, **options: Any) -> Act:
    async def run(session: Any) -> None:
        await session.exec(statement, params=parameters, execution_options=options)

    return run


def adding(*rows: Callable[[], Any]) -> Act:
    return sync(lambda session: (session.add_all([row() for row in rows]), session.flush()))


def theirs(session: GuardedSession, entity: type[Any] = Note) -> Any:
    return session.get(entity, OTHER if entity is Member else THEIRS)


def mine(session: GuardedSession, entity: type[Any] = Note) -> Any:
    return session.get(entity, ME if entity is Member else MINE)


def set_and_flush(session: GuardedSession, row: Any, **values: Any) -> Any:
    for name, value in values.items():
        setattr(row, name, value)
    session.flush()
    return row


def append(session: GuardedSession, parent: Any, name: str, child: Any) -> None:
    getattr(parent, name).append(child)
    session.flush()


def take_expired(session: GuardedSession) -> None:
    note = theirs(session)
    session.expire(note)
    set_and_flush(session, note, owner_id=ME)


def merge_unloaded(session: GuardedSession) -> None:
    note = Note(id=THEIRS, owner_id=ME, version=1)
    make_transient_to_detached(note)
    set_and_flush(session, session.merge(note, load=False), name="x")


def change_and_select(session: GuardedSession) -> None:
    note = theirs(session)
    note.name = "x"
    session.exec(select(Note)).all()


def new(**values: Any) -> dict[str, Any]:
    """Return the values of a new row for insert(), which has no defaults."""
    return {"name": "x", **STAMPS, **values}


def attach(session: GuardedSession, row: Any) -> Any:
    """Attach a row as persistent, though it was not loaded from the database."""
    make_transient_to_detached(row)
    session.add(row)
    return row


def row_switch(session: GuardedSession) -> None:
    session.delete(theirs(session))
    session.add(Note(id=THEIRS, name="stolen", owner_id=ME))
    session.flush()


def flush_without_the_parent(session: GuardedSession) -> None:
    line = Line(note_id=THEIRS)
    session.add_all([Note(id=THEIRS, owner_id=ME), line])
    with pytest.warns(DeprecationWarning, match="flush"):
        session.flush([line])


def leave_orphan(session: GuardedSession) -> None:
    folder = session.get(Folder, THEIR_FOLDER)
    assert folder
    folder.sheets.clear()
    session.flush()


def line_under_new_note_of_theirs(session: GuardedSession) -> None:
    session.add(Line(note=Note(owner_id=OTHER)))
    session.flush()


def add_below_nothing(session: GuardedSession) -> None:
    savepoint = session.begin_nested()
    session.add(Note(id=5000, owner_id=ME))
    session.flush()
    savepoint.rollback()
    session.add(Line(note_id=5000))
    session.flush()


def copy_to_another(session: GuardedSession) -> None:
    note = mine(session)
    make_transient(note)
    note.id, note.owner_id = None, OTHER
    session.add(note)
    session.flush()


SOME_NOTES = NOTE.id.in_([MINE, THEIRS])
WRITES: dict[str, Act] = {
    "add a row of another": adding(lambda: Note(owner_id=OTHER)),
    "add a row of nobody": adding(lambda: Note()),
    "add a row of an entity without owner": adding(lambda: Tag()),
    "add another user": adding(lambda: Member(id=9)),
    "add a user who gets an id": adding(lambda: Member()),
    "add under the parent of another": adding(lambda: Line(note_id=THEIRS)),
    "add under the grandparent of another": adding(lambda: Word(line_id=THEIRS)),
    "add under nothing": adding(lambda: Line(note_id=404)),
    "add under a new parent of another": sync(line_under_new_note_of_theirs),
    "add under a new parent that is left out": sync(flush_without_the_parent),
    "delete an orphan": sync(leave_orphan),
    "add by a relationship": sync(lambda s: (s.add(Line(note=theirs(s))), s.flush())),
    "add to a collection": sync(lambda s: append(s, theirs(s), "lines", Line())),
    "add to a collection without a backref": sync(lambda s: append(s, theirs(s, Line), "words", Word())),
    "change a row": sync(lambda s: set_and_flush(s, theirs(s), name="x")),
    "change a row below": sync(lambda s: set_and_flush(s, theirs(s, Word), name="x")),
    "change a row of an entity without owner": sync(lambda s: set_and_flush(s, s.get(Tag, MINE), name="x")),
    "change another user": sync(lambda s: set_and_flush(s, theirs(s, Member), name="x")),
    "change the id of a user": sync(lambda s: set_and_flush(s, mine(s, Member), id=9)),
    "take a row": sync(lambda s: set_and_flush(s, theirs(s), owner_id=ME)),
    "take a row by a relationship": sync(lambda s: set_and_flush(s, theirs(s), owner=mine(s, Member))),
    "give a row away": sync(lambda s: set_and_flush(s, mine(s), owner_id=OTHER)),
    "give a row away by a relationship": sync(lambda s: set_and_flush(s, mine(s), owner=theirs(s, Member))),
    "give a row to nobody": sync(lambda s: set_and_flush(s, mine(s), owner_id=None)),
    "move a row to another's": sync(lambda s: set_and_flush(s, mine(s, Line), note_id=THEIRS)),
    "move a row to another's by a relationship": sync(lambda s: set_and_flush(s, mine(s, Line), note=theirs(s))),
    "move a row from another": sync(lambda s: set_and_flush(s, theirs(s, Line), note_id=MINE)),
    "move a row from another by a collection": sync(lambda s: append(s, mine(s), "lines", theirs(s, Line))),
    "move words from another": sync(lambda s: append(s, mine(s, Line), "words", theirs(s, Word))),
    "replace a collection": sync(lambda s: set_and_flush(s, theirs(s, Line), words=[])),
    "move a row that is expired": sync(take_expired),
    "delete a row": sync(lambda s: (s.delete(theirs(s)), s.flush())),
    "delete a row below": sync(lambda s: (s.delete(theirs(s, Word)), s.flush())),
    "replace a row by a new one": sync(row_switch),
    "merge a row": sync(lambda s: (s.merge(Note(id=THEIRS, owner_id=ME)), s.flush())),
    "merge a row without loading it": sync(merge_unloaded),
    "attach a row": sync(lambda s: set_and_flush(s, attach(s, Note(id=THEIRS, owner_id=ME, version=1)), name="x")),
    "attach a row and take it": sync(lambda s: set_and_flush(s, attach(s, Note(id=THEIRS, version=1)), owner_id=ME)),
    "attach a row and delete it": sync(
        lambda s: (s.delete(attach(s, Note(id=THEIRS, owner_id=ME, version=1))), s.flush())
    ),
    "attach a parent": sync(
        lambda s: (attach(s, Note(id=THEIRS, owner_id=ME)), s.add(Line(note_id=THEIRS)), s.flush())
    ),
    "link a row": sync(lambda s: append(s, theirs(s), "labels", Label())),
    "link to a row of another": sync(lambda s: append(s, theirs(s), "labels", s.get(Label, FREE_LABEL))),
    "link from a row without owner": sync(lambda s: append(s, s.get(Label, FREE_LABEL), "notes", theirs(s))),
    "link by a new row": sync(lambda s: (s.add(Label(notes=[theirs(s)])), s.flush())),
    "link themselves to a row of another": sync(lambda s: append(s, mine(s, Member), "pinned", theirs(s))),
    "link from a table that is no entity": sync(lambda s: append(s, s.get(Log, MINE), "listed", theirs(s))),
    "link rows without owner": sync(lambda s: append(s, s.get(Label, MINE), "tags", s.get(Tag, MINE))),
    "unlink a row": sync(lambda s: set_and_flush(s, theirs(s), labels=[])),
    "unlink from a row without owner": sync(lambda s: set_and_flush(s, s.get(Label, MINE), notes=[])),
    "replace a link": sync(lambda s: set_and_flush(s, s.get(Label, MINE), notes=[mine(s)])),
    "change a row in a savepoint": sync(lambda s: (s.begin_nested(), set_and_flush(s, theirs(s), name="x"))),
    "change a row and select": sync(change_and_select),
    "move a row to a new parent": sync(lambda s: (s.add(Note(owner_id=ME, lines=[theirs(s, Line)])), s.flush())),
    "merge a tree": sync(
        lambda s: (s.merge(Note(id=MINE, owner_id=ME, version=1, lines=[Line(id=THEIRS, version=1)])), s.flush())
    ),
    "merge a link": sync(
        lambda s: (s.merge(Label(id=FREE_LABEL, version=1, notes=[Note(id=THEIRS, owner_id=OTHER)])), s.flush())
    ),
    "add below a row that was rolled back": sync(add_below_nothing),
    "add a copy": sync(copy_to_another),
    "update one": exec_(update(Note).where(NOTE.id == THEIRS).values(name="x")),
    "update some": exec_(update(Note).where(SOME_NOTES).values(name="x")),
    "update all": exec_(update(Note).values(name="x")),
    "update by id": exec_(update(Note), [{"id": MINE, "name": "x"}, {"id": THEIRS, "name": "x"}]),
    "update all by parameters": exec_(update(Note), {"name": "x"}),
    "update by a bound parameter": exec_(update(Note).where(NOTE.name == literal(f"note {THEIRS}")).values(name="x")),
    "update by a parameter of the condition": exec_(
        update(Note).where(NOTE.name == bindparam("old")).values(name="x"),
        {"old": f"note {THEIRS}"},
    ),
    "update below": exec_(update(Word).where(WORD.name == f"word {THEIRS}").values(name="x")),
    "update an entity without owner": exec_(update(Tag).values(name="x")),
    "update with FROM": exec_(update(Note).where(NOTE.id == LINE.note_id, LINE.id == THEIRS).values(name="x")),
    "update with a subquery": exec_(
        update(Note).where(exists().where(LINE.note_id == NOTE.id, LINE.id == THEIRS)).values(name="x")
    ),
    "update by a lambda": exec_(update(Note).where(lambda: NOTE.id == THEIRS).values(name="x")),
    "update in an order": exec_(update(Note).where(NOTE.id == THEIRS).ordered_values((NOTE.name, "x"))),
    "update and return": exec_(update(Note).where(NOTE.id == THEIRS).values(name="x").returning(Note)),
    "update by a union": exec_(
        update(Note).where(NOTE.id.in_(union_all(select(NOTE.id), select(LINE.id)))).values(name="x")
    ),
    "update without synchronization": exec_(update(Note).values(name="x"), synchronize_session=False),
    "update the owner": exec_(update(Note).where(NOTE.id == MINE).values(owner_id=OTHER)),
    "update the owner to take it": exec_(update(Note).where(NOTE.id == THEIRS).values(owner_id=ME)),
    "update the owner by an expression": exec_(
        update(Note).where(NOTE.id == MINE).values(owner_id=select(func.max(MEMBER.id)).scalar_subquery())
    ),
    "update the owner to nobody": exec_(update(Note).where(NOTE.id == MINE).values(owner_id=None)),
    "update the owner by id": exec_(update(Note), [{"id": MINE, "owner_id": OTHER, "version": 1}]),
    "update the parent": exec_(update(Line).where(LINE.id == MINE).values(note_id=THEIRS)),
    "update the id": exec_(update(Word).where(WORD.id == MINE).values(id=9, line_id=THEIRS)),
    "delete one": exec_(delete(Word).where(WORD.id == THEIRS)),
    "delete all": exec_(delete(Word)),
    "delete by a query": sync(lambda s: Query(Word, s).delete()),
    "update by a query": sync(lambda s: Query(Note, s).update({"name": "x"})),
    "insert a row": exec_(insert(Note), new(owner_id=OTHER)),
    "insert rows": exec_(insert(Note), [new(owner_id=ME), new(owner_id=OTHER)]),
    "insert rows as they are": exec_(insert(Note), [new(owner_id=OTHER)], dml_strategy="raw"),
    "insert values": exec_(insert(Note).values(**new(owner_id=OTHER))),
    "insert values by columns": exec_(insert(Note).values({NOTE.owner_id: OTHER, NOTE.version: 1})),
    "insert for nobody": exec_(insert(Note).values(**new())),
    "insert below": exec_(insert(Line), [new(note_id=MINE), new(note_id=THEIRS)]),
    "insert for an entity without owner": exec_(insert(Tag), [new()]),
}


@pytest.mark.parametrize("way", WRITES)
async def test_no_write_changes_rows_of_others(database: Database, way: str) -> None:
    before = await stored(database)
    raised = await raised_by(database, WRITES[way])
    assert isinstance(raised, Problem)
    assert raised.status_code == 403
    assert await stored(database) == before


@pytest.mark.parametrize("way", ["link rows without owner", "update an entity without owner", "add a tag"])
async def test_a_row_of_nobody_is_not_said_to_be_of_another(database: Database, way: str) -> None:
    raised = await raised_by(database, (WRITES | {"add a tag": adding(lambda: Tag())})[way])
    assert isinstance(raised, Problem)
    assert raised.detail == "This belongs to no user: only superusers may change it."


def upsert(dialect: Any) -> Any:
    made = dialect.insert(Note).values(**new(id=THEIRS, owner_id=ME))
    return made.on_conflict_do_update(index_elements=["id"], set_={"owner_id": ME})


def bulk(name: str, *values: Any) -> Act:
    return sync(lambda session: getattr(session, name)(*values))


WRITING = update(Note).values(name="x").returning(NOTE.id).cte()
REFUSED: dict[str, Act] = {
    "text": exec_(text("UPDATE ownership_note SET name = 'x'")),
    "text that returns entities": exec_(
        select(Note).from_statement(text("UPDATE ownership_note SET name = 'x' RETURNING *"))
    ),
    "text with columns": exec_(text("UPDATE ownership_note SET name = 'x' RETURNING id").columns(column("id"))),
    "text in a condition": exec_(update(Note).where(text("1 = 0 OR 1 = 1")).values(name="x")),
    "text in a value": exec_(update(Note).values(name=literal_column("'x'"))),
    "a table": exec_(update(NOTES).values(name="x")),
    "an alias of a table": exec_(update(NOTES.alias("alias")).values(name="x")),
    "an alias of the class": exec_(update(ALIAS).where(ALIAS.id == THEIRS).values(name="x")),
    "a lambda": exec_(lambda_stmt(lambda: update(Note).values(name="x"))),
    "a table deleted from": exec_(delete(NOTES)),
    "a table inserted into": exec_(insert(NOTES).values(**new(owner_id=OTHER))),
    "a table with a condition on an entity": exec_(update(NOTES).where(NOTES.c.id == LOG.note_id).values(name="x")),
    "a table by its name": exec_(update(table("ownership_note", column("name"))).values(name="x")),
    "a table by its name in capitals": exec_(update(table("OWNERSHIP_NOTE", column("name"))).values(name="x")),
    "a table of other metadata": exec_(update(NOTES.to_metadata(MetaData())).values(name="x")),
    "an update in a CTE": exec_(select(update(Note).values(name="x").returning(NOTE.id).cte().c.id)),
    "an update in a CTE beside (PostgreSQL)": exec_(select(LOG.id).add_cte(WRITING)),
    "an update in a CTE of an insert (PostgreSQL)": exec_(insert(LOGS).from_select(["note_id"], select(WRITING.c.id))),
    "an update read as entities": exec_(select(Note).from_statement(update(Note).values(name="x").returning(Note))),
    "an insert of a query": exec_(insert(Note).from_select(["owner_id"], select(MEMBER.id))),
    "an insert of several values": exec_(insert(Note).values([new(owner_id=ME), new(owner_id=OTHER)])),
    "an insert of several values and parameters": exec_(insert(Note).values([new(owner_id=OTHER)]), new(owner_id=ME)),
    "an insert of values and parameters": exec_(insert(Note).values(owner_id=OTHER), new(owner_id=ME)),
    "an insert of a bound parameter": exec_(insert(Note).values(owner_id=bindparam("owner")), {"owner": OTHER}),
    "an insert of an expression": exec_(insert(Note).values(owner_id=select(MEMBER.id).limit(1).scalar_subquery())),
    "an upsert on SQLite": exec_(upsert(sqlite)),
    "an upsert on PostgreSQL": exec_(upsert(postgresql)),
    "an insert or replace": exec_(insert(Note).prefix_with("OR REPLACE").values(**new(id=THEIRS, owner_id=ME))),
    "an insert or replace with parameters": exec_(
        insert(Note).prefix_with("OR REPLACE"), [new(id=THEIRS, owner_id=ME)]
    ),
    "an update with many parameters and a condition": exec_(
        update(Note).where(SOME_NOTES).values(name="x"), [{"id": MINE}], dml_strategy="orm"
    ),
    "an update without parameters in a list": exec_(update(Note).values(name="x"), []),
    "DDL": exec_(DropTable(WORD.__table__)),
    "an expression as owner": adding(lambda: NOTE(owner_id=literal(OTHER))),
    "bulk_save_objects": sync(lambda s: s.bulk_save_objects([Note(owner_id=OTHER)])),
    "bulk_insert_mappings": bulk("bulk_insert_mappings", Note, [{"owner_id": OTHER}]),
    "bulk_update_mappings": bulk("bulk_update_mappings", Note, [{"id": THEIRS, "name": "x"}]),
    "a connection": sync(lambda s: s.connection().execute(update(NOTES).values(name="x"))),
    "a link that is no entity": adding(lambda: Pin(member_id=ME, note_id=THEIRS)),
    "a link table": exec_(insert(LABELLING).values(note_id=THEIRS, label_id=MINE)),
    "a link table of a table that is no entity": exec_(insert(LISTING).values(log_id=MINE, note_id=THEIRS)),
    "a link table by its name": exec_(delete(table("Ownership_Labelling"))),
    "an update of links": exec_(update(Pin).values(member_id=ME)),
    "a link table by the deletion of a row": sync(lambda s: (s.delete(mine(s)), s.flush())),
    "a link table by secondary": sync(lambda s: append(s, mine(s), "tags", s.get(Tag, MINE))),
}


@pytest.mark.parametrize("way", REFUSED)
async def test_statements_that_cannot_be_checked_are_refused(database: Database, way: str) -> None:
    before = await stored(database)
    assert isinstance(await raised_by(database, REFUSED[way]), OwnershipError)
    assert await stored(database) == before


def add_tree(session: GuardedSession) -> None:
    session.add(Note(owner_id=ME, lines=[Line(words=[Word()])]))
    session.flush()


def add_to_pending_folder(session: GuardedSession) -> None:
    folder = Folder(owner_id=ME)
    session.add_all([folder, Sheet(folder_id=folder.id)])
    session.flush()


def insert_unless_there_is_one(session: GuardedSession) -> None:
    dialect: Any = {"sqlite": sqlite, "postgresql": postgresql}[session.get_bind().dialect.name]
    session.exec(dialect.insert(Note).values(**new(id=3000, owner_id=ME)).on_conflict_do_nothing())


ALLOWED: dict[str, Act] = {
    "add a row": adding(lambda: Note(owner_id=ME)),
    "add for an owner object": sync(lambda s: (s.add(Note(owner=mine(s, Member))), s.flush())),
    "add below": adding(lambda: Line(note_id=MINE), lambda: Word(line_id=MINE)),
    "add a tree": sync(add_tree),
    "add below a pending row with an id": sync(add_to_pending_folder),
    "add a row that is no entity": adding(lambda: Log()),
    "link a row": sync(lambda s: append(s, mine(s), "labels", s.get(Label, FREE_LABEL))),
    "link from a row without owner": sync(lambda s: append(s, s.get(Label, FREE_LABEL), "notes", mine(s))),
    "link from a table that is no entity": sync(lambda s: append(s, s.get(Log, MINE), "listed", mine(s))),
    "link themselves": sync(lambda s: append(s, mine(s, Member), "pinned", mine(s))),
    "add a link": adding(lambda: Tagging(owner_id=ME, note_id=THEIRS, tag_id=MINE)),
    "change a row": sync(lambda s: set_and_flush(s, mine(s), name="x")),
    "change a row below": sync(lambda s: set_and_flush(s, mine(s, Word), name="x")),
    "change a row in a savepoint": sync(lambda s: (s.begin_nested(), set_and_flush(s, mine(s), name="x"))),
    "change themselves": sync(lambda s: set_and_flush(s, mine(s, Member), name="x")),
    "move a row": sync(lambda s: (s.add(Note(id=3000, owner_id=ME)), set_and_flush(s, mine(s, Line), note_id=3000))),
    "attach a row": sync(lambda s: set_and_flush(s, attach(s, Note(id=MINE, owner_id=ME, version=1)), name="x")),
    "delete a row": sync(lambda s: (s.delete(mine(s, Word)), s.flush())),
    "touch a row of another without a change": sync(lambda s: set_and_flush(s, theirs(s), name=f"note {THEIRS}")),
    "update": exec_(update(Note).where(NOTE.id == MINE).values(name="x", owner_id=ME)),
    "update by an evaluated condition": exec_(
        update(Note).where(NOTE.id == MINE).values(name="x"),
        synchronize_session="evaluate",
    ),
    "update by a parameter": exec_(update(Note).where(NOTE.name == literal(f"note {MINE}")).values(name="x")),
    "update below": exec_(update(Word).where(WORD.id == MINE).values(name="x")),
    "update with FROM": exec_(update(Note).where(NOTE.id == LINE.note_id, LINE.id == MINE).values(name="x")),
    "update by id": exec_(update(Note), [{"id": MINE, "name": "x", "version": 1}]),
    "update what is no entity": exec_(update(Log).values(note_id=5)),
    "delete": exec_(delete(Word).where(WORD.id == MINE)),
    "delete by a query": sync(lambda s: Query(Word, s).filter(WORD.id == MINE).delete()),
    "insert": exec_(insert(Note), [new(owner_id=ME), new(owner_id=ME)]),
    "insert values": exec_(insert(Note).values(**new(owner_id=ME))),
    "insert below": exec_(insert(Word), [new(line_id=MINE)]),
    "insert unless there is one": sync(insert_unless_there_is_one),
    "insert into a table that is no entity": exec_(insert(LOGS).values(note_id=5)),
}


@pytest.mark.parametrize("way", ALLOWED)
async def test_their_own_rows_are_written(database: Database, way: str) -> None:
    before = await stored(database)
    assert await raised_by(database, ALLOWED[way]) is None
    assert (await stored(database) == before) is ("without a change" in way)


async def written_by(database: Database, principal: Principal, act: Act, *, restricted: bool) -> None:
    CURRENT_PRINCIPAL.set(principal)
    async with database.write(restricted=restricted) as session:
        await act(session)
        await session.commit()


FREE: dict[str, Act] = {
    "add": adding(lambda: Note(owner_id=OTHER), lambda: Tag()),
    "change": sync(lambda s: set_and_flush(s, theirs(s), name="x")),
    "update": exec_(update(Note).values(name="x")),
    "a table": exec_(update(NOTES).values(name="x")),
    "text": exec_(text("UPDATE ownership_note SET name = 'x'")),
    "a connection": sync(lambda s: s.connection().execute(update(NOTES).values(name="x"))),
    "bulk_save_objects": sync(lambda s: s.bulk_save_objects([Note(owner_id=OTHER)])),
    "bulk_insert_mappings": bulk("bulk_insert_mappings", Note, [new(owner_id=OTHER)]),
    "bulk_update_mappings": bulk("bulk_update_mappings", Note, [{"id": THEIRS, "name": "x", "version": 1}]),
}


@pytest.mark.parametrize("who", ["a superuser", "an unrestricted session"])
@pytest.mark.parametrize("way", FREE)
async def test_others_are_not_restricted(database: Database, way: str, who: str) -> None:
    before = await stored(database)
    is_superuser = who == "a superuser"
    principal = UNRESTRICTED if is_superuser else Principal(ME)
    await written_by(database, principal, FREE[way], restricted=is_superuser)
    assert await stored(database) != before


async def test_an_anonymous_principal_owns_no_row(database: Database) -> None:
    await written_by(database, UNRESTRICTED, adding(lambda: Note(id=5000)), restricted=False)
    CURRENT_PRINCIPAL.set(Principal())
    async with database.write(restricted=True, restricted_reads=True) as session:
        assert (await session.exec(select(Note))).all() == []
        assert (await session.exec(update(Note).values(name="x"))).rowcount == 0


async def test_get_refuses_rows_of_others(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=True) as session:
        assert await session.get(Word, MINE)
        for entity, ident in ((Note, THEIRS), (Word, THEIRS)):
            with pytest.raises(Problem):
                await session.get(entity, ident)


async def test_a_row_of_another_is_not_deleted_after_its_referrers_changed(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=True) as session:
        for ident in (THEIRS, MINE):
            word = (await session.exec(select(Word).where(WORD.id == ident))).one()
            with pytest.raises(Problem) if ident == THEIRS else nullcontext():
                await session.delete(word)
            assert (word in session.deleted) is (ident == MINE)


async def test_a_row_is_checked_by_what_the_session_has_loaded(database: Database) -> None:
    """So a line of a note that was loaded costs no query."""
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=True) as session:
        note = await session.get(Note, MINE)
        session.add(Line(note_id=MINE))
        asked: list[str] = []
        event.listen(database.writer.sync_engine, "before_cursor_execute", lambda *values: asked.append(values[2]))
        await session.flush()
        assert note
        assert [statement.split()[0] for statement in asked] == ["INSERT"]


@pytest.mark.untraced
@pytest.mark.parametrize(("most", "queries"), [(requirements.MAX_IDS, 1), (1000, 2)])
async def test_many_rows_are_checked_by_few_queries(
    database: Database, monkeypatch: pytest.MonkeyPatch, most: int, queries: int
) -> None:
    monkeypatch.setattr(requirements, "MAX_IDS", most)
    ids = range(5000, 6500)
    notes = [new(id=ident, owner_id=ME) for ident in ids]
    await written_by(database, UNRESTRICTED, exec_(insert(Note), notes), restricted=False)
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=True) as session:
        asked: list[str] = []
        event.listen(database.writer.sync_engine, "before_cursor_execute", lambda *values: asked.append(values[2]))
        await session.insert_all([Line(note_id=ident) for ident in ids])
        assert len([statement for statement in asked if statement.startswith("SELECT")]) == queries


LINE_ALIAS: Any = aliased(Line)
COUNT_LINES = select(func.count()).where(LINE.note_id == NOTE.id).scalar_subquery()
IDS: Any = select(NOTE.id)
ONE = values(column("x", Integer), name="one").data([(1,)])
SELF = select(NOTE.id).cte(recursive=True)
PAIRS = NOTES.join(LINES, NOTES.c.id == LINES.c.note_id)
ALL_NOTES: Any = aliased(Note, select(Note).where(NOTE.id > 0).subquery())
READS: dict[str, Any] = {
    "columns": select(NOTE.name),
    "a count": select(func.count()).select_from(Note),
    "a count of a column": select(func.count(distinct(NOTE.name))),
    "a window": select(func.row_number().over(order_by=NOTE.id)),
    "a filter": select(func.count().filter(NOTE.owner_id != 0)),
    "an alias": select(ALIAS.name),
    "an alias that is counted": select(func.count()).select_from(ALIAS),
    "what is below": select(LINE.name),
    "what is two below": select(WORD.name),
    "an alias of what is below": select(LINE_ALIAS.name),
    "users": select(MEMBER.name),
    "a subquery": select(select(Note).subquery().c.name),
    "a CTE": select(select(Note).cte().c.name),
    "a lateral subquery (PostgreSQL)": select(LOG.id, select(NOTE.name).where(NOTE.id == LOG.note_id).lateral().c.name),
    "a scalar subquery": select(select(func.count(NOTE.id)).scalar_subquery()),
    "a scalar subquery beside": select(LOG.id, select(NOTE.name).where(NOTE.id == LOG.note_id).scalar_subquery()),
    "a correlated subquery": select(NOTE.name, COUNT_LINES),
    "exists": select(exists().where(NOTE.id == THEIRS)),
    "exists from": select(LOG.id).where(exists().select_from(Note).where(NOTE.id == LOG.note_id)),
    "in": select(LOG.id).where(LOG.note_id.in_(IDS)),
    "not in": select(LOG.id).where(LOG.note_id.not_in(IDS)),
    "an implicit join": select(LOG.id).where(func.abs(NOTE.id) == LOG.note_id),
    "a condition on a table": select(LOG.id).where(LOGS.c.note_id == NOTE.id),
    "a join": select(LOG.id, NOTE.name).join(Note, NOTE.id == LOG.note_id),
    "a join of nothing": select(LOG.id).join(Note, NOTE.id == LOG.note_id),
    "an outer join": select(LOG.id, NOTE.name).outerjoin(Note, NOTE.id == LOG.note_id),
    "an outer join of an alias": select(LOG.id, ALIAS.name).outerjoin(ALIAS, ALIAS.id == LOG.note_id),
    "a full join": select(LOG.id, NOTE.name).join(Note, NOTE.id == LOG.note_id, full=True),
    "a join from": select(LOG.id).select_from(orm_join(Log, Note, NOTE.id == LOG.note_id)),
    "a join along a relationship": select(NOTE.name, MEMBER.name).join(NOTE.owner),
    "has": select(NOTE.name).where(NOTE.owner.has(MEMBER.id != 0)),
    "any": select(MEMBER.name).where(MEMBER.id.in_(select(NOTE.owner_id).where(NOTE.lines.any()))),
    "a union": union_all(select(NOTE.name), select(ALIAS.name)),
    "a union in a subquery": select(union_all(select(NOTE.name), select(LINE.name)).subquery().c.name),
    "entities from a statement": select(Note).from_statement(select(Note)),
    "entities from a table": select(Note).from_statement(select(NOTES)),
    "entities from a subquery": select(aliased(Note, select(NOTES).subquery()).name),
    "a table": select(NOTES.c.name),
    "an alias of a table": select(NOTES.alias().c.name),
    "a count of a table": select(func.count()).select_from(NOTES),
    "a join of a table": select(LOG.id, NOTES.c.name).join(NOTES, NOTES.c.id == LOG.note_id),
    "a table of other metadata": select(NOTES.to_metadata(MetaData()).c.name),
    "a lambda": lambda_stmt(lambda: select(Note.name)),
    "a recursive CTE": select(SELF.union_all(select(NOTE.id).where(NOTE.id == SELF.c.id + 1)).c.id),
    "a function": func.count(NOTE.id),
    "an order by a subquery": select(
        LOG.id,
        func.row_number().over(
            order_by=select(NOTE.name).where(NOTE.id == LOG.note_id).scalar_subquery().desc().nulls_last()
        ),
    ),
    "a link": select(NOTE.name).join(LABEL.notes),
    "a link of an alias": select(ALIAS.name).join(LABEL.notes.of_type(ALIAS)),
    "any link": select(LABEL.name).where(LABEL.notes.any(NOTE.id == THEIRS)),
    "a function of a column": select(LOG.id).where(
        func.lower(NOTE.name) == func.lower("NOTE ") + cast(LOG.note_id, String)
    ),
    "a condition with an alias": select(LOG.id).where(ALIAS.id == LOG.note_id, ALIAS.id != 0),
    "a nested CTE": select(select(NOTE.name).cte("inner").select().cte("outer").c.name),
    "a CTE with the name of the table": select(select(NOTE.name).cte("ownership_line").c.name),
    "an alias of an alias": select(aliased(NOTES.alias().alias()).c.name),
    "an except": select(select(LOG.id).except_(select(NOTE.id)).subquery().c.id),
    "distinct": select(NOTE.name).distinct(),
    "a case": select(case((exists().where(NOTE.id == THEIRS), "yes"), else_="no")),
    "values beside (PostgreSQL)": select(NOTE.name).join(
        values(column("x", Integer), name="v").data([(THEIRS,)]), true()
    ),
    "a tuple": select(LOG.id).where(tuple_(LOG.note_id, LOG.id).in_(select(NOTE.id, NOTE.id))),
    "having": select(LOG.id).group_by(LOG.id).having(select(func.count(NOTE.id)).scalar_subquery() > 1),
    "a limit by a subquery": select(LOG.id).order_by(LOG.id).limit(select(func.count(NOTE.id)).scalar_subquery()),
    "a bundle": select(Bundle("b", NOTE.name)),
    "with_expression": select(Log).options(load_only(LOG.id)).join(Note, NOTE.id == LOG.note_id),
    "a join along two relationships": select(WORD.name).join(LINE.words).join(LINE.note),
    "with_parent": select(LINE.name).where(with_parent(Note(id=THEIRS), NOTE.lines)),
    "of_type any": select(MEMBER.name).where(MEMBER.notes.any(NOTE.lines.any(LINE.words.any()))),
    "a correlated alias": select(ALIAS.name).where(exists().where(LINE_ALIAS.note_id == ALIAS.id)),
    "any (PostgreSQL)": select(LOG.id).where(LOG.note_id == any_(select(NOTE.id).scalar_subquery())),
    "a subquery as entities": select(aliased(Note, select(Note).subquery()).name),
    "a subquery that is joined": select(LINE.name).join(ALL_NOTES, ALL_NOTES.id == LINE.note_id),
    "entities from a union": select(Note).from_statement(union_all(select(Note).where(NOTE.id < 0), select(Note))),
    "contains": select(NOTE.name).where(NOTE.lines.contains(Line(id=THEIRS, note_id=THEIRS))),
    "a comparison with a row": select(LINE.name).where(LINE.note == Note(id=THEIRS)),
    "joins of joins": select(NOTES.c.id).select_from(Log).outerjoin(PAIRS, NOTES.c.id == LOG.id),
    "a lock": select(Note).with_for_update(),
    "a lock of one table": select(Note).join(Member, MEMBER.id == NOTE.owner_id).with_for_update(of=Note),
    "an order by a name": select(NOTE.name).order_by("name"),
    "a group": select(NOTE.owner_id, func.count()).group_by(NOTE.owner_id),
    "a group by the id": select(NOTE.name, func.count(LINE.id))
    .join(LINE.note)
    .group_by(NOTE.id)
    .order_by(NOTE.owner_id),
    "entities in a group by the id": select(Note, func.count(LINE.id)).join(LINE.note).group_by(NOTE.id),
    "an id in a group by the id": select(NOTE.id, NOTE.name).group_by(NOTE.id).order_by(NOTE.id),
    "a group by the id of an alias": select(ALIAS.name).group_by(ALIAS.id).having(func.length(ALIAS.name) > 1),
    "a group by the id of a table": select(NOTES.c.name).group_by(NOTES.c.id).subquery().select(),
}


def test_a_group_by_an_id_has_the_columns_that_a_subquery_cannot_derive() -> None:
    rows = Table("thing", MetaData(), *(Column(name, Integer, primary_key=name == "id") for name in ("id", "a", "b")))
    rows.append_column(Column("data", JSON))
    rows.append_column(Column("more", postgresql.JSONB))
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for statement, groups in (
        (select(rows.c.a, rows.c.data, rows.c.more).group_by(rows.c.id).order_by(rows.c.b), "id, a, more, b"),
        (select(rows.c.id, rows.c.a).where(rows.c.id > 0).group_by(rows.c.id).order_by(rows.c.id), "id, a"),
        (select(rows.c.a).group_by(rows.c.a), "a"),
        (select(func.count(rows.c.a)), ""),
    ):
        written = str(statement.execution_options(**{OWN_ROWS: True}).compile(dialect=dialect))
        found = written.partition("GROUP BY ")[2].partition("ORDER")[0].replace("thing.", "").strip()
        assert sorted(set(found.split(", "))) == sorted(groups.split(", "))


def plain(result: Any) -> list[Any]:
    """Return the rows of a result, with entities as their names, in an order that is the same on every plan."""
    rows = [row if isinstance(row, tuple) else [row] for row in result]
    return sorted(([getattr(value, "name", value) for value in row] for row in rows), key=repr)


async def seen(database: Database, owner: int, statement: Any) -> list[Any]:
    CURRENT_PRINCIPAL.set(Principal(owner))
    async with database.write(restricted_reads=True) as session:
        return plain((await session.exec(statement)).all())


async def seen_alone(database: Database, owner: int, statement: Any) -> list[Any]:
    """Return the rows that a statement finds where the rows of others are deleted."""
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    theirs = MINE if owner == OTHER else THEIRS
    async with database.write() as session:
        await session.exec(delete(LABELLING).where(LABELLING.c.note_id == theirs))
        for entity in (Word, Line, Note):
            await session.exec(delete(entity).where(col(entity.id) == theirs))
        await session.exec(delete(Sheet).where(col(Sheet.id) == theirs))
        await session.exec(delete(Folder).where(col(Folder.owner_id) != owner))
        await session.exec(delete(Member).where(MEMBER.id != owner))
        return plain((await session.exec(statement)).all())


@pytest.mark.untraced
@pytest.mark.parametrize("way", READS)
async def test_no_read_finds_rows_of_others(database: Database, way: str) -> None:
    statement = READS[way]
    for owner in (ME, OTHER, ME):  # one after the other, with the statement compiled once
        alone = await seen_alone(database, owner, statement)
        found = await seen(database, owner, statement)
        assert sorted(found, key=repr) == sorted(alone, key=repr)  # few of these statements say in which order
    async with database.read() as session:
        CURRENT_PRINCIPAL.set(UNRESTRICTED)
        everything = plain((await session.exec(statement)).all()) if "lock" not in way else None
    assert everything != alone


@pytest.mark.parametrize("load", [selectinload, joinedload, subqueryload])
async def test_relationships_load_no_rows_of_others(database: Database, load: Any) -> None:
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    async with database.write() as session:
        await session.exec(update(Line).where(LINE.id == THEIRS).values(note_id=MINE))
        await session.exec(update(Note).where(NOTE.id == MINE).values(owner_id=OTHER))
        await session.commit()
    CURRENT_PRINCIPAL.set(Principal(OTHER))
    lines: list[Any]
    async with database.read(restricted=True) as session:
        lines = list(await session.exec(select(Line).options(load(LINE.note).selectinload(NOTE.owner))))
        assert [(line.note.name, line.note.owner.name) for line in lines] == [(f"note {MINE}", f"member {OTHER}")] * 2
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.read(restricted=True) as session:
        assert (await session.exec(select(Member).options(load(MEMBER.notes)))).unique().one().notes == []


async def test_lazy_loading_finds_no_rows_of_others(database: Database) -> None:
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    async with database.read() as session:
        log = (await session.exec(select(Log).where(LOG.id == THEIRS))).one()
        assert await session.run_sync(lambda _: log.note) is not None
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.read(restricted=True) as session:
        log = (await session.exec(select(Log).where(LOG.id == THEIRS))).one()
        assert await session.run_sync(lambda _: log.note) is None


async def test_a_statement_that_members_had_compiled_loads_everything_for_a_superuser(database: Database) -> None:
    statement = select(Note).options(selectinload(NOTE.lines).selectinload(LINE.words))
    for principal, number in ((Principal(ME), 1), (UNRESTRICTED, 2), (Principal(OTHER), 1), (UNRESTRICTED, 2)):
        CURRENT_PRINCIPAL.set(principal)
        async with database.read(restricted=True) as session:
            notes = list(await session.exec(statement))
            assert [len(line.words) for note in notes for line in note.lines] == [1] * number


@pytest.mark.parametrize("owner", [ME, OTHER])
async def test_streams_show_no_rows_of_others(database: Database, owner: int) -> None:
    CURRENT_PRINCIPAL.set(Principal(owner))
    session: Any
    for session in (database.read(restricted=True), database.write(restricted=True, restricted_reads=True)):
        async with session:
            assert [row.owner_id async for row in await session.stream(select(NOTE.owner_id))] == [owner]
            assert [key async for key in await session.stream_scalars(select(NOTE.owner_id))] == [owner]


async def test_concurrent_queries_find_no_rows_of_others(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.read(restricted=True) as session:
        largest = select(func.max(NOTE.id))
        found = await session.gather(lambda own: own.get(Note, THEIRS), lambda own: own.scalar(largest))
    assert found == [None, MINE]


@on_postgresql
async def test_a_restricted_select_locks_its_rows(database: Database) -> None:
    async with database.write(restricted_reads=True) as session, database.write() as other:
        CURRENT_PRINCIPAL.set(Principal(ME))
        await session.exec(select(Word).join(Line).with_for_update(of=Word))
        free = select(WORD.id).with_for_update(skip_locked=True)
        assert list(await other.exec(free)) == [THEIRS]
        assert len(list(await other.exec(select(LINE.id).with_for_update(skip_locked=True)))) == 2


async def test_get_and_refresh_find_no_rows_of_others(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.read(restricted=True) as session:
        assert await session.get(Note, MINE)
        assert await session.get(Note, THEIRS) is None
        assert (await session.get(Word, MINE)) is not None
        assert await session.get(Word, THEIRS) is None
        note = Note(id=THEIRS)
        make_transient_to_detached(note)
        session.add(note)
        with pytest.raises(InvalidRequestError):
            await session.refresh(note)
        with pytest.raises(ObjectDeletedError):
            await session.run_sync(lambda _: note.name)


async def test_rows_that_were_given_away_are_not_read(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.read(restricted=True) as session:
        note = await session.get(Note, MINE)
        assert note
        session.expire(note)
        give = exec_(update(Note).where(NOTE.id == MINE).values(owner_id=OTHER, name="secret"))
        await written_by(database, UNRESTRICTED, give, restricted=False)
        CURRENT_PRINCIPAL.set(Principal(ME))
        with pytest.raises(ObjectDeletedError):
            await session.run_sync(lambda _: note.name)


async def test_entities_without_owner_are_read_by_everybody(database: Database) -> None:
    for owner in (ME, OTHER):
        assert await seen(database, owner, select(Tag)) == [["tag"]]


async def test_a_superuser_reads_everything(database: Database) -> None:
    """Also after a member has had the same statement compiled."""
    statement = select(NOTE.id).order_by(NOTE.id)
    assert await seen(database, ME, statement) == [[MINE]]
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    async with database.read(restricted=True) as session:
        assert list(await session.exec(statement)) == [MINE, THEIRS]


async def test_a_statement_with_a_subquery_copies_no_rows_of_others(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted_reads=True) as session:
        await session.exec(insert(LOGS).from_select(["note_id"], select(NOTE.id)))
        await session.exec(update(Log).values(note_id=select(func.max(NOTE.id)).scalar_subquery()))
        assert set(await session.exec(select(LOG.note_id))) == {MINE}


CHANGES: dict[str, Any] = {
    "update by a subquery": update(Note).where(NOTE.id.in_(select(NOTE.id))),
    "update by an alias": update(Note).where(NOTE.id.in_(select(ALIAS.id))),
    "update by exists": update(Note).where(exists().where(LINE.note_id == NOTE.id)),
    "update with FROM": update(Note).where(NOTE.id == LINE.note_id),
    "delete by a subquery": delete(Word).where(WORD.line_id.in_(select(LINE.id))),
    "delete by exists": delete(Word).where(exists().where(LINE.id == WORD.line_id)),
    "delete by itself": delete(Word).where(WORD.id == select(func.max(WORD.id)).scalar_subquery()),
    "update by a CTE": update(Note).where(NOTE.id.in_(select(select(NOTE.id).cte().c.id))),
}


@pytest.mark.untraced
@pytest.mark.parametrize("way", CHANGES)
async def test_a_change_by_a_subquery_finds_no_rows_of_others(database: Database, way: str) -> None:
    statement = CHANGES[way] if "delete" in way else CHANGES[way].values(name="x")
    for owner in (ME, OTHER):
        CURRENT_PRINCIPAL.set(Principal(owner))
        async with database.write(restricted=True, restricted_reads=True) as session:
            assert (await session.exec(statement)).rowcount == 1
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    async with database.write(restricted=True, restricted_reads=True) as session:
        assert (await session.exec(statement)).rowcount == (1 if "itself" in way else 2)


async def test_a_change_copies_no_values_of_others(database: Database) -> None:
    line = select(LINE.name).where(LINE.id == THEIRS).scalar_subquery()
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=True, restricted_reads=True) as session:
        await session.exec(update(Note).where(NOTE.id == MINE).values(name=func.coalesce(line, "nothing")))
        assert list(await session.exec(select(NOTE.name).execution_options(populate_existing=True))) == ["nothing"]


@pytest.mark.parametrize("ident", [THEIRS, 4711])
async def test_a_change_does_not_tell_whether_a_row_of_another_exists(database: Database, ident: int) -> None:
    before = await stored(database)
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=True, restricted_reads=True) as session:
        assert (await session.exec(update(Note).where(NOTE.id == ident).values(name="x"))).rowcount == 0
        assert (await session.exec(delete(Word).where(WORD.id == ident))).rowcount == 0
        await session.commit()
    assert await stored(database) == before


async def test_a_change_of_all_rows_changes_those_that_the_principal_may_read(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=True, restricted_reads=True) as session:
        for statement in (update(Note).values(name="x"), update(Word).values(name="x"), delete(Word)):
            assert (await session.exec(statement)).rowcount == 1
        with pytest.raises(Problem):
            await session.exec(update(Note), params=[{"id": THEIRS, "name": "x", "version": 1}])
        await session.commit()
    assert not any("x" in row and THEIRS in row for rows in await stored(database) for row in rows)


UNREADABLE: dict[str, Any] = {
    "text": text("SELECT name FROM ownership_note"),
    "text as entities": select(Note).from_statement(text("SELECT * FROM ownership_note")),
    "text with columns": text("SELECT name FROM ownership_note").columns(column("name")),
    "text in a column": select(text("(SELECT max(name) FROM ownership_note)")),
    "text in a condition": select(NOTE.name).where(text("1 = 1) OR (1 = 1")),
    "text in an order": select(NOTE.name).order_by(text("1")),
    "text as a prefix": select(LOG.id).prefix_with("name FROM ownership_note --"),
    "text as a suffix": select(LOG.id).suffix_with("UNION SELECT id FROM ownership_note"),
    "a literal column": select(literal_column("(SELECT max(name) FROM ownership_note)")),
    "a sample": select(tablesample(NOTES, 50).c.name),
    "a table by its name": select(column("name")).select_from(table("ownership_note")),
    "a table by its name in an exists": select(LOG.id).where(exists(text("1")).select_from(table("ownership_note"))),
    "a name in a lateral": select(select(table("ownership_note", column("name")).c.name).lateral().c.name),
    "a lambda of a literal column": lambda_stmt(
        lambda: select(literal_column("(SELECT max(name) FROM ownership_note)"))
    ),
    "a lambda of a table": lambda_stmt(lambda: select(column("name")).select_from(table("ownership_note"))),
    "a nested literal": select(select(literal_column("name FROM ownership_note")).scalar_subquery()),
    "a table by its name in capitals": select(column("name")).select_from(table("OWNERSHIP_NOTE")),
}


@pytest.mark.parametrize("way", UNREADABLE)
async def test_text_is_not_read_by_a_restricted_session(database: Database, way: str) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    for open_session in (database.read(restricted=True), database.write(restricted_reads=True)):
        async with open_session as session:
            with pytest.raises(OwnershipError, match=r"write select|cannot sample"):
                await session.exec(UNREADABLE[way])
            with pytest.raises(OwnershipError):
                await session.connection()


READ_ONLY: dict[str, Act] = {
    "add": sync(lambda s: s.add(Note(owner_id=ME))),
    "add below a row": sync(lambda s: append(s, mine(s), "lines", Line())),
    "merge": sync(lambda s: s.merge(Note(owner_id=ME))),
    "change": sync(lambda s: set_and_flush(s, mine(s), name="x")),
    "delete": sync(lambda s: s.delete(mine(s))),
    "update": exec_(update(Note).values(name="x")),
    "delete by a statement": exec_(delete(Word)),
    "insert": exec_(insert(Note), [new(owner_id=ME)]),
    "update a table": exec_(update(NOTES).values(name="x")),
    "update what is no entity": exec_(update(Log).values(note_id=5)),
    "update in a CTE (PostgreSQL)": exec_(select(WRITING.c.id)),
    "update in a CTE beside (PostgreSQL)": exec_(select(LOG.id).add_cte(WRITING)),
    "update read as entities": exec_(select(Note).from_statement(update(Note).values(name="x").returning(Note))),
    "update by a query": sync(lambda s: Query(Note, s).update({"name": "x"})),
    "text": exec_(text("UPDATE ownership_note SET name = 'x'")),
    "text with a CTE": exec_(text("WITH x AS (DELETE FROM ownership_word RETURNING id) SELECT id FROM x")),
    "text that returns entities": exec_(
        select(Note).from_statement(text("UPDATE ownership_note SET name = 'x' RETURNING *"))
    ),
    "text with columns": exec_(text("UPDATE ownership_note SET name = 'x' RETURNING id").columns(column("id"))),
    "no text": exec_(text("")),
    "DDL": exec_(DropTable(WORD.__table__)),
    "bulk_save_objects": sync(lambda s: s.bulk_save_objects([Note(owner_id=OTHER)])),
    "bulk_insert_mappings": bulk("bulk_insert_mappings", Note, [new(owner_id=OTHER)]),
    "bulk_update_mappings": bulk("bulk_update_mappings", Note, [{"id": MINE, "name": "x"}]),
}


@pytest.mark.each_engine
@pytest.mark.parametrize("who", [UNRESTRICTED, Principal(ME)])
@pytest.mark.parametrize("way", READ_ONLY)
async def test_a_read_session_does_not_write(database: Database, way: str, who: Principal) -> None:
    CURRENT_PRINCIPAL.set(who)
    async with database.read() as session:
        with pytest.raises(ReadOnlyError, match="take Session"):
            await READ_ONLY[way](session)


async def test_a_read_session_reads_text_functions_and_untouched_rows(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    session: Any
    async with database.read() as session:
        entities = select(Note).from_statement(text("SELECT * FROM ownership_note WHERE id = 900001"))
        note = (await session.exec(entities)).scalar_one()
        assert (await session.exec(text("SELECT name FROM ownership_note WHERE id = 900001"))).scalar_one() == note.name
        assert (await session.exec(func.count(NOTE.id))).scalar_one() == 2
        note.name = f"note {MINE}"
        await session.flush()
        await (await session.connection()).execute(select(NOTES))


RESERVED: dict[str, Act] = {
    "update": exec_(update(Member).where(MEMBER.id == ME).values(is_trusted=True)),
    "update by an expression": exec_(update(Member).where(MEMBER.id == ME).values(is_trusted=~MEMBER.is_trusted)),
    "update by id": exec_(update(Member), [{"id": ME, "is_trusted": True, "version": 1}]),
    "insert": exec_(insert(Member), [new(id=9, is_trusted=True)]),
    "insert values": exec_(insert(Member).values(**new(id=9, is_trusted=True))),
    "insert literal values": exec_(insert(Member).values(**new(id=9), is_trusted=literal(True))),
}


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("way", RESERVED)
async def test_statements_of_members_set_no_reserved_field(database: Database, way: str, restricted: bool) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=restricted) as session:
        with pytest.raises(Problem, match="Only superusers may set is_trusted"):
            await RESERVED[way](session)
        assert not any(await session.exec(select(MEMBER.is_trusted)))


async def test_statements_that_set_no_reserved_field_pass(database: Database) -> None:
    rename = exec_(update(Member).where(MEMBER.id == OTHER).values(name="x"))
    await written_by(database, Principal(ME), rename, restricted=False)
    await written_by(database, Principal(ME), exec_(insert(Member), [new(id=9, is_trusted=False)]), restricted=False)
    promote = exec_(update(Member).values(is_trusted=True))
    await written_by(database, UNRESTRICTED, promote, restricted=True)


async def test_an_insert_whose_reserved_field_is_computed_is_refused(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write() as session:
        with pytest.raises(OwnershipError, match="plain values"):
            await session.exec(insert(Member).values(**new(id=9), is_trusted=true()))


def promote_expired(session: GuardedSession) -> None:
    member = mine(session, Member)
    session.expire(member)
    set_and_flush(session, member, is_trusted=True, name="x")


def promote_unloaded(session: GuardedSession) -> None:
    member = attach(session, Member(id=ME, version=1))
    set_and_flush(session, member, is_trusted=True, name="x")


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize(
    "act",
    [
        sync(lambda s: set_and_flush(s, mine(s, Member), is_trusted=True, name="x")),
        sync(promote_unloaded),
        sync(promote_expired),
    ],
)
async def test_flushes_of_members_keep_reserved_fields(database: Database, act: Act, restricted: bool) -> None:
    await written_by(database, Principal(ME), act, restricted=restricted)
    async with database.read() as session:
        member = await session.get(Member, ME)
        assert member
        assert (member.name, member.is_trusted) == ("x", False)


PLANS: dict[str, Callable[[Plan, Account], None]] = {
    "relationship": lambda plan, account: setattr(account, "plan", plan),
    "relationship of the other": lambda plan, account: plan.accounts.append(account),
    "relationship without another": lambda plan, account: plan.others.append(account),
}


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("way", PLANS)
async def test_relationships_of_members_set_no_reserved_foreign_key(
    database: Database, way: str, restricted: bool
) -> None:
    async def give(session: Any) -> None:
        plan = await session.get(Plan, FREE_LABEL, options=[selectinload(Plan.accounts), selectinload(Plan.others)])  # type: ignore[arg-type]
        stored, new = await session.get(Account, MINE), Account(id=THEIRS, owner_id=ME)
        session.add(new)
        for account in (stored, new):
            account.name = "x"
            PLANS[way](plan, account)

    first = [Plan(id=MINE), Plan(id=FREE_LABEL), Account(id=MINE, owner_id=ME, plan_id=MINE)]
    await written_by(database, UNRESTRICTED, lambda session: session.insert_all(first), restricted=False)
    await written_by(database, Principal(ME), give, restricted=restricted)
    async with database.read() as session:
        accounts = await session.exec(select(Account).order_by(col(Account.id)))
        assert [(account.name, account.plan_id) for account in accounts] == [("x", MINE), ("x", None)]


async def test_a_changed_reserved_relationship_is_loaded_again(database: Database) -> None:
    first = [Plan(id=MINE), Plan(id=FREE_LABEL), Account(id=MINE, owner_id=ME, plan_id=MINE)]
    await written_by(database, UNRESTRICTED, lambda session: session.insert_all(first), restricted=False)
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write() as session:
        account = found(await session.get(Account, MINE))
        account.plan = await session.get(Plan, FREE_LABEL)
        await session.flush()
        await session.refresh(account, ["plan"])
        assert account.plan is not None
        assert account.plan.id == account.plan_id == MINE


async def test_new_rows_of_members_have_the_first_values_of_reserved_fields(database: Database) -> None:
    act = adding(lambda: Member(id=9, is_trusted=True))
    await written_by(database, Principal(ME), act, restricted=False)
    async with database.read() as session:
        assert list(await session.exec(select(MEMBER.is_trusted).where(MEMBER.id == 9))) == [False]


def test_a_new_row_can_be_checked_without_a_session() -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    member = Member(id=ME, is_trusted=True)
    assert check_new_row(member, is_restricted=True)
    assert not member.is_trusted
    assert check_new_row(Note(owner_id=OTHER), is_restricted=False)
    assert not check_new_row(Line(note_id=MINE), is_restricted=True)
    for row in (Note(owner_id=OTHER), Note(), Tag()):
        with pytest.raises(Problem):
            check_new_row(row, is_restricted=True)


async def check_writes(session: Any, *rows: object) -> None:
    await session.run_sync(lambda sync_session: sync_session.check_writes(*rows))


async def test_rows_can_be_checked_without_a_flush(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=True) as session:
        await check_writes(session, Note(owner_id=ME), Word(line_id=MINE), Log())
        for row in (Note(owner_id=OTHER), Note(), Word(line_id=THEIRS), Word(), Tag()):
            with pytest.raises(Problem):
                await check_writes(session, row)
        CURRENT_PRINCIPAL.set(UNRESTRICTED)
        await check_writes(session, Tag())


async def test_rows_of_a_member_who_is_not_restricted_are_checked_for_reserved_fields(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    member = Member(id=9, is_trusted=True)
    async with database.write() as session:
        await check_writes(session, member, Note(owner_id=OTHER))
    assert not member.is_trusted


async def test_a_row_of_a_table_without_owners_is_read_and_not_changed(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=True, restricted_reads=True) as session:
        tag = found(await session.get(Tag, MINE))
        assert found(await session.get(Tag, MINE, with_for_update=False)).name == "tag"
        with pytest.raises(Problem):
            await session.delete(tag)
        tag.name = "x"
        with pytest.raises(Problem):
            await session.flush()


async def test_a_cycle_of_rows_of_two_members_is_found(database: Database) -> None:
    branches = [Branch(id=THEIRS, owner_id=OTHER), Branch(id=MINE, owner_id=ME, parent_id=THEIRS)]
    for branch in branches:
        await written_by(database, UNRESTRICTED, adding(lambda row=branch: row), restricted=False)  # type: ignore[misc]
    CURRENT_PRINCIPAL.set(Principal(OTHER))
    async with database.write(restricted=True, restricted_reads=True) as session:
        branch = found(await session.get(Branch, THEIRS))
        await refuse_cycle(session, branch)
        branch.parent_id = MINE
        with pytest.raises(Problem, match="would make it its own ancestor"):
            await refuse_cycle(session, branch)


async def test_a_change_does_not_flush_where_nothing_else_would(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=True) as session:
        with session.no_autoflush:
            session.add(Note(owner_id=OTHER))
            await session.exec(delete(Word).where(WORD.id == MINE))
        with pytest.raises(Problem):
            await session.flush()


@pytest.mark.parametrize(
    ("entity", "field", "sentence"),
    [
        (Note, "note", "which is not a column"),
        (Chapter, "parent_id", "leads back to Chapter"),
        (Chapter, "code", "must lead to an id"),
        (Tagging, "tag_id", "Tagging.belongs_to leads to ownership_tag.id, whose rows have no owner"),
        (Chapter, "log_id", "Chapter.belongs_to leads to ownership_log.id, whose rows have no owner"),
        (Label, "id", "Member and Label both have `belongs_to"),
        (
            Folder,
            "id",
            "Folder is the table of users, whose ids must be integers, as `Principal.id` and `Owner` are",
        ),
    ],
)
def test_belongs_to_must_lead_to_an_owner(
    entity: Any, field: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entity, "belongs_to", field)
    owned_parent.cache_clear()
    assert sentence in "".join(ownership_errors())
    owned_parent.cache_clear()


def test_the_owner_of_a_query_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect(Note), "local_table", select(NOTES).subquery())
    owned_parent.cache_clear()
    assert "which is not a column of its table" in "".join(ownership_errors())
    owned_parent.cache_clear()


def test_only_the_table_of_users_has_owners() -> None:
    assert owned_parent(Line) is Note
    assert owned_parent(Note) is None
    assert owned_parent(Member) is None


class Body(SQLModel):
    owner_id: Owner = Field(default_factory=Absent)


def test_the_owner_is_the_principal_unless_another_is_named() -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    assert Body().owner_id == ME
    assert Body(owner_id=OTHER).owner_id == OTHER
    CURRENT_PRINCIPAL.set(Principal())
    with pytest.raises(ValidationError, match="Field required"):
        Body()


def test_no_post_update_changes_an_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect(Line).relationships["note"], "post_update", True)
    assert "post_update" in "".join(ownership_errors())


def test_no_post_update_changes_a_reserved_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect(Account).relationships["plan"], "post_update", True)
    assert "Account.plan may not have post_update: it changes reserved fields" in "".join(ownership_errors())


def test_no_onupdate_changes_an_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NOTES.c.owner_id, "onupdate", ColumnDefault(OTHER))
    assert "Note.owner_id may not have onupdate" in "".join(ownership_errors())


def test_reserved_fields_are_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Member, "reserved", {"notes": ()})
    assert "Member.reserved names 'notes'" in "".join(ownership_errors())


def test_a_table_that_is_no_entity_declares_no_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    says = "Log.belongs_to has no effect, because Log is not an `Entity`: write `class Log(Entity, table=True)`."
    assert says not in ownership_errors()
    monkeypatch.setattr(Log, "belongs_to", "note_id", raising=False)
    assert says in ownership_errors()


def test_a_service_does_not_start_if_nobody_could_tell_an_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Note, "belongs_to", "name_of_nothing")
    owned_parent.cache_clear()
    with pytest.raises(ValueError, match="'name_of_nothing', which is not a column of its table"):
        create_service(create_runtime(Database(make_url("sqlite+aiosqlite://")))).check_routes()
    owned_parent.cache_clear()


def test_the_cache_of_compiled_statements_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.auth.restricted_reads.MAX_STATEMENTS", 2)
    cache = CompiledStatements(OWN_ROWS)
    statement = select(Note).execution_options(**{OWN_ROWS: True})
    for key in range(3):
        cache[key] = statement.compile()
    cache["unmarked"] = select(Note).compile()
    assert list(cache) == [2]


async def test_an_update_returns_what_it_changed(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(restricted=True) as session:
        statement = update(Note).where(NOTE.id == MINE).values(name="x").returning(Note)
        assert [note.name for note in await session.scalars(statement)] == ["x"]


async def test_deferred_columns_are_loaded_in_a_restricted_session(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.read(restricted=True) as session:
        note = (await session.exec(select(Note).options(defer(NOTE.name)))).one()
        assert await session.run_sync(lambda _: note.name) == f"note {MINE}"


async def test_the_option_of_a_statement_does_not_lift_the_restriction(database: Database) -> None:
    statement = select(NOTE.name).execution_options(**{OWN_ROWS: False})
    assert await seen(database, ME, statement) == [[f"note {MINE}"]]


BINDS: list[Callable[[Any], Any]] = [
    lambda session: session.get_bind(),
    lambda session: session.bind,
    lambda session: session.get_bind(Note),
    lambda session: session.get_bind(mapper=inspect(Note)),
    lambda session: session.get_bind(clause=select(Note)),
    lambda session: session.begin_nested().connection(Note),
]


@pytest.mark.parametrize("restrictions", [{"restricted": True}, {"restricted_reads": True}])
async def test_the_engine_of_a_restricted_session_has_no_connections(
    database: Database, restrictions: dict[str, bool]
) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.write(**restrictions) as session:
        for engine in (session.bind, session.get_async_bind()):
            assert engine.dialect.name == session.get_bind().dialect.name
            with pytest.raises(OwnershipError, match=r"use session\.exec or session\.execute"):
                await engine.connect().start()
        for bind_of in BINDS:
            with pytest.raises(OwnershipError, match=r"use session\.exec or session\.execute"):
                await session.run_sync(lambda sync, bind=bind_of: Session(bind(sync)).scalars(select(Note)))  # type: ignore[misc]
        assert await session.get(Note, MINE) is not None


async def test_the_engine_of_another_session_has_connections(database: Database) -> None:
    CURRENT_PRINCIPAL.set(Principal(ME))
    async with database.read() as session, session.bind.connect() as connection:
        assert (await connection.execute(select(func.count()).select_from(Note))).scalar() == 2
    async with database.write() as other, database.writer.connect() as connection:
        other.bind = connection
        assert other.bind is connection
        assert await other.scalar(select(func.count()).select_from(Note)) == 2
