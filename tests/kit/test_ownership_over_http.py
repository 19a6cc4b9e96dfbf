"""Ownership over HTTP: members find and change only their own rows; other rows are absent."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from sqlmodel import col, func, select

from kit import Body, Database, Id, ReadSession, Service, Session, Updated, Who, allowing, change_many, found
from tests.engines import url_for
from tests.kit import bookshop
from tests.kit.bookshop import Member, Note, NoteCreate, NoteRead, NoteUpdate
from tests.kit.probes import read
from tests.kit.service import clear, create_runtime, create_service, join
from tests.people import Person

private = APIRouter(
    prefix="/private-notes",
    route_class=allowing(read=Who.OWNERS, create=Who.OWNERS, bulk=Who.OWNERS, change=Who.OWNERS),
)
private.get("/", response_model=list[NoteRead])(bookshop.list_notes)
private.post("/", response_model=NoteRead, status_code=201)(bookshop.create_note)
private.post("/bulk", response_model=list[NoteRead], status_code=201)(bookshop.bulk_create_notes)


class NotesUpdate(Body):
    ids: list[int]
    changes: NoteUpdate


@private.patch("/bulk", response_model=Updated)
async def change_notes(many: NotesUpdate, session: Session) -> Updated:
    return await change_many(session, Note, many.ids, many.changes.model_dump(exclude_unset=True))


@private.get("/authors")
async def list_authors(session: ReadSession) -> dict[str, Any]:
    """Read notes in a condition, in a subquery, and in a separate query."""
    condition = select(Member.username).where(col(Member.id).in_(select(Note.owner_id))).order_by(Member.username)
    largest = select(func.max(Note.text))
    names, text = await session.gather(lambda own: own.scalars(condition), lambda own: own.scalar(largest))
    return {"names": list(names), "text": text}


@private.get("/stream", response_model=None)
async def stream_notes(session: ReadSession) -> StreamingResponse:
    async def texts() -> AsyncIterator[str]:
        async for text in await session.stream_scalars(select(Note.text)):
            yield text

    return StreamingResponse(texts())


private.get("/{note_id}", response_model=NoteRead)(bookshop.read_note)
private.patch("/{note_id}", response_model=NoteRead)(bookshop.update_note)


@private.put("/{note_id}", response_model=NoteRead)
async def replace_note(note_id: Id, new: NoteCreate, session: Session) -> Note:
    note = found(await session.get(Note, note_id))
    note.sqlmodel_update(new.model_dump())
    return note


private.delete("/{note_id}", status_code=204)(bookshop.delete_note)


@pytest.fixture(scope="module")
async def service(library_url: str) -> AsyncIterator[Service]:
    service = create_service(create_runtime(Database(url_for(library_url)), auth=True), private)
    async with service.router.lifespan_context(service):
        yield service


@pytest.fixture
async def people(service: Service) -> tuple[Person, Person, Person]:
    """Provide two members with a note each, and a superuser."""
    await clear(service.runtime.database)
    ann, bob, superuser = await join(service), await join(service), await join(service, is_superuser=True)
    for person, text in ((ann, "of Ann"), (bob, "of Bob")):
        answer = await person.client.post("/private-notes/", json={"text": text, "fine": "1.00"})
        assert answer.status_code == 201, answer.text
    return ann, bob, superuser


People = Annotated[tuple[Person, Person, Person], "Ann, Bob and the superuser"]
QUERIES = ["", "?q=of", "?count=true", "?sort=-text&limit=1", "?include=owner", "?fields=text", "?text__ne=x"]


@pytest.mark.untraced
@pytest.mark.parametrize("query", QUERIES)
async def test_a_list_contains_the_rows_of_the_caller(people: People, query: str) -> None:
    for person, text in zip(people, ("of Ann", "of Bob"), strict=False):
        answer = await person.client.get(f"/private-notes/{query}")
        assert [note["text"] for note in answer.json()] == [text]
        assert answer.headers.get("x-total-count", "1") == "1"
        assert "link" not in answer.headers
    assert len(await read(people[2].client, "/private-notes/")) == 2


async def test_pages_contain_the_rows_of_the_caller(people: People) -> None:
    ann = people[0].client
    await ann.post("/private-notes/bulk", json=[{"text": f"{number}", "fine": "0.00"} for number in range(4)])
    seen: list[str] = []
    path: str | None = "/private-notes/?limit=2&sort=text&include=owner"
    while path:
        answer = await ann.get(path)
        seen += [note["text"] for note in answer.json()]
        path = answer.links["next"]["url"] if "next" in answer.links else None
    assert seen == ["0", "1", "2", "3", "of Ann"]


async def test_rows_of_others_are_absent(people: People) -> None:
    ann, bob, superuser = (person.client for person in people)
    (note,) = await read(bob, "/private-notes/")
    path = f"/private-notes/{note['id']}"
    assert [(await client.get(path)).status_code for client in (ann, bob, superuser)] == [404, 200, 200]
    assert (await ann.get(f"{path}?include=owner")).status_code == 404
    assert (await ann.patch(path, json={"text": "x"})).status_code == 404
    assert (await ann.delete(path)).status_code == 404
    changed = await ann.patch("/private-notes/bulk", json={"ids": [note["id"]], "changes": {"text": "x"}})
    assert changed.status_code == 404
    assert (await read(bob, path))["text"] == "of Bob"


async def test_a_caller_changes_their_rows(people: People) -> None:
    ann = people[0].client
    (note,) = await read(ann, "/private-notes/")
    path = f"/private-notes/{note['id']}"
    assert (await ann.patch(path, json={"text": "y"})).json()["text"] == "y"
    changed = await ann.patch("/private-notes/bulk", json={"ids": [note["id"]], "changes": {"text": "x"}})
    assert changed.json() == {"updated": 1}
    assert (await ann.delete(path)).status_code == 204


async def test_notes_cannot_be_given_away_or_taken(people: People) -> None:
    ann, bob, _ = people
    (note,) = await read(ann.client, "/private-notes/")
    given = {"text": "x", "fine": "0.00", "owner_id": bob.id}
    for method, path, body in (
        ("POST", "", given),
        ("POST", "bulk", [given]),
        ("PATCH", f"{note['id']}", {"owner_id": bob.id}),
        ("PATCH", "bulk", {"ids": [note["id"]], "changes": {"owner_id": bob.id}}),
    ):
        assert (await ann.client.request(method, f"/private-notes/{path}", json=body)).status_code == 403


async def test_a_superuser_who_replaces_a_row_without_its_owner_becomes_the_owner(people: People) -> None:
    ann, _, superuser = people
    (note,) = await read(ann.client, "/private-notes/")
    path = f"/private-notes/{note['id']}"
    kept = await superuser.client.put(path, json={"text": "x", "fine": "0.00", "owner_id": ann.id})
    taken = await superuser.client.put(path, json={"text": "x", "fine": "0.00"})
    assert (kept.json()["owner_id"], taken.json()["owner_id"]) == (ann.id, superuser.id)


async def test_conditions_streams_and_concurrent_queries_find_the_rows_of_the_caller(people: People) -> None:
    for person, text in zip(people, ("of Ann", "of Bob"), strict=False):
        assert await read(person.client, "/private-notes/authors") == {"names": [person.username], "text": text}
        assert (await person.client.get("/private-notes/stream")).text == text
