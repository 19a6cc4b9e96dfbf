"""The OpenAPI document for generators: complete, without dangling references, and the same wherever it is made."""

import gzip
import json
import runpy
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from fastapi import APIRouter, Depends, Query
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from starlette.responses import PlainTextResponse

from kit import Changes, IfMatch, ListQuery, Read, Service, Session, Who, allowing
from kit.models.json_values import CLOCK, DURATION
from kit.openapi import __main__ as command
from kit.openapi.examples import example_of
from kit.openapi.values import NONE
from tests.kit import bookshop
from tests.kit.server.small import asking, small_service

pytestmark = pytest.mark.no_fast_path

Json = dict[str, Any]
COMMAND = Path(command.__file__)


class Colour(StrEnum):
    """A colour."""

    red = "red"
    blue = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    colour: Colour


class Dog(BaseModel):
    kind: Literal["dog"]
    size: Literal["small", "large"]
    puppies: list["Dog"] = []


class Owner(BaseModel):
    pet: Cat | Dog = Field(discriminator="kind")
    others: dict[str, Cat] = {}


class Search(BaseModel):
    colour: Colour | None = None
    colours: list[Colour] = []
    order: Literal["up", "down"] = "up"


def bookshop_service() -> Service:
    return small_service(*bookshop.ROUTERS, public=bookshop.PUBLIC)


def service_with(*routers: APIRouter, **options: Any) -> Service:
    return small_service(*routers, **options)


def pets(**options: Any) -> APIRouter:
    router = APIRouter(prefix="/pets", tags=["pets"], **options)
    callbacks = APIRouter()

    @callbacks.post("{$callback_url}/sold")
    async def sold(owner: Owner) -> None: ...

    @router.get("/")
    async def list_pets(search: Annotated[Search, Query()]) -> list[Owner]:
        return []

    @router.post("/", callbacks=callbacks.routes)
    async def create_pet(owner: Owner, colour: Colour, callback_url: str) -> Owner:
        return owner

    return router


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (part for key, part in node.items() if key == "$ref" and isinstance(part, str))
        yield from node.get("discriminator", {}).get("mapping", {}).values()
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from references(part)


def objects(node: Any) -> Iterator[Json]:
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from objects(part)


def dangling(document: Json) -> list[str]:
    found = []
    for reference in references(document):
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node.get(step) if isinstance(node, dict) else None
        found += [] if node is not None else [reference]
    return found


@pytest.mark.filterwarnings("ignore:Duplicate Operation ID")  # FastAPI's, of the callback
@pytest.mark.parametrize("route_class", [allowing(), None], ids=["resource", "plain"])
def test_no_reference_dangles_whatever_the_routes_take(route_class: Any) -> None:
    options = {} if route_class is None else {"route_class": route_class}
    outer = APIRouter(prefix="/outer")
    outer.include_router(pets(**options))
    service = service_with(pets(**options), outer)
    service.include_router(pets(**options), prefix="/again")

    @service.webhooks.post("adopted")
    async def adopted(owner: Owner) -> None: ...

    document = service.openapi()
    assert len(list(references(document))) > 20
    ids = [part["operationId"] for part in objects(document) if "operationId" in part]
    assert len(ids) == len(set(ids)) == 12
    assert dangling(document) == []
    assert dangling(get_openapi(title="Mine", version="1", routes=service.routes)) == []


def test_no_reference_dangles_in_the_document_of_a_bookshop() -> None:
    assert dangling(bookshop_service().openapi()) == []


def test_fastapis_function_makes_the_same_document() -> None:
    service = bookshop_service()
    whole, made = service.openapi(), get_openapi(title="Mine", version="2", routes=service.routes)
    assert made["info"] == {"title": "Mine", "version": "2"}
    assert {**made, "info": None} == {**whole, "info": None}


def test_the_document_of_another_application_stays_as_it_is() -> None:
    router = APIRouter()
    router.add_api_route("/a", lambda: 1, methods=["GET"])
    document = get_openapi(title="Other", version="1", routes=router.routes)
    assert document.keys() == {"openapi", "info", "paths"}


def test_a_definition_in_a_schema_of_ones_own_becomes_a_component() -> None:
    router = APIRouter()
    own = {"requestBody": {"content": {"application/json": {"schema": Owner.model_json_schema()}}}}
    router.add_api_route("/own", lambda: 1, methods=["POST"], openapi_extra=own)
    document = service_with(router, pets()).openapi()
    assert dangling(document) == []
    assert "$defs" not in json.dumps(document)


def test_two_definitions_with_one_name_are_two_components() -> None:
    router = APIRouter()
    for path, kind in (("/a", "string"), ("/b", "integer")):
        schema = {"$ref": "#/$defs/Part", "$defs": {"Part": {"type": kind}}}
        own = {"requestBody": {"content": {"application/json": {"schema": schema}}}}
        router.add_api_route(path, lambda: 1, methods=["POST"], openapi_extra=own)
    schemas = service_with(router).openapi()["components"]["schemas"]
    assert {schemas["Part"]["type"], schemas["Part2"]["type"]} == {"string", "integer"}


def test_a_dangling_reference_is_refused_in_a_sentence() -> None:
    router = APIRouter()
    own = {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Lost"}}}}}
    router.add_api_route("/lost", lambda: 1, methods=["POST"], openapi_extra=own)
    with pytest.raises(ValueError, match="refers to #/components/schemas/Lost in POST /lost, but there is no such"):
        service_with(router).openapi()


def test_enumerations_have_names() -> None:
    document = service_with(pets()).openapi()
    schemas = document["components"]["schemas"]
    assert {"Colour", "Order", "DogSize"} <= schemas.keys()
    parameters = {part["name"]: part for part in document["paths"]["/pets/"]["get"]["parameters"]}
    assert parameters["order"]["schema"] == {"$ref": "#/components/schemas/Order", "default": "up"}
    assert parameters["colours"]["schema"]["items"] == {"$ref": "#/components/schemas/Colour"}


class Leaf(BaseModel):
    """A model that differs in bodies and responses, and has a tuple."""

    leaves: list["Leaf"] = []
    place: tuple[int, str] = (1, "a")


def exotic() -> APIRouter:
    router = APIRouter()

    @router.post("/leaves")
    async def post_leaf(leaf: Leaf) -> Leaf:
        return leaf

    @router.get("/choice")
    async def choose(level: Literal[1, 2]) -> Literal["left", "right"]:
        return "left"

    @router.get("/stream")
    async def stream() -> AsyncIterator[Leaf]:
        yield Leaf()

    return router


def test_enumerations_of_integers_and_of_responses_have_names() -> None:
    schemas = service_with(exotic()).openapi()["components"]["schemas"]
    assert schemas["Level"] == {"type": "integer", "enum": [1, 2]}
    assert schemas["ChooseChoiceGetResponse"] == {"type": "string", "enum": ["left", "right"]}


def test_no_two_types_of_a_client_have_one_title() -> None:
    schemas = service_with(exotic()).openapi()["components"]["schemas"]
    assert {"Leaf-Input", "Leaf-Output"} <= schemas.keys()
    assert "title" not in schemas["Leaf-Input"].keys() | schemas["Leaf-Output"].keys()


def test_a_tuple_is_an_array_with_items() -> None:
    place = service_with(exotic()).openapi()["components"]["schemas"]["Leaf-Input"]["properties"]["place"]
    assert (place["items"], place["minItems"], place["maxItems"]) == ({}, 2, 2)


@pytest.mark.parametrize(("version", "members"), [("3.1.0", {"schema", "x-item-schema"}), ("3.2.0", {"itemSchema"})])
def test_a_stream_is_described_in_the_words_of_the_version(version: str, members: set[str]) -> None:
    service = service_with(exotic())
    service.openapi_version = version
    content = service.openapi()["paths"]["/stream"]["get"]["responses"]["200"]["content"]["application/jsonl"]
    assert content.keys() == members
    assert {"$ref": "#/components/schemas/Leaf-Output"} in content.values()


def test_operations_without_a_tag_have_one_that_is_described() -> None:
    document = service_with(exotic()).openapi()
    assert document["paths"]["/stream"]["get"]["tags"] == ["default"]
    assert {"name": "default", "description": "Operations without a tag."} in document["tags"]


class Problem(BaseModel):
    """A model of a resource that is called as that of the kit."""

    sum: str


def test_a_model_may_be_called_as_one_of_the_kit() -> None:
    router = APIRouter(route_class=allowing())
    router.add_api_route("/sums", lambda: 1, methods=["GET"], response_model=Problem)
    document = service_with(router).openapi()
    answers = document["paths"]["/sums"]["get"]["responses"]
    own = answers["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert document["components"]["schemas"][own]["required"] == ["sum"]
    failed = document["components"]["responses"]["Error401"]["content"]["application/problem+json"]["schema"]
    assert "request_id" in document["components"]["schemas"][failed["$ref"].rpartition("/")[2]]["properties"]
    assert dangling(document) == []


def test_fields_of_an_answer_that_may_be_left_out_are_not_required() -> None:
    schemas = bookshop_service().openapi()["components"]["schemas"]
    assert "required" not in schemas["BookReadPartial"]
    assert set(schemas["BookRead"]["required"]) < schemas["BookReadPartial"]["properties"].keys()
    assert schemas["BookReadPartial"]["properties"]["shelf"]["anyOf"][0] == {"$ref": "#/components/schemas/ShelfRead"}


def test_money_in_an_answer_is_a_text_and_in_a_body_a_number_too() -> None:
    schemas = bookshop_service().openapi()["components"]["schemas"]
    assert schemas["NoteRead"]["properties"]["fine"]["type"] == "string"
    assert {part["type"] for part in schemas["NoteCreate"]["properties"]["fine"]["anyOf"]} == {"string", "number"}


def test_a_private_field_is_not_required_in_an_answer() -> None:
    assert "email" not in bookshop_service().openapi()["components"]["schemas"]["MemberRead"]["required"]


def test_an_integer_says_how_many_bits_it_has() -> None:
    schemas = bookshop_service().openapi()["components"]["schemas"]
    assert schemas["BookRead"]["properties"]["id"]["format"] == "int64"
    assert str(2**63 - 1) not in json.dumps(schemas)


def test_the_answer_to_a_bulk_that_skips_has_a_schema_of_its_own() -> None:
    document = bookshop_service().openapi()
    answer = document["paths"]["/notes/bulk"]["post"]["responses"]["207"]["content"]["application/json"]["schema"]
    outcome = document["components"]["schemas"][answer["$ref"].rpartition("/")[2]]
    assert outcome["properties"]["created"]["items"] == {"$ref": "#/components/schemas/NoteRead"}
    assert outcome["required"] == ["created", "failed"]


def test_public_operations_say_that_they_need_no_token_and_others_which() -> None:
    document = bookshop_service().openapi()
    assert document["paths"]["/members/"]["post"]["security"] == []
    assert "security" not in document["paths"]["/members/"]["get"]
    assert document["security"] == [{"Bearer": []}]
    assert document["components"]["securitySchemes"]["Bearer"]["scheme"] == "bearer"


def test_a_service_with_a_login_says_where_it_is() -> None:
    router = APIRouter(prefix="/auth", route_class=allowing(create=Who.MEMBERS))
    router.add_api_route("/token", lambda: None, methods=["POST"])
    document = small_service(router).openapi()
    assert document["security"] == [{"Token": []}, {"Bearer": []}]
    assert document["components"]["securitySchemes"]["Token"]["flows"]["password"]["tokenUrl"] == "auth/token"


def test_sort_is_a_text_whose_pattern_names_the_fields() -> None:
    parameters = bookshop_service().openapi()["paths"]["/members/"]["get"]["parameters"]
    schema = next(part["schema"] for part in parameters if part.get("name") == "sort")
    assert schema["type"] == "string"
    assert schema["pattern"] == "^-?(id|username|created_at)(,-?(id|username|created_at)){0,5}$"


def test_every_operation_and_every_tag_is_described() -> None:
    document = service_with(pets(), *bookshop.ROUTERS, public=bookshop.PUBLIC).openapi()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["description"].strip() for operation in operations)
    assert {tag for operation in operations for tag in operation["tags"]} == {tag["name"] for tag in document["tags"]}
    assert all(tag["description"] for tag in document["tags"])


def test_a_body_has_an_example_that_its_schema_allows() -> None:
    document = service_with(pets()).openapi()
    example = document["paths"]["/pets/"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert Owner.model_validate(example).pet.kind == "cat"


async def test_the_document_has_an_etag_and_the_same_text_in_every_process() -> None:
    tags = []
    for service in (bookshop_service(), bookshop_service()):
        async with asking(service) as client:
            answer = await client.get("/openapi.json")
            tags.append(answer.headers["ETag"])
            assert (await client.get("/openapi.json", headers={"If-None-Match": tags[-1]})).status_code == 304
    assert tags[0] == tags[1]


def test_the_document_is_small() -> None:
    text = json.dumps(bookshop_service().openapi(), separators=(",", ":")).encode()
    assert len(text) < 110_000
    assert len(gzip.compress(text)) < 11_000


def test_a_command_writes_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "app", bookshop_service(), raising=False)
    said = command.write(__name__, str(tmp_path / "openapi.json"))
    assert json.loads((tmp_path / "openapi.json").read_text()) == bookshop_service().openapi()
    assert said.endswith("openapi.json has 16 paths.")


@pytest.mark.parametrize("file", ["", "none/openapi.json"])
def test_a_command_says_that_it_cannot_write_the_file(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "app", bookshop_service(), raising=False)
    with pytest.raises(ValueError, match=r"cannot be written: .*\. Write another FILE=\."):
        command.write(__name__, str(tmp_path / file))


def test_a_command_says_why_it_writes_no_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    router = APIRouter(tags=["a"])
    router.add_api_route("/a", lambda: 1, methods=["GET"], responses={404: {"$ref": "#/components/responses/Lost"}})
    monkeypatch.setattr(sys.modules[__name__], "app", service_with(router), raising=False)
    monkeypatch.setattr(sys, "argv", ["kit.openapi", __name__, str(tmp_path / "openapi.json")])
    with pytest.raises(SystemExit, match="refers to #/components/responses/Lost"):
        runpy.run_path(str(COMMAND), run_name="__main__")


@pytest.mark.parametrize(("one", "other"), [("read-a", "read_a"), ("readA", "read_a")])
def test_operation_ids_that_differ_only_in_their_marks_are_refused(one: str, other: str) -> None:
    router = APIRouter()
    router.add_api_route("/a", lambda: 1, operation_id=one)
    router.add_api_route("/b", lambda: 1, operation_id=other)
    with pytest.raises(ValueError, match="have one operation id"):
        service_with(router).openapi()


def test_an_operation_id_with_a_blank_is_refused() -> None:
    router = APIRouter()
    router.add_api_route("/a", lambda: 1, operation_id="read a")
    with pytest.raises(ValueError, match="a space in the operation id 'read a': write 'read-a'"):
        service_with(router).openapi()


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "array", "items": {"type": "integer", "minimum": 3}, "minItems": 2}, [3, 3]),
        ({"type": "array", "items": {"type": "string", "format": "unheard-of"}}, []),
        ({"type": "array", "items": {"type": "string", "format": "unheard-of"}, "minItems": 1}, NONE),
        ({"type": "string", "format": "uuid"}, "01a1fdf0-1527-72cc-b92d-ba16a2649900"),
        ({"type": "string", "pattern": "^[A-Z]+-[0-9]$", "maxLength": 6}, "TEXT-1"),
        ({"type": "string", "pattern": "^(?<a>x)$"}, NONE),
        (
            {"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}}, "required": ["a"]},
            {"a": True},
        ),
        ({"type": "number", "maximum": -2}, -2),
        ({"anyOf": [{"const": 7}, {"type": "null"}]}, 7),
        ({}, "text"),
        ({"type": "null"}, NONE),
        ({"type": "integer", "exclusiveMinimum": 5, "multipleOf": 7}, 7),
        ({"type": "integer", "minimum": -100, "maximum": -8, "multipleOf": 9}, -99),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "integer", "minimum": 3, "maximum": 2}, NONE),
        ({"type": "string", "minLength": 150, "maxLength": 200}, ("text" * 150)[:150]),
        ({"type": "string", "pattern": "^[A-Z0-9-]+$", "allOf": [{"pattern": "[A-Z]{3}-"}]}, "TEXT-1"),
        ({"type": "string", "format": "email", "maxLength": 10}, "n@b.de"),
        ({"type": "string", "format": "uri", "minLength": 30}, "https://example.com/aaaaaaaaaa"),
        ({"type": "string", "format": "date", "formatMinimum": "2030-01-01"}, "2030-01-01"),
        ({"type": "string", "format": "date", "formatExclusiveMaximum": "2020-01-01"}, "2019-12-31"),
        ({"type": "string", "pattern": f"^{CLOCK}$", "formatExclusiveMaximum": "03:00:00"}, "02:59:59"),
        ({"type": "string", "pattern": f"^{DURATION}$", "formatMinimum": "P5D"}, "P5D"),
        ({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2}, {"key1": 1, "key2": 1}),
        ({"type": "object", "minProperties": 1}, {"key1": "text"}),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"const": "a"}]}, [1, "a"]),
        ({"type": "array", "prefixItems": [{"type": "null"}]}, NONE),
    ],
)
def test_an_example_is_made_up_where_it_is_known_to_be_valid(schema: Json, example: Any) -> None:
    assert example_of(schema, {}) == example


class ShelfTreeRead(Read):
    """A read variant that contains itself."""

    inner: list["ShelfTreeRead"]


def test_a_variant_that_contains_itself_can_be_embedded() -> None:
    class TreeQuery(ListQuery):
        model, read = bookshop.Book, bookshop.BookRead
        includes = {"shelf": "ShelfTreeRead"}  # noqa: RUF012

    router = APIRouter(route_class=allowing())

    @router.get("/trees", response_model=list[bookshop.BookRead])
    async def list_trees(query: Annotated[TreeQuery, Depends()]) -> list[Any]:
        return []

    document = service_with(router).openapi()
    assert dangling(document) == []
    assert document["components"]["schemas"]["ShelfTreeRead"]["properties"]["inner"]["type"] == "array"


def test_a_query_variant_changes_no_answer_that_has_not_its_fields() -> None:
    router = APIRouter(route_class=allowing())
    query = Depends(bookshop.BookQuery.of_one)
    router.add_api_route("/text", lambda: "a", response_model=bookshop.BookRead, response_class=PlainTextResponse,
                         dependencies=[query])  # fmt: skip
    router.add_api_route("/count", lambda: 1, methods=["POST"], dependencies=[query])
    document = service_with(router).openapi()
    assert "BookReadPartial" not in document["components"]["schemas"]


def test_a_parameter_of_ones_own_may_have_a_content_in_place_of_a_schema() -> None:
    router = APIRouter()
    parameter = {"name": "at", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}}
    router.add_api_route("/at", lambda: 1, openapi_extra={"parameters": [parameter]})
    assert service_with(router).openapi()["paths"]["/at"]["get"]["parameters"] == [parameter]


async def test_the_event_loop_goes_on_while_the_document_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    service, threads = bookshop_service(), set[str]()
    made = service.new_document

    def noted() -> Any:
        threads.add(threading.current_thread().name)
        return made()

    monkeypatch.setattr(service, "new_document", noted)
    async with asking(service) as client:
        assert (await client.get("/openapi.json")).status_code == 200
    assert threads
    assert threading.main_thread().name not in threads


class PetChanges(Changes):
    name: str | None = None


class Pets(BaseModel):
    ids: list[int]


class Shown(BaseModel):
    kind: str = "cat"


def changing_router() -> APIRouter:
    router = APIRouter(prefix="/pets", tags=["pets"], route_class=allowing())

    @router.patch("/bulk")
    async def change_many_pets(pets: Pets, session: Session, limit: int = 1) -> None: ...

    @router.patch("/{pet_id}")
    async def change_pet(pet_id: int, changes: PetChanges, matching: IfMatch) -> Shown:
        return Shown()

    @router.put("/{pet_id}")
    async def replace_pet(pet_id: int, new: Shown) -> None: ...

    @router.patch("/{pet_id}/name")
    async def rename_pet(pet_id: int, changes: PetChanges, session: Session) -> None: ...

    not_stored = {"Cache-Control": {"schema": {"type": "string", "const": "no-store"}}}

    @router.post("/keys", responses={200: {"headers": not_stored}})
    async def create_key() -> Shown:
        return Shown()

    return router


def names_of(document: Json, path: str, method: str) -> set[str]:
    parameters = document["paths"][path][method].get("parameters", [])
    return {part.get("name", part.get("$ref", "").rpartition("/")[2]) for part in parameters}


def test_merge_patch_is_documented_for_the_changes_of_a_row_if_generators_understand_it() -> None:
    paths = service_with(changing_router()).openapi()["paths"]
    documented = {
        path: list(part["patch"]["requestBody"]["content"]) for path, part in paths.items() if "patch" in part
    }
    assert documented == {
        "/pets/bulk": ["application/json"],  # it is no merge patch of a resource (RFC 7396)
        "/pets/{pet_id}": ["application/json", "application/merge-patch+json"],
        "/pets/{pet_id}/name": ["application/json"],  # without an optional parameter
    }


def test_preconditions_are_documented_where_they_have_an_effect() -> None:
    document = service_with(changing_router()).openapi()
    assert names_of(document, "/pets/{pet_id}", "patch") == {"pet_id", "If-Match", "If-None-Match"}
    assert names_of(document, "/pets/{pet_id}", "put") == {"pet_id"}


def test_a_post_whose_response_is_not_stored_takes_no_key() -> None:
    document = service_with(changing_router()).openapi()
    operation = document["paths"]["/pets/keys"]["post"]
    assert "parameters" not in operation
    assert "Idempotency-Replayed" not in operation["responses"]["200"]["headers"]
    assert {"409", "412"}.isdisjoint(operation["responses"])


def test_only_bodies_have_defaults() -> None:
    router = APIRouter(prefix="/shown")
    router.add_api_route("/", lambda: Shown(), methods=["GET"], response_model=Shown)
    schemas = service_with(router, pets()).openapi()["components"]["schemas"]
    assert "default" not in schemas["Shown"]["properties"]["kind"]
    assert "default" in schemas["Owner-Input" if "Owner-Input" in schemas else "Owner"]["properties"]["others"]
    assert not [part for part in schemas["Problem"]["properties"].values() if "default" in part]


def test_the_headers_and_members_of_responses_that_may_be_sent_are_documented() -> None:
    document = bookshop_service().openapi()
    listed = document["paths"]["/books/"]["get"]["responses"]["200"]["headers"]
    assert listed.keys() >= {"X-Total-Count-Estimate", "RateLimit", "RateLimit-Policy"}
    schemas = document["components"]["schemas"]
    assert schemas["Problem"]["properties"].keys() >= {"trace_id", "checks", "missing"}
    assert schemas["Ready"]["required"] == ["status", "checks"]
    assert schemas["Alive"]["required"] == ["status"]
