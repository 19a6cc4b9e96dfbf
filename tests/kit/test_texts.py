"""Text of requests is in the form NFC, wherever it comes from, and passwords are those of RFC 8265."""

from typing import Annotated, Any
from urllib.parse import quote

import pytest
from fastapi import APIRouter, Form, UploadFile
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from kit import Body, Database, Name, Password, Session, allowing
from kit.auth.passwords import prepared
from tests.engines import Client
from tests.kit.probes import BOOK, new_book, new_shelf, read
from tests.kit.service import FAST_PATH, client_of, create_runtime, create_service

NFD, NFC = "cafe\u0301 \u1112\u1161\u11ab \u212b", "caf\u00e9 \ud55c \u00c5"
MARKS = "e" + "\u0301" * 31
router = APIRouter(prefix="/texts", route_class=allowing())


class Said(BaseModel):
    text: str
    others: list[str] | None = None


class Fields(BaseModel):
    text: str


class Saying(Body):
    text: Name


@router.get("/of-path/{text}", response_model=Said)
async def say_path(text: str) -> Any:
    return {"text": text}


@router.get("/of-query", response_model=Said)
async def say_query(text: str, others: str = "") -> Any:
    return {"text": text, "others": [others]}


@router.post("/of-body", response_model=Said)
async def say_body(body: Saying, _: Session) -> Any:
    return {"text": body.text}


@router.post("/of-form", response_model=Said)
async def say_form(text: Annotated[str, Form()], others: Annotated[list[str], Form()], _: Session) -> Any:
    return {"text": text, "others": others}


@router.post("/of-fields", response_model=Said)
async def say_fields(fields: Annotated[Fields, Form()], _: Session) -> Any:
    return {"text": fields.text}


@router.post("/of-upload", response_model=Said)
async def say_upload(file: UploadFile, _: Session) -> Any:
    return {"text": file.filename, "others": [(await file.read()).decode()]}


@pytest.fixture(params=[False, FAST_PATH] if FAST_PATH else [False])
async def texts(request: pytest.FixtureRequest, database: Database) -> Any:
    """Provide a client of the routes of this module, on both paths."""
    async with client_of(create_service(create_runtime(database), router, fast=request.param)) as client:
        yield client


@pytest.mark.untraced
async def test_text_is_composed_wherever_it_comes_from(texts: Client) -> None:
    path = await read(texts, f"/texts/of-path/{quote(NFD)}")
    query = await read(texts, "/texts/of-query", text=NFD, others=f"a&b=c+d%{NFD}")
    body = (await texts.post("/texts/of-body", json={"text": NFD})).json()
    fields = (await texts.post("/texts/of-fields", data={"text": NFD})).json()
    for one in (path, query, body, fields):
        assert one["text"] == NFC
    assert query["others"] == [f"a&b=c+d%{NFC}"]
    for files in (None, {"unused": b""}):
        form = await texts.post("/texts/of-form", data={"text": NFD, "others": [NFD, "x"]}, files=files)
        assert form.json() == {"text": NFC, "others": [NFC, "x"]}
    upload = await texts.post("/texts/of-upload", files={"file": (f"{NFD}.txt", NFD.encode())})
    assert upload.json() == {"text": f"{NFC}.txt", "others": [NFD]}


async def test_too_many_marks_are_refused_wherever_they_come_from(texts: Client) -> None:
    answers = {
        "path": await texts.get(f"/texts/of-path/{quote(MARKS)}"),
        "query": await texts.get("/texts/of-query", params={"text": MARKS}),
        "body": await texts.post("/texts/of-form", data={"text": MARKS, "others": "x"}),
    }
    answers |= {"name": await texts.get("/texts/of-query", params={MARKS: "x"})}
    for place, answer in answers.items():
        assert answer.status_code == 422, place
        assert answer.json()["errors"][0]["in"] == ("query" if place == "name" else place)


@pytest.mark.parametrize(
    "path", ["/texts/of-path/a%ff", "/texts/of-query?text=%ff", "/texts/of-query?text=a&%ED%A0%80=1"]
)
async def test_percent_encoded_bytes_that_are_not_utf_8_are_refused(texts: Client, path: str) -> None:
    answer = await texts.get(path)
    (told,) = answer.json()["errors"]
    assert (answer.status_code, told["detail"]) == (422, "Text should be in UTF-8.")
    assert told["in"] == ("path" if "path" in path else "query")


async def test_the_replacement_character_is_text_like_any_other(texts: Client) -> None:
    for path in ("/texts/of-path/%EF%BF%BD", "/texts/of-query?text=%EF%BF%BD"):
        assert (await read(texts, path))["text"] == "\ufffd"


@pytest.mark.untraced
async def test_a_form_with_a_key_has_one_effect_in_both_forms(texts: Client) -> None:
    for text, replayed in ((NFD, None), (NFC, "true")):
        answer = await texts.post("/texts/of-fields", data={"text": text}, headers={"Idempotency-Key": "one"})
        assert (answer.json()["text"], answer.headers.get("Idempotency-Replayed")) == (NFC, replayed)


async def test_unique_names_are_equal_in_both_forms(client: Client) -> None:
    shelf = await new_shelf(client, name=NFC)
    again = await client.post("/shelves/", json={"name": NFD, "room": "x"})
    assert (again.status_code, again.json()["type"]) == (409, "urn:problem:taken")
    for parameter in ("q", "name", "name__in", "name__startswith", "name__contains"):
        assert [found["id"] for found in await read(client, "/shelves/", **{parameter: NFD})] == [shelf["id"]]


@pytest.mark.untraced
async def test_text_of_a_client_in_a_path_is_escaped_in_references(texts: Client) -> None:
    await new_book(texts)
    await new_book(texts)
    for path in ("/books%2F", "/books%0d%0aX-Evil:1"):
        answer = await texts.post(path, json=BOOK)
        assert "\n" not in str(answer.headers)
        assert answer.status_code in (201, 404)


@pytest.mark.parametrize("password", ["x" * 8 + "\t", "x" * 8 + "\x7f", "x" * 8 + "\x85", "\n" * 8])
def test_a_password_has_no_control_characters(password: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[SecretStr](Password).validate_python(password)


def test_a_password_is_the_same_in_every_form() -> None:
    assert prepared("caf\u00e9\u3000\u00a0x") == prepared("cafe\u0301  x") == "caf\u00e9  x"
    assert prepared("Case And \uff37idth stay") == "Case And \uff37idth stay"
