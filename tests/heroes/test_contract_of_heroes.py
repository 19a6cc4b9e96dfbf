"""The contract tests cover all operations of the domain, except those that have tests of their own here."""

import main
from kit import Service
from tests import application
from tests.contract.operations import untested
from tests.contract.resource import resources_of
from tests.engines import Client, on_sqlite

app, client, database = application.app, application.client, application.database
OWN_TESTS = {
    "POST /auth/token", "GET /users/me", "PATCH /products/bulk", "GET /products/{product_id}/overview",
    "DELETE /products/{product_id}/deletion",
}  # fmt: skip


def test_few_operations_are_left_to_tests_of_their_own() -> None:
    assert untested(main.app).keys() == OWN_TESTS


@on_sqlite
async def test_no_check_of_a_list_is_skipped(app: Service, client: Client) -> None:
    for resource in resources_of(app):
        if resource.has("list"):
            assert await resource.make_varied(client), resource.name
