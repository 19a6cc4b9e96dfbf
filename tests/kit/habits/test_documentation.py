"""The declarations of a route are in /openapi.json, on resource routes and on plain ones."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.routing import APIRoute
from pydantic import BaseModel

from kit import Session


class Message(BaseModel):
    text: str


async def document(client: Any) -> Any:
    answer = await client.get("/openapi.json")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_options_of_a_route_are_in_the_document(router: APIRouter, serve: Any) -> None:
    @router.get(
        "/a/{name}",
        operation_id="read-a",
        deprecated=True,
        summary="Read",
        description="Reads **a**.",
        response_description="What it is",
        responses={404: {"model": Message, "description": "Missing"}, 418: {"description": "Teapot"}},
        openapi_extra={"x-extra": 1},
        tags=["things"],
    )
    async def read(name: Annotated[str, Path(description="Its name", examples=["cup"])]) -> Message:
        return Message(text="a")

    operation = (await document(await serve(router)))["paths"]["/a/{name}"]["get"]
    assert operation["operationId"] == "read-a"
    assert operation["deprecated"] is True
    assert (operation["summary"], operation["description"]) == ("Read", "Reads **a**.")
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Message")
    assert {"404", "418"} <= operation["responses"].keys()
    assert operation["x-extra"] == 1
    assert operation["tags"] == ["things"]
    assert operation["parameters"][0]["description"] == "Its name"


async def test_a_route_that_needs_a_token_says_so(router: APIRouter, serve: Any) -> None:
    @router.get("/closed")
    async def closed() -> None: ...

    @router.get("/open")
    async def opened() -> None: ...

    client = await serve(router, auth=True, public=("GET /open", "GET /openapi.json"))
    paths = (await document(client))["paths"]
    assert {"401", "403"} <= paths["/closed"]["get"]["responses"].keys()
    assert paths["/open"]["get"]["security"] == []


async def test_declared_responses_are_documented_unchanged(router: APIRouter, serve: Any) -> None:
    @router.post("/a", responses={404: {"model": Message, "description": "Missing"}}, response_description="Made")
    async def write(session: Session) -> Message:
        return Message(text="a")

    schema = await document(await serve(router))
    responses = schema["paths"]["/a"]["post"]["responses"]
    assert responses["200"]["description"] == "Made"
    missing = schema["components"]["responses"][responses["404"]["$ref"].rpartition("/")[2]]
    assert missing["description"] == "Missing"
    assert missing["content"]["application/json"]["schema"]["$ref"].endswith("/Message")


async def test_a_route_may_be_left_out(router: APIRouter, serve: Any) -> None:
    @router.get("/hidden", include_in_schema=False)
    async def hidden() -> int:
        return 1

    client = await serve(router)
    assert (await client.get("/hidden")).json() == 1
    assert "/hidden" not in (await document(client))["paths"]


async def test_callbacks_are_in_the_document(router: APIRouter, serve: Any) -> None:
    callbacks = APIRouter()

    @callbacks.post("{$callback_url}/done")
    async def done(message: Message) -> None: ...

    @router.post("/a", callbacks=callbacks.routes)
    async def write(callback_url: str) -> None: ...

    operation = (await document(await serve(router)))["paths"]["/a"]["post"]
    assert "{$callback_url}/done" in operation["callbacks"]["done"]


async def test_routes_without_tags_are_in_the_document(router: APIRouter, serve: Any) -> None:
    @router.get("/a")
    async def read() -> int:
        return 1

    @router.post("/a", status_code=202)
    async def write() -> None: ...

    @router.get("/b")
    async def other() -> int:
        return 1

    paths = (await document(await serve(router)))["paths"]
    ids = [paths[path][method]["operationId"] for path, method in (("/a", "get"), ("/a", "post"), ("/b", "get"))]
    assert len(set(ids)) == 3
    assert "202" in paths["/a"]["post"]["responses"]


async def test_every_method_is_in_the_document(router: APIRouter, serve: Any) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        router.add_api_route("/a", lambda: 1, methods=[method], name=f"a_{method.lower()}")

    operations = (await document(await serve(router)))["paths"]["/a"]
    assert operations.keys() == {"get", "post", "put", "patch", "delete", "options"}


async def test_own_operation_ids_are_used(new_router: Any, serve: Any) -> None:
    def identify(route: APIRoute) -> str:
        return f"my-{route.name}"

    one: APIRouter = new_router(generate_unique_id_function=identify)
    two: APIRouter = new_router()

    @one.get("/a")
    async def read() -> int:
        return 1

    @two.get("/b")
    async def look() -> int:
        return 1

    paths = (await document(await serve(one, two)))["paths"]
    assert paths["/a"]["get"]["operationId"] == "my-read"
    paths = (await document(await serve(two, generate_unique_id_function=identify)))["paths"]
    assert paths["/b"]["get"]["operationId"] == "my-look"


async def test_names_with_several_words_get_distinct_operation_ids(new_router: Any, serve: Any) -> None:
    router: APIRouter = new_router(tags=["categories"])

    @router.get("/categories")
    async def list_categories() -> int:
        return 1

    @router.get("/categories/popular")
    async def list_popular_categories() -> int:
        return 1

    paths = (await document(await serve(router)))["paths"]
    assert paths["/categories"]["get"]["operationId"] != paths["/categories/popular"]["get"]["operationId"]


async def test_streams_are_in_the_document(router: APIRouter, serve: Any) -> None:
    @router.get("/lines")
    async def lines() -> AsyncIterator[Message]:
        yield Message(text="a")

    content = (await document(await serve(router)))["paths"]["/lines"]["get"]["responses"]["200"]["content"]
    assert "application/jsonl" in content


async def test_a_response_without_content_is_no_deletion_unless_it_is_that_of_delete(
    router: APIRouter, serve: Any, way: str
) -> None:
    @router.post("/a", status_code=204)
    @router.delete("/a", status_code=204)
    async def clear() -> None: ...

    whole = await document(await serve(router))
    shared = whole["components"]["responses"]
    answers = [whole["paths"]["/a"][method]["responses"]["204"] for method in ("post", "delete")]
    found = [shared.get(answer.get("$ref", "").rpartition("/")[2], answer)["description"] for answer in answers]
    assert found == ["Successful Response", "Successful Response" if way == "plain" else "Deleted."]
