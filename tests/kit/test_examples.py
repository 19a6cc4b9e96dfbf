"""OpenAPI examples: ids of existing rows, so that the first try in Swagger UI succeeds."""

from tests.engines import Client
from tests.kit.probes import Json, made, new_book, read
from tests.people import Person


async def path_example(client: Client, path: str) -> object:
    """Return the example of the id in this path."""
    document = await read(client, "/openapi.json?ids=newest")
    name = path.partition("{")[2].partition("}")[0]
    parameters: list[Json] = [*document["paths"][path]["get"]["parameters"], *shared(document).values()]
    return next(parameter["example"] for parameter in parameters if parameter.get("name") == name)


def shared(document: Json) -> Json:
    parameters: Json = document["components"]["parameters"]
    return parameters


async def test_the_example_of_an_id_is_the_newest_row(client: Client) -> None:
    assert await path_example(client, "/books/{book_id}") == 1
    books = [await new_book(client) for _ in range(3)]
    assert await path_example(client, "/books/{book_id}") == books[-1]["id"]


async def test_the_example_of_a_uuid_is_the_newest_row(client: Client) -> None:
    journals = [await made(client, "/journals/", title="Nature", code=f"NAT-{number}") for number in range(3)]
    assert await path_example(client, "/journals/{journal_id}") == journals[-1]["id"]
    schemas = (await read(client, "/openapi.json?ids=newest"))["components"]["schemas"]
    newest = [journal["id"] for journal in reversed(journals)][:2]
    assert schemas["JournalsUpdate"]["properties"]["ids"]["examples"] == [newest]


async def test_with_authentication_examples_contain_no_existing_ids(superuser: Person) -> None:
    for _ in range(3):
        await new_book(superuser.client)
    assert await path_example(superuser.client, "/books/{book_id}") == 1


async def test_the_document_itself_names_no_row(client: Client) -> None:
    before = (await client.get("/openapi.json")).content
    await new_book(client)
    await made(client, "/journals/", title="Nature", code="NAT-1")
    assert (await client.get("/openapi.json")).content == before
    assert b'"{' not in before
