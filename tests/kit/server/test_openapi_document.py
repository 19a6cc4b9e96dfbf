"""The OpenAPI document is one, whoever asks for it, and whenever."""

from typing import Self

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi
from pydantic import model_validator

from kit import Read, Service, allowing
from tests.kit import library
from tests.kit.server.small import asking, small_service


def library_service() -> Service:
    return small_service(*library.ROUTERS, public=library.PUBLIC, auth=True)


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


async def test_a_document_of_ones_own_is_served() -> None:
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

    assert service.openapi()["paths"]["/late"]["get"]["security"] == [{"Token": []}]


async def test_operations_of_nested_routers_are_described_as_those_of_others() -> None:
    outer = APIRouter(prefix="/v1")
    for router in library.ROUTERS:
        outer.include_router(router)
    nested = small_service(outer, public={f"{name.replace(' ', ' /v1')}" for name in library.PUBLIC})
    document, plain = nested.openapi(), library_service().openapi()
    for method, operation in plain["paths"]["/books/"].items():
        nested_operation = document["paths"]["/v1/books/"][method]
        assert nested_operation["parameters"] == operation["parameters"]
        assert nested_operation["responses"].keys() == operation["responses"].keys()


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
