"""There is one OpenAPI document, however and whenever it is requested."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Self

import pydantic
import pytest
from fastapi import APIRouter, Path, Query
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import AfterValidator, FutureDate, PastDate, PastDatetime, model_validator
from sqlmodel import Field

from kit import Body, Id, Money, Name, Read, Service, Slug, Who, allowing
from tests.kit import bookshop
from tests.kit.server.small import asking, small_service

pytestmark = pytest.mark.no_fast_path


def library_service() -> Service:
    return small_service(*bookshop.ROUTERS, public=bookshop.PUBLIC, auth=True)


async def test_the_document_is_the_same_before_and_after_the_first_request() -> None:
    service, other = library_service(), library_service()
    before = service.openapi()
    async with asking(service) as client, asking(other) as late:
        assert (await client.get("/openapi.json")).json() == (await late.get("/openapi.json")).json()
    assert service.openapi() is before
    assert other.openapi() == before


async def test_fastapis_own_document_can_be_made_and_does_not_replace_it() -> None:
    service = library_service()
    before = service.openapi()
    plain = get_openapi(title="Mine", version="2", routes=service.routes)
    assert (plain["info"]["title"], plain["paths"].keys()) == ("Mine", before["paths"].keys())
    assert service.openapi() is before


async def test_a_custom_document_is_served() -> None:
    service = library_service()

    def mine() -> dict[str, object]:
        return get_openapi(title="Mine", version="2", routes=service.routes)

    service.openapi = mine  # type: ignore[method-assign]  # as FastAPI's documentation says
    async with asking(service) as client:
        assert (await client.get("/openapi.json")).json()["info"]["title"] == "Mine"


async def test_a_route_that_is_added_later_is_in_the_document() -> None:
    service = library_service()
    assert "/late" not in service.openapi()["paths"]

    @service.get("/late")
    async def late() -> str:
        return "late"

    assert "security" not in service.openapi()["paths"]["/late"]["get"]  # as in the document


async def test_operations_of_nested_routers_are_described_as_those_of_others() -> None:
    outer = APIRouter(prefix="/v1")
    for router in bookshop.ROUTERS:
        outer.include_router(router)
    nested = small_service(outer, public={f"{name.replace(' ', ' /v1')}" for name in bookshop.PUBLIC})
    document, plain = nested.openapi(), library_service().openapi()
    assert plain["paths"]["/books/"].keys() == {"get", "post"}
    for method, operation in plain["paths"]["/books/"].items():
        nested_operation = document["paths"]["/v1/books/"][method]
        assert nested_operation["parameters"] == operation["parameters"]
        assert nested_operation["responses"].keys() == operation["responses"].keys()


async def test_a_route_that_is_added_after_a_document_and_a_request_is_in_the_document() -> None:
    router, late = APIRouter(), APIRouter()
    service = small_service(router)
    async with asking(service) as client:
        before = (await client.get("/openapi.json")).json()
        for place, prefix in ((router, ""), (late, "/late")):
            place.add_api_route("/added", answer_late, methods=["GET"])
            if place is late:
                service.include_router(late, prefix=prefix)
            await client.get("/health/live")
            assert f"{prefix}/added" in (await client.get("/openapi.json")).json()["paths"]
    assert "/added" not in before["paths"]


async def answer_late() -> str:
    return "late"


async def test_a_document_can_be_changed_and_is_generated_again_if_removed() -> None:
    service = library_service()
    service.openapi()["info"]["x-logo"] = "logo.png"
    async with asking(service) as client:
        assert (await client.get("/openapi.json")).json()["info"]["x-logo"] == "logo.png"
        service.openapi_schema = None
        assert "x-logo" not in (await client.get("/openapi.json")).json()["info"]


async def test_a_custom_document_may_extend_that_of_the_service() -> None:
    service = library_service()

    def extended() -> dict[str, Any]:
        if service.openapi_schema:
            return service.openapi_schema
        document = Service.openapi(service)
        document["info"]["x-logo"] = "logo.png"
        service.openapi_schema = document
        return document

    service.openapi = extended  # type: ignore[method-assign]
    async with asking(service) as client:
        for _ in range(2):
            document = (await client.get("/openapi.json")).json()
            assert document["info"]["x-logo"] == "logo.png"
            assert "Problem" in document["components"]["schemas"]


async def test_all_document_options_of_fastapi_work() -> None:
    router = APIRouter(tags=["books"])
    router.add_api_route("/books", answer_late)
    service = small_service(
        router,
        summary="Books",
        version="7",
        terms_of_service="https://terms.example",
        contact={"name": "Ann"},
        license_info={"name": "MIT"},
        servers=[{"url": "https://books.example"}],
        openapi_tags=[{"name": "books", "description": "Ours."}, {"name": "more"}],
        openapi_external_docs={"url": "https://docs.example/"},
        swagger_ui_parameters={"defaultModelsExpandDepth": 3, "syntaxHighlight": False},
    )

    @service.webhooks.post("new-book")
    async def announce(title: str) -> None: ...

    document = service.openapi()
    info = document["info"]
    assert (info["summary"], info["version"], info["contact"]) == ("Books", "7", {"name": "Ann"})
    assert (info["termsOfService"], info["license"]) == ("https://terms.example", {"name": "MIT"})
    assert document["servers"] == [{"url": "https://books.example"}]
    assert document["externalDocs"] == {"url": "https://docs.example/"}
    assert document["tags"][:2] == [{"name": "books", "description": "Ours."}, {"name": "more"}]
    assert "new-book" in document["webhooks"]
    async with asking(service) as client:
        page = (await client.get("/docs")).text
    assert '"defaultModelsExpandDepth": 3' in page
    assert '"syntaxHighlight": false' in page
    assert '"tryItOutEnabled": true' in page


@pytest.mark.parametrize("option", ["openapi_url", "docs_url", "redoc_url", "redirect_slashes"])
def test_an_option_that_would_have_no_effect_is_refused(option: str) -> None:
    with pytest.raises(TypeError, match=f"kit.Service takes no `{option}`: "):
        small_service(**{option: None})  # type: ignore[arg-type]


@pytest.mark.parametrize("route_class", [APIRoute, allowing()])
async def test_each_method_of_a_route_has_an_operation_id_of_its_own(route_class: type[APIRoute]) -> None:
    router = APIRouter(tags=["things"], route_class=route_class)
    router.add_api_route("/named", answer_late, methods=["PUT", "PATCH"], operation_id="change")
    router.add_api_route("/things", answer_late, methods=["PUT", "DELETE", "PATCH"])
    router.add_api_route("/both", answer_late, methods=["GET", "HEAD"], name="both")
    paths = small_service(router).openapi()["paths"]
    ids = {f"{method} {path}": operation["operationId"] for path in paths for method, operation in paths[path].items()}
    assert len(set(ids.values())) == len(ids)
    assert (ids["put /named"], ids["patch /named"]) == ("change-put", "change-patch")
    expected = "answer_late_things_put" if route_class is APIRoute else "things-answer-late-put"
    assert ids["put /things"] == expected
    assert "security" not in paths["/both"]["head"].keys() | paths["/both"]["get"].keys()


class WideRead(Read):
    """A read variant with a validator, which wraps the schema of its fields."""

    width: int

    @model_validator(mode="after")
    def check(self) -> Self:
        return self


async def test_a_read_variant_with_a_validator_is_shown_with_its_fields() -> None:
    router = APIRouter(route_class=allowing())

    @router.get("/wide", response_model=WideRead)
    async def read_wide() -> dict[str, int]:
        return {"id": 1, "width": 2}

    service = small_service(router, auth=False)
    assert service.openapi()["components"]["schemas"]["WideRead"]["properties"].keys() == {"id", "width"}
    async with asking(service) as client:
        assert (await client.get("/wide")).json() == {"id": 1, "width": 2}


async def test_bounds_of_parameters_have_the_names_of_json_schema() -> None:
    router = APIRouter(route_class=allowing(read=Who.MEMBERS))

    @router.get("/bounded")
    async def bounded(
        price: Annotated[Money, Query(le=5)], step: Annotated[Id, Query(multiple_of=3)],
        slug: Annotated[Slug, Query(pattern="^a", min_length=2)],
        distance: Annotated[int, AfterValidator(abs), Query(le=9)],
    ) -> None: ...  # fmt: skip

    document = small_service(router).openapi()
    schemas = {part["name"]: part["schema"] for part in document["paths"]["/bounded"]["get"]["parameters"]}
    assert schemas["price"]["anyOf"][0] == {"type": "number", "minimum": 0, "maximum": 5}
    assert schemas["step"].items() >= {"type": "integer", "multipleOf": 3}.items()
    assert schemas["slug"]["type"] == "string"
    assert schemas["distance"]["maximum"] == 9
    assert not {"le", "ge", "multiple_of"} & {key for schema in schemas.values() for key in schema}


async def test_all_bounds_that_a_parameter_adds_to_a_type_of_the_kit_are_shown() -> None:
    router = APIRouter(route_class=allowing(read=Who.MEMBERS))

    @router.get("/bounded/{number}")
    async def bounded(
        number: Annotated[Id, Path(ge=3, le=9)], slug: Annotated[Slug, Query(max_length=9, pattern="a$", min_length=0)],
        step: Annotated[Id, Query(ge=5, lt=10, multiple_of=2)],
        price: Annotated[Money, Query(gt=Decimal("1.5"), le=5)],
        name: Annotated[Name, Query(max_length=9, min_length=2)],
    ) -> None: ...  # fmt: skip

    document = small_service(router).openapi()
    schemas = {part["name"]: part["schema"] for part in document["paths"]["/bounded/{number}"]["get"]["parameters"]}
    assert schemas["number"] == {"type": "integer", "minimum": 3, "maximum": 9}
    assert schemas["slug"].items() >= {"minLength": 1, "maxLength": 9, "allOf": [{"pattern": "a$"}]}.items()
    assert schemas["step"].items() >= {"minimum": 5, "exclusiveMaximum": 10, "multipleOf": 2}.items()
    assert schemas["price"]["anyOf"][0] == {"type": "number", "minimum": 0, "exclusiveMinimum": 1.5, "maximum": 5}
    assert schemas["name"].items() >= {"minLength": 2, "maxLength": 9}.items()


class Voyage(Body):
    """A body with times relative to now, in each case also with another bound."""

    leaves: FutureDate
    leaves_soon: FutureDate = pydantic.Field(le=date(2100, 1, 1))
    booked: PastDatetime
    paid: PastDatetime = pydantic.Field(gt=datetime(2020, 1, 1, tzinfo=UTC))
    seen: PastDate = pydantic.Field(ge=date(2001, 2, 1), lt=date(2010, 1, 1))


async def test_the_example_of_a_future_date_is_in_the_future_and_within_its_other_bounds() -> None:
    router = APIRouter(route_class=allowing(create=Who.MEMBERS))

    @router.post("/voyages/")
    async def create(voyage: Voyage) -> None: ...

    content = small_service(router).openapi()["paths"]["/voyages/"]["post"]["requestBody"]["content"]
    example = content["application/json"]["example"]
    assert (example["leaves"], example["leaves_soon"]) == ("2126-01-31", "2100-01-01")
    assert (example["booked"], example["paid"]) == ("2001-01-31T12:00:00Z", "2020-01-02T00:00:00Z")
    assert example["seen"] == "2001-02-01"
    Voyage.model_validate(example)


class Goose(bookshop.LibraryEntity, table=True):
    """An entity with an irregular plural."""

    __tablename__ = "kit_goose"
    name: str


class GooseRead(Read):
    name: str


async def test_an_operation_id_has_the_noun_once_whatever_its_plural() -> None:
    geese = APIRouter(prefix="/geese", tags=["geese"], route_class=allowing(read=Who.MEMBERS))
    meadow = APIRouter(prefix="/meadow", tags=["meadow"], route_class=allowing(read=Who.MEMBERS))

    async def create_goose() -> Goose:
        return Goose(name="Martin")

    async def delete_goose(goose_id: Id) -> None: ...

    geese.add_api_route("/", create_goose, methods=["POST"], response_model=GooseRead)
    geese.add_api_route("/{goose_id}", delete_goose, methods=["DELETE"])
    meadow.add_api_route("/geese", create_goose, methods=["POST"], response_model=GooseRead)
    paths = small_service(geese, meadow).openapi()["paths"]
    assert paths["/geese/"]["post"]["operationId"] == "geese-create"
    assert paths["/geese/{goose_id}"]["delete"]["operationId"] == "geese-delete"
    assert paths["/meadow/geese"]["post"]["operationId"] == "meadow-create-goose"


async def test_a_verb_in_the_name_of_a_resource_stays_in_its_operation_ids() -> None:
    router = APIRouter(prefix="/message-reads", tags=["message reads"], route_class=allowing(read=Who.MEMBERS))

    async def nothing() -> None: ...

    for name, method, path in (
        ("list_message_reads", "GET", "/"),
        ("bulk_create_message_reads", "POST", "/bulk"),
        ("read_message_read", "GET", "/{message_read_id}"),
        ("update_message_read", "PATCH", "/{message_read_id}"),
        ("mark_reads", "PUT", "/"),
    ):
        router.add_api_route(path, nothing, methods=[method], name=name)
    paths = small_service(router).openapi()["paths"]
    ids = {operation["operationId"] for path in paths.values() for operation in path.values()}
    expected = {"list", "bulk-create", "read", "update", "mark"}
    assert {f"message-reads-{verb}" for verb in expected} <= ids


class Meeting(Body):
    """A body of which no example can be made: no code matches."""

    code: str = Field(schema_extra={"pattern": "^a$b"})
    room: str = Field(schema_extra={"examples": ["A", "B"]})


async def test_a_body_of_which_no_example_can_be_made_has_none() -> None:
    router = APIRouter(prefix="/meetings", route_class=allowing(create=Who.MEMBERS, bulk=Who.MEMBERS))

    @router.post("/")
    async def create(meeting: Meeting) -> None: ...

    @router.post("/bulk")
    async def create_many(meetings: list[Meeting]) -> None: ...

    paths = small_service(router).openapi()["paths"]
    for path in ("/meetings/", "/meetings/bulk"):
        assert "example" not in paths[path]["post"]["requestBody"]["content"]["application/json"]
