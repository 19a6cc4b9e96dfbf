"""Every operation of every resource succeeds with a valid body: the tests of the contract in short, for coverage."""

import pytest

import main
from kit import Service
from tests import application
from tests.contract.operations import WRITING
from tests.contract.resource import named, resources_of
from tests.engines import Client, on_sqlite
from tests.rows import cheap_hashes

app, client, database = application.app, application.client, application.database
pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


@on_sqlite
@pytest.mark.parametrize("name", [resource.name for resource in resources_of(main.app)])
async def test_every_operation_of_a_resource_succeeds(app: Service, client: Client, name: str) -> None:
    resource = named(app, name)
    for verb, method, url in await resource.operation_urls(client):
        body = await resource.body(client, verb) if verb in WRITING else None
        answer = await client.request(method, url, json=body)
        if verb in WRITING:
            resource.made(answer, verb)
        assert answer.status_code < 300, answer.text
    if resource.bulk:
        many = [await resource.body(client, "create") for _ in range(2)]
        assert (await client.post(f"{resource.path}bulk", json=many)).status_code == 201
