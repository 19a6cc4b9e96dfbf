"""The OpenAPI document is correct for generated requests: valid, invalid, and at the bounds."""

import copy
import json
import os
import random
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from schemathesis import Case, CheckContext, Config, Response
from schemathesis.checks import CHECKS, load_all_checks

from kit.server.security_headers import ALWAYS, HSTS, PRIVATE
from main import app
from tests.engines import MEMORY
from tests.live import Server, serving
from tests.waiting import TIMEOUT_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

Json = dict[str, Any]
DOCUMENT: Json = app.openapi()
IS_BRIEF = "THOROUGH" not in os.environ
"""Whether the tests have to be fast; `THOROUGH=1 make test` tries everything."""
CASES = 3 if IS_BRIEF else 8
"""The number of random cases for each operation (deterministic), in addition to those at the bounds of each value."""
GENERATION = {"max-examples": CASES, "mode": "all", "deterministic": True, "database": "none"}


def thinned(document: Json) -> Json:
    """Return the document with one randomly chosen filter of each group of filters that take the same values.

    The generated values would be the same for all filters of a group. `tests/contract` tests each filter.
    """
    document, lot = copy.deepcopy(document), random.Random(1)
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        alike: dict[str, list[Json]] = {}
        for reference in operation.get("parameters", ()):
            parameter = resolved(document, reference)
            alike.setdefault(json.dumps([parameter["in"], parameter["schema"]]), []).append(parameter)
        operation["parameters"] = [lot.choice(same) for same in alike.values()]
    return document


def resolved(document: Json, parameter: Json) -> Json:
    """Return a parameter, with a `$ref` to a shared parameter resolved."""
    shared: Json = document["components"]["parameters"]
    return shared[parameter["$ref"].rpartition("/")[2]] if "$ref" in parameter else parameter


CHEAP = "tests.application:with_cheap_hashes"
CONFIG = Config.from_dict({"seed": 1, "generation": GENERATION})
schema = schemathesis.openapi.from_dict(thinned(DOCUMENT) if IS_BRIEF else DOCUMENT, config=CONFIG)
OF_THE_SERVER = {"content-encoding", "content-length", "content-type", "date", "server", "vary"}
"""Headers of HTTP itself, which a document does not list."""
OF_SAFETY = {name.decode() for name, _ in (*ALWAYS, PRIVATE, HSTS)}
"""Headers of every response, for browsers and caches, which a document does not list."""


@pytest.fixture(scope="module")
async def servers(new_postgres: Any) -> AsyncIterator[list[Server]]:
    """Provide a service on each engine, in parallel: generating a case takes longer than sending it."""
    with tempfile.TemporaryDirectory(prefix="service-", dir=MEMORY) as folder, ExitStack() as stack:
        yield [
            stack.enter_context(serving(url, Path(folder, f"{number}.log"), "--factory", app=CHEAP))
            for number, url in enumerate([f"sqlite:///{folder}/service.db", await new_postgres()])
        ]


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Provide a session with persistent connections, which are much faster."""
    with requests.Session() as session:
        session.trust_env = False  # a local server needs no proxy, which would be looked for every time
        yield session


def no_undocumented_header(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    documented = case.operation.responses.find_by_status_code(response.status_code)
    if documented is not None:
        promised = {name.lower() for name, _ in documented.headers.items()}
        strangers = response.headers.keys() - OF_THE_SERVER - OF_SAFETY - promised
        assert not strangers, f"Undocumented headers of a {response.status_code}: {strangers}"


EXCLUDED = {
    # They compare requests that depend on each other, which only stateful tests send; `tests/contract` has them.
    "use_after_free", "ensure_resource_availability",
    # The services of this module require no token; `tests/contract/test_permissions.py` tries every operation without.
    "ignored_auth", "object_level_authorization",
}  # fmt: skip
"""The checks of Schemathesis that do not apply here."""
load_all_checks()
CHECKED = {name: CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in EXCLUDED}


BEYOND_THE_SCHEMA = {
    "conflicting_parameter": "a cursor and an offset exclude each other",
    "cursor_parsing": "a cursor is signed",
    "datetime_range": "no schema bounds the year of a time, which has to exist in UTC too",
    "decimal_max_digits": "no schema bounds the decimal places of a number, as a double has none",
    "decimal_max_places": "no schema bounds the decimal places of a number, as a double has none",
    "etag_parsing": "Schemathesis sends the number 0 as a valid text, whatever the pattern of the header is",
    "idempotency_key": "a key belongs to the first body that it came with",
    "missing": "the owner may be left out by a caller with a token, and no token is required here",
    "not_another": "a schema cannot compare two fields",
    "repeated_value": "a pattern cannot say that the fields of a sort are different",
}
"""Types of errors for requests that the schemas allow, each with the reason why no schema can refuse them."""


def valid_data_is_accepted(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Check `positive_data_acceptance`, except for rules that no schema can express, such as a version (412)."""
    if response.status_code == 412:
        return
    errors = response.json()["errors"] if response.status_code == 422 else []
    if not errors or not {error["type"] for error in errors} <= BEYOND_THE_SCHEMA.keys():
        CHECKS.get_one("positive_data_acceptance")(ctx, response, case)  # type: ignore[call-arg]


def invalid_data_is_refused(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Check `negative_data_rejection`, except for a 413, and a 207: the body says which elements were refused."""
    is_refused = response.status_code == 413 or (response.status_code == 207 and response.json()["failed"])
    if not is_refused:
        CHECKS.get_one("negative_data_rejection")(ctx, response, case)  # type: ignore[call-arg]


def checks_of(case: Case[Any]) -> list[Any]:
    """Return the checks of the response to a case."""
    checks = CHECKED | {
        "negative_data_rejection": invalid_data_is_refused,
        "positive_data_acceptance": valid_data_is_accepted,
    }
    if len([path for path in PATHS if path.fullmatch(case.path)]) > 1:
        # `/users/bulk` is a `/users/{user_id}` too, with the methods of that.
        del checks["allow_header_conformance"], checks["unsupported_method"]
    return [*checks.values(), no_undocumented_header]


PATHS = [re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path)) for path in DOCUMENT["paths"]]


@pytest.mark.usefixtures("anyio_backend")  # for the fixtures, which are asynchronous
def test_the_tested_document_is_that_of_the_service(servers: list[Server]) -> None:
    assert len(servers) == 2
    for server in servers:
        assert bare(httpx.get(f"{server.url}/openapi.json", timeout=TIMEOUT_SECONDS).json()) == bare(DOCUMENT)


def bare(node: Any) -> Any:
    """Return the document without its examples, which refer to existing rows."""
    if isinstance(node, list):
        return [bare(part) for part in node]
    if isinstance(node, dict):
        return {name: bare(part) for name, part in node.items() if name not in ("example", "examples")}
    return node


@pytest.mark.usefixtures("anyio_backend")
@schema.parametrize()
def test_every_response_matches_the_document(case: Case[Any], servers: list[Server], session: requests.Session) -> None:
    for server in servers:
        case.call_and_validate(server.url, session=session, checks=checks_of(case))
