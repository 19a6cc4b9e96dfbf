"""Fast pages: they are equal to plain pages, or are not used."""

import asyncio
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar

import pydantic
import pytest
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    computed_field,
    field_serializer,
    field_validator,
)
from sqlalchemy import Text, TypeDecorator, type_coerce
from sqlalchemy import select as plain_select
from sqlalchemy.orm import aliased, defaultload, defer, joinedload, load_only, selectinload, with_loader_criteria
from sqlmodel import SQLModel, col, select

from kit.auth.ownership import RESTRICTED_READS
from kit.database.databases import Database
from kit.fast.embedding import relation_of
from kit.fast.pages import FastPage, fast_page
from kit.fast.plain_selects import unified
from kit.fast.projection import _as_list, has_stored_types
from kit.fast.read_variants import shows_stored_values
from kit.fast.rendering import PlainColumns, visible_values
from kit.fast.selects import CompiledSelect
from kit.http.encoding import to_json
from kit.http.principals import Principal
from kit.models.reads import Read
from kit.query.list_query import ListQuery
from kit.query.pages import plain_page
from kit.query.related import load_lists
from tests.kit.fast.notes import (
    Colour,
    FastAnsweringQuery,
    FastAnsweringRead,
    FastLabel,
    FastLabelQuery,
    FastLabelRead,
    FastNote,
    FastNoteBrief,
    FastNoteQuery,
    FastNoteRead,
    FastReply,
    FastReplyQuery,
    FastReplyRead,
    asked,
    note,
    store,
)
from tests.kit.probes import acting_as

QUERIES = [
    (FastNoteQuery, ""),
    (FastNoteQuery, "limit=2&count=true"),
    (FastNoteQuery, "sort=-stars,text&limit=2"),
    (FastNoteQuery, "sort=stars&limit=3&offset=1"),
    (FastNoteQuery, "stars__gte=2&text__in=a,c,d&colour=red"),
    (FastNoteQuery, "fields=text,price&sort=-id"),
    (FastNoteQuery, "fields=text,secret"),
    (FastNoteQuery, "include=replies&fields=id"),
    (FastNoteQuery, "text=nothing&count=true"),
    (FastReplyQuery, "include=note"),
    (FastLabelQuery, ""),
    (FastAnsweringQuery, ""),
    (FastAnsweringQuery, "fields=text,note"),
]
MEMBER = Principal(7)


def rendered(page: Any, read: Any) -> bytes:
    """Return the JSON of a page, by FastAPI."""
    return bytes(TypeAdapter(list[read]).dump_json(page.rows))


@pytest.fixture
async def filled(plain: Database) -> Database:
    when = datetime(2026, 1, 2, 3, 4, 5, 0, UTC)
    notes = [note("a", stars=3, price=Decimal("0.10"), owner_id=7), note("b", created_at=when), note("c", stars=1)]
    await store(plain, *notes, note('d\u2028"', stars=3, colour=Colour.BLUE, owner_id=8), FastLabel(text="x"))
    await store(plain, *(FastReply(text=f"{n}", note_id=notes[n % 2].id) for n in range(5)), FastReply(text="alone"))
    return plain


async def both(plain: Database, database: Database, kind: type[ListQuery], text: str, statement: Any = None) -> Any:
    """Return the plain and the fast page of a query, and those after its cursor."""
    if statement is None:
        nested = [selectinload(FastReply.note).load_only(FastNote.text, FastNote.secret)]  # type: ignore[arg-type]
        statement = select(kind.model).options(*(nested if kind is FastAnsweringQuery else ()))
    async with plain.read() as through, database.read() as direct_sql:
        expected = await plain_page(through, asked(kind, text), statement)
        got = await fast_page(direct_sql, asked(kind, text), statement)
        if got is not None:
            assert (got.cursor, got.total) == (expected.cursor, expected.total)
            assert got.body == rendered(expected, kind.read)
            assert rendered(got, kind.read) == rendered(expected, kind.read)
            assert got.rows == expected.rows
    return expected, got


@pytest.mark.parametrize("principal", [None, MEMBER, Principal()], ids=["superuser", "member", "anonymous"])
@pytest.mark.parametrize(("kind", "text"), QUERIES)
async def test_a_fast_page_equals_a_plain_page(
    filled: Database, database: Database, kind: type[ListQuery], text: str, principal: Principal | None
) -> None:
    with acting_as(principal or Principal(1, frozenset({"superuser"}))):
        _, got = await both(filled, database, kind, text)
    assert isinstance(got, FastPage)


async def test_a_query_whose_own_conditions_are_more_than_conditions_is_read_by_the_orm(
    filled: Database, database: Database
) -> None:
    class DistinctQuery(FastNoteQuery):
        def narrowed(self, statement: Any) -> Any:
            return super().narrowed(statement).distinct()

    expected, got = await both(filled, database, DistinctQuery, "")
    assert len(expected.rows) == 4
    assert got is None


async def test_cursors_of_fast_and_plain_pages_are_equal(filled: Database, database: Database) -> None:
    text, seen = "sort=-stars,text&limit=1", 0
    cursor = ""
    while True:
        expected, got = await both(filled, database, FastNoteQuery, text + cursor)
        seen += len(got.shared.visible)
        if expected.cursor is None:
            break
        cursor = f"&cursor={expected.cursor}"
    assert seen == 4


async def test_rows_that_the_handler_accessed_are_rendered_again(filled: Database, database: Database) -> None:
    async with database.read() as session:
        page = await fast_page(session, asked(FastNoteQuery), select(FastNote))
    assert page is not None
    assert page.body is not None
    assert page.rows[0].text == "a"  # type: ignore[attr-defined]
    assert page.body is None
    assert not hasattr(page, "nonsense")


async def test_identical_concurrent_pages_are_read_once(
    filled: Database, database: Database, direct_sql: list[str]
) -> None:
    async def get(text: str, principal: Principal) -> Any:
        with acting_as(principal):
            async with database.read() as session:
                page = await fast_page(session, asked(FastNoteQuery, text), select(FastNote))
                return page and page.shared

    database.read().shortcuts.coalescer.is_shared = True  # type: ignore[attr-defined]
    superuser, other_superuser = Principal(1, frozenset({"superuser"})), Principal(2, frozenset({"superuser"}))
    members = [MEMBER, MEMBER, Principal(8)]
    got = await asyncio.gather(
        *(get("", who) for who in (superuser, other_superuser, *members)),
        get("fields=id", superuser),
        get("limit=1", superuser),
    )
    assert got[0] is got[1]
    assert got[2] is got[3]
    assert len({id(shared) for shared in got}) == 5
    assert len(direct_sql) == 5


async def test_without_coalescing_each_page_has_its_own_read(
    filled: Database, unshared: Database, direct_sql: list[str]
) -> None:
    async with unshared.read() as session:
        query = asked(FastNoteQuery)
        one, other = await asyncio.gather(*(fast_page(session, query, select(FastNote)) for _ in range(2)))
    assert one is not None
    assert other is not None
    assert one.body == other.body
    assert len(direct_sql) == 2


async def test_a_statement_is_compiled_once_for_all_values(
    filled: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await both(filled, database, FastNoteQuery, "stars__gte=2&sort=-text&limit=1&offset=1")
    monkeypatch.setattr(CompiledSelect, "__init__", lambda *_: pytest.fail("compiled again"))
    await both(filled, database, FastNoteQuery, "stars__gte=1&sort=-text&limit=2&offset=2")


class Shouted(TypeDecorator[str]):
    """A type whose statements SQLAlchemy cannot cache."""

    impl = Text
    cache_ok = False


NARROWED: list[Callable[[], Any]] = [
    lambda: select(FastNote).where(col(FastNote.stars) > 1),
    lambda: select(FastNote).where(col(FastNote.text).in_(["a", "b", "d"])),
    lambda: select(FastNote).options(selectinload(FastNote.replies)),  # type: ignore[arg-type]
    lambda: plain_select(FastNote).options(load_only(FastNote.text)),  # type: ignore[arg-type]
    lambda: select(FastNote).options(defer(FastNote.text)),  # type: ignore[arg-type]
    lambda: select(FastNote).join(FastReply, col(FastReply.id) == FastNote.id).where(FastReply.text == "1"),
]
STRANGE: list[Callable[[], Any]] = [
    lambda: select(FastNote).limit(1),
    lambda: select(FastNote).order_by(col(FastNote.text)),
    lambda: select(FastNote).distinct(),
    lambda: select(FastNote).options(joinedload(FastNote.replies)),  # type: ignore[arg-type]
    lambda: select(FastNote).options(selectinload(FastNote.replies.and_(FastReply.text == "1"))),  # type: ignore
    lambda: select(FastNote).options(with_loader_criteria(FastNote, col(FastNote.stars) > 1)),
    lambda: select(FastNote).options(defaultload(FastNote.replies).load_only(FastReply.text)),  # type: ignore[arg-type]
    lambda: select(FastNote).params(x=1),
    lambda: select(FastNote).execution_options(x=1),
    lambda: select(aliased(FastNote)),
    lambda: select(FastNote, FastNote.id),
    lambda: select(FastNote).where(type_coerce(col(FastNote.text), Shouted()) != "x"),
]


@pytest.mark.parametrize("statement", NARROWED)
async def test_a_statement_may_have_conditions_and_joins(filled: Database, database: Database, statement: Any) -> None:
    _, got = await both(filled, database, FastNoteQuery, "count=true", statement())
    assert got is not None


async def test_rows_without_related_rows_embed_nothing(filled: Database, database: Database) -> None:
    alone = select(FastReply).where(FastReply.text == "alone")
    _, got = await both(filled, database, FastReplyQuery, "include=note", alone)
    assert got is not None
    assert b'"note":null' in got.shared.body


@pytest.mark.parametrize("statement", STRANGE)
async def test_a_statement_that_does_more_is_left_to_the_plain_page(database: Database, statement: Any) -> None:
    async with database.read() as session:
        assert await fast_page(session, asked(FastNoteQuery), statement()) is None


async def test_other_sessions_are_left_to_the_plain_page(database: Database, plain: Database) -> None:
    statement = select(FastNote)
    with acting_as(MEMBER):
        restricted = database.read()
        restricted.info[RESTRICTED_READS] = True
        assert await fast_page(restricted, asked(FastNoteQuery), statement) is None
    async with database.read() as begun, plain.read() as other:
        await begun.connection()
        assert await fast_page(begun, asked(FastNoteQuery), statement) is None
        assert await fast_page(other, asked(FastNoteQuery), statement) is None


async def test_a_query_that_overrides_methods_is_left_to_the_plain_page(database: Database) -> None:
    class ShowingQuery(FastNoteQuery):
        def to_read(self, row: Any) -> Read:
            return super().to_read(row)

    async with database.read() as session:
        assert await fast_page(session, asked(ShowingQuery), select(FastNote)) is None


async def test_a_nested_row_is_loaded_whether_the_statement_does_it_or_not(
    filled: Database, database: Database
) -> None:
    _, got = await both(filled, database, FastAnsweringQuery, "", select(FastReply))
    assert got is not None


async def test_a_nested_row_is_shown_as_by_its_variant(filled: Database) -> None:
    with acting_as(MEMBER):
        async with filled.read() as session:
            rows = (await session.exec(select(FastReply).options(selectinload(FastReply.note)))).all()  # type: ignore[arg-type]  # an attribute of the class
            assert len(rows) == 6
            for row in rows:
                expected = FastAnsweringRead.of(row).model_dump_json().encode()
                assert to_json(visible_values(row, FastAnsweringRead, None)) == expected


class ValidatedRead(FastReplyRead):
    @field_validator("text")
    @classmethod
    def shout(cls, text: str) -> str:
        return text.upper()


class SerializedRead(FastReplyRead):
    @field_serializer("text")
    def shout(self, text: str) -> str:
        return text.upper()


class ComputedRead(FastReplyRead):
    @computed_field  # type: ignore[prop-decorator]
    @property
    def loud(self) -> str:
        return self.text.upper()


class AliasedRead(Read):
    text: str = Field(serialization_alias="body")


class ExcludedRead(Read):
    text: str = Field(exclude=True)


class AnnotatedRead(Read):
    text: Annotated[str, AfterValidator(str.upper)]


class NestedAnnotationRead(Read):
    text: Annotated[str, PlainSerializer(str.upper)] | None


class RetypedRead(Read):
    text: int


class ForeignRead(Read):
    nothing: str


class ConfiguredRead(Read):
    model_config: ClassVar[Any] = ConfigDict(str_to_upper=True)
    text: str


class OverriddenRead(FastReplyRead):
    @classmethod
    def of(cls, row: object) -> Any:
        return super().of(row)


class InitialisedRead(FastReplyRead):
    _times: int = pydantic.PrivateAttr(default=0)

    def model_post_init(self, _: Any) -> None:
        self.text = self.text.upper()


class PrivateRead(FastReplyRead):
    _times: int = pydantic.PrivateAttr(default=0)


OTHERS = [
    ValidatedRead,
    SerializedRead,
    ComputedRead,
    AliasedRead,
    ExcludedRead,
    AnnotatedRead,
    NestedAnnotationRead,
    RetypedRead,
    ForeignRead,
    ConfiguredRead,
    OverriddenRead,
    InitialisedRead,
]


@pytest.mark.parametrize("read", OTHERS, ids=lambda read: read.__name__)
def test_a_variant_that_shows_more_than_columns_does_not_qualify(read: Any) -> None:
    assert not shows_stored_values(read, FastReply)


class ComputedNoteBrief(FastNoteBrief):
    @computed_field  # type: ignore[prop-decorator]
    @property
    def loud(self) -> str:
        return self.text.upper()


class NestingRead(FastReplyRead):
    note: ComputedNoteBrief | None


async def test_a_query_variant_that_shows_more_than_columns_is_left_to_the_plain_page(database: Database) -> None:
    class ComputedQuery(FastReplyQuery):
        read = ComputedRead

    async with database.read() as session:
        assert await fast_page(session, asked(ComputedQuery), select(FastReply)) is None


def test_a_variant_does_not_qualify_if_an_embedded_variant_does_not() -> None:
    assert shows_stored_values(FastAnsweringRead, FastReply)
    assert not shows_stored_values(NestingRead, FastReply)


def test_a_variant_of_columns_qualifies() -> None:
    for read, entity in ((FastNoteRead, FastNote), (FastReplyRead, FastReply), (FastLabelRead, FastLabel)):
        assert shows_stored_values(read, entity)
    assert shows_stored_values(PrivateRead, FastReply)
    assert not shows_stored_values(FastNoteRead, SQLModel)


def test_a_relationship_that_compares_two_columns_has_a_relation() -> None:
    found = relation_of(FastNote, "replies", FastReplyRead)
    assert found is not None
    assert (found.local_field, found.remote_field, found.is_list) == ("id", "note_id", True)


@pytest.mark.parametrize("principal", [Principal(1, frozenset({"superuser"})), MEMBER, Principal(8)])
@pytest.mark.parametrize("text", ["", "fields=text,secret", "include=replies", "fields=id&include=replies"])
async def test_a_single_row_is_rendered_as_by_its_variant(filled: Database, text: str, principal: Principal) -> None:
    query = asked(FastNoteQuery, text)
    with acting_as(principal):
        async with filled.read() as session:
            rows = (await session.exec(select(FastNote).options(*query.loading))).all()
            assert len(rows) == 4
            await load_lists(session, query, rows)
            for row in rows:
                assert (
                    to_json(visible_values(row, FastNoteRead, query)) == query.to_read(row).model_dump_json().encode()
                )


@pytest.mark.parametrize(("field", "value"), [("stars", True), ("colour", "red"), ("text", None)])
async def test_a_value_of_another_type_is_shown_as_by_the_variant(field: str, value: Any) -> None:
    row = note("a", id=1)
    setattr(row, field, value)
    with warnings.catch_warnings(action="ignore"):  # of pydantic
        expected = FastNoteRead.of(row).model_dump(mode="json")
        assert visible_values(row, FastNoteRead, None) == expected


async def test_a_value_of_another_type_is_shown_as_by_a_variant_without_private_fields() -> None:
    row = FastReply(id=1, text="a")
    row.text = 5  # type: ignore[assignment]  # as a handler might
    with warnings.catch_warnings(action="ignore"):  # of pydantic
        expected = FastReplyRead.of(row).model_dump(mode="json")
        assert visible_values(row, FastReplyRead, None) == expected


def test_an_embedded_list_of_a_row_is_shown_with_its_link_to_the_rest() -> None:
    row, query = note("a"), asked(FastNoteQuery, "include=replies")
    vars(row).update(replies=[], replies_next="/replies/?cursor=x")
    shown = query.to_read(row).model_dump()
    assert (shown["replies"], shown["replies_next"]) == ([], "/replies/?cursor=x")


def test_the_types_of_related_rows_are_compared_too() -> None:
    row = note("a", id=1, version=1)
    vars(row)["replies"] = [FastReply(text="b")]
    assert not has_stored_types(row, FastNoteRead, {"replies": FastReplyRead})
    assert [_as_list(related) for related in (None, row, [row])] == [(), (row,), [row]]


def test_selects_of_all_rows_are_one_object() -> None:
    assert unified(select(FastNote), FastNote) is unified(select(FastNote), FastNote)
    note = select(FastNote)
    narrowed, joined = note.where(col(FastNote.id) > 1), note.join(FastReply)
    others = [narrowed, joined, note.select_from(FastNote), note.options(selectinload(FastNote.replies))]  # type: ignore[arg-type]
    assert all(unified(other, FastNote) is other for other in [*others, select(aliased(FastNote))])


def test_rows_of_other_columns_or_types_are_not_rendered_from_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = PlainColumns([("id", (int,)), ("text", (str, type(None)))])
    monkeypatch.setattr("kit.fast.rendering.MAX_SEEN", 1)
    assert columns.values_of({"id": 1}) is None
    assert columns.values_of({"id": "1", "text": "a"}) is None
    rows = [{"id": 1, "text": text} for text in ("a", None, "b")]
    assert [columns.values_of(row) for row in rows] == rows
    assert columns.seen == {(int, str)}
