"""Operation ids: makes them unique in a document. Client generators derive the names of functions from them."""

import re
from collections import Counter
from collections.abc import Collection, Iterator

from kit.openapi.references import Json
from kit.openapi.sharing import METHODS, operations


def separate_ids(document: Json) -> None:
    """Give each operation a unique id. FastAPI gives all methods of a route the same one."""
    for path in document["paths"].values():
        ids = {method: path[method].get("operationId", "") for method in METHODS if method in path}
        for method, name in ids.items():
            alike = [other.upper() for other in ids if ids[other] == name]
            path[method]["operationId"] = id_of_method(name, method, alike)
    called = [(parent, operation) for _, parent in operations(document) for operation in callbacks_of(parent)]
    numbers = Counter(operation["operationId"] for _, operation in called)
    for parent, operation in called:  # a callback of a router is repeated in each of its operations
        if numbers[operation["operationId"]] > 1:
            operation["operationId"] = f"{parent['operationId']}-{operation['operationId']}"


def callbacks_of(operation: Json) -> Iterator[Json]:
    for callback in operation.get("callbacks", {}).values():
        yield from (called for _, called in operations({"paths": callback}))


def id_of_method(operation_id: str, method: str, methods: Collection[str]) -> str:
    """Return the operation id of a method of a route, whose `methods` with the same id are given.

    If there are several, the id ends with the method.
    """
    if len(methods) < 2:
        return operation_id
    named = [f"_{name.lower()}" for name in methods if operation_id.endswith(f"_{name.lower()}")]
    if named:  # FastAPI's own id ends with any of the methods
        return f"{operation_id.removesuffix(named[0])}_{method.lower()}"
    return f"{operation_id}-{method.lower()}"


def function_of(operation_id: str) -> str:
    """Return the function name in snake case that client generators derive from an operation id."""
    words = re.sub("([a-z0-9])([A-Z])", r"\1_\2", operation_id)
    return re.sub("[^A-Za-z0-9]+", "_", words).lower()
