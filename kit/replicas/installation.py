"""Installation: adds the standbys to a service."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import URL

from kit.replicas.layer import ReadAfter
from kit.replicas.router import Router
from kit.server.service import Service

NAME = "Read-After"
DESCRIPTION = "A token of what this response has shown or written. A later request that sends it sees at least as much."
TOKEN = {"type": "string", "examples": ["1.16b374d848.vfT0Pq3Vb7t5o1Xn"]}


def install(service: Service, standbys: Sequence[URL], max_lag: float) -> None:
    """Route the read sessions of a service, add the middleware for tokens, and add the standbys to health checks."""
    database, layers = service.runtime.database, service.layers
    router = Router(database, standbys, max_lag)
    database.choose_reader, database.write = router.choose, router.open_write
    service.companions.append(router.running)
    service.runtime.checks.append(router.states)
    service.layers = replace(layers, headers=[*layers.headers, NAME], exposed=[*layers.exposed, NAME])
    service.describers.append(describe)
    service.add_layer(partial(ReadAfter, router=router, secrets=service.runtime.secrets))


def describe(document: dict[str, Any]) -> None:
    """Add the header `Read-After` to all operations in the OpenAPI document, as parameter and response header."""
    components = document.setdefault("components", {})
    header = {"description": DESCRIPTION, "schema": TOKEN}
    components.setdefault("headers", {})[NAME] = header
    parameter = {"name": NAME, "in": "header", "required": False, **header}
    components.setdefault("parameters", {})[NAME] = parameter
    for operation in (operation for path in document.get("paths", {}).values() for operation in path.values()):
        reference = {"$ref": f"#/components/parameters/{NAME}"}
        operation["parameters"] = [*operation.get("parameters", ()), reference]
        for response in operation["responses"].values():
            if "$ref" not in response:
                response.setdefault("headers", {})[NAME] = {"$ref": f"#/components/headers/{NAME}"}
